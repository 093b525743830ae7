"""The process that one submission is marked in. It executes the lesson and never what a student
wrote: at each exercise it forks, and the fork executes one answer and its check.

The verdicts go to the grader through a pipe that the forks have closed. A fork has a pipe of its
own to this process, and says its verdict together with a random word; neither is handed to the
student's code, but both lie in the fork's memory, where a determined student finds them. What is
said that way concerns the one answer only.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import sys
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from rethinklab.notebook.grading.attempt import Task, Verdict, attempt, describe
from rethinklab.notebook.grading.lesson import CODE
from rethinklab.notebook.grading.refuse import restrict

LATE, CRASHED = "time up", "crashed"
LONGEST = 2**16  # bytes of a verdict


def main() -> None:
    """Read what to do as JSON from standard input, and write a line of JSON for each event."""
    work = json.load(sys.stdin)
    channel = work["channel"]

    def say(**event: Any) -> None:
        os.write(channel, (json.dumps(event) + "\n").encode())

    _silence()
    sys.path[:] = [path for path in sys.path if path]  # the folder that an answer may write in
    lesson = ModuleType("__main__")
    sys.modules["__main__"] = lesson  # where pickle looks for the classes of the lesson
    namespace = vars(lesson)
    namespace["display"] = lambda *things, **how: None
    tasks = {given["name"]: Task(**given) for given in work["tasks"]}
    left = work["seconds"]
    names = [name for kind, name in work["steps"] if kind != CODE and name in tasks]
    for kind, text in work["steps"]:
        if kind == CODE:
            try:
                exec(compile(text, "<lesson>", "exec", dont_inherit=True), namespace)
            except BaseException as error:
                say(event="lesson failed", text=describe(error, "<lesson>"))
                return
        elif left <= 0:
            break
        elif text in tasks:
            names.remove(text)
            start = time.monotonic()
            share = left / 2 if names else left
            say(event="begin", exercise=text, seconds=share)
            found = _judge(tasks[text], namespace, work, channel, share)
            left -= time.monotonic() - start
            say(event="verdict", exercise=text, **found.as_dict())
    say(event="end")


def _judge(task: Task, namespace: dict[str, Any], work: Mapping[str, Any], channel: int,
           seconds: float) -> Verdict:
    """Fork, and wait for the fork's verdict."""
    ours, theirs = os.pipe()
    word = secrets.token_hex(16)
    process = os.fork()
    if process == 0:
        try:
            os.close(channel)
            os.close(ours)
            found = attempt(task, namespace, lambda: restrict(
                work["folder"], work["hidden"], seconds, work["memory"]))
            os.write(theirs, f"{json.dumps({'word': word, **found.as_dict()})}\n".encode())
        except BaseException:  # such as no memory for the verdict itself
            os._exit(1)
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        said = _listen(ours, time.monotonic() + seconds)
    finally:
        os.close(ours)
        os.kill(process, signal.SIGKILL)  # it may have ended, or have left threads behind
        status = os.waitpid(process, 0)[1]
    return _understood(said, word, status)


def _listen(pipe: int, until: float) -> bytes | None:
    """The first line that comes through the pipe; None where the time is up before."""
    said = b""
    while b"\n" not in said and len(said) < LONGEST:
        left = until - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None
        part = os.read(pipe, LONGEST)
        if not part:
            break
        said += part
    return said


def _understood(said: bytes | None, word: str, status: int) -> Verdict:
    if said is None:
        return Verdict(LATE, "The answer or its check did not end in time.")
    if not said:
        code = os.waitstatus_to_exitcode(status)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Verdict(CRASHED, f"The process of the answer ended before the verdict ({how}).")
    try:
        found = json.loads(said.split(b"\n")[0])
        if found.pop("word") != word or said.count(b"\n") != 1:
            raise ValueError("another word")
        return Verdict(**found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Verdict(CRASHED, "Something else than the check wrote to the grader.")


def _silence() -> None:
    """What is printed goes nowhere, however much it is."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
