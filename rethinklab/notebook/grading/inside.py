"""What runs inside the container: a lesson and, at each exercise, two forks of it. The first
executes what the student wrote and hands over what the answer defines, pickled. The second, which
nothing of the student's has touched, unpickles that and puts it to the lesson's own check.

No fork holds the pipe to the marker, nor the nonce of the exercise: it is read when both forks are
gone. The second calls the student's functions, so there a student can forge a verdict on that one
answer; see "Where a mark can be forged" in notebooks/INSTRUCTOR.md.
"""

from __future__ import annotations

import ctypes
import json
import linecache
import os
import pickle
import secrets
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO

from rethinklab.notebook.checks.common import Unanswered, Wrong

RIGHT, WRONG, UNANSWERED, RAISED = "right", "wrong", "unanswered", "raised"
LATE, CRASHED = "time up", "crashed"
ORDER = (RIGHT, UNANSWERED, WRONG, RAISED)  # of several checks in a cell the worst counts
CODE, CHECK = "code", "check"  # the kinds of a lesson's steps
LESSON = "lesson"  # the module that a lesson's cells run in; an answer runs in __main__
NOT_YET = "Not yet answered."  # an empty cell, or the stub that nbgrader puts there
LONGEST = 600  # characters of a diagnosis
CARRIED = 2**30  # bytes from one fork to the other, at most
HEAD = 8  # bytes before them that say how many
MEMORY = 3 * 2**30  # bytes that an answer may take beyond what the lesson holds
PROCESSES = 64
FILE_BYTES = 256 * 2**20
SPARE_SECONDS = 30  # of computing after the time limit, for where the marker itself was killed
TICK = 0.05
NOT_DUMPABLE = 4  # PR_SET_DUMPABLE of prctl(2)


@dataclass(frozen=True)
class Task:
    """An answer to judge. before: cells of the student's own that it needs. asks: names that it
    has to define. check: the cell that judges them."""

    name: str
    before: Sequence[str]
    answer: str
    asks: Sequence[str]
    check: str


class Ended(Exception):
    """A fork that ended without saying what it should: the verdict, and a sentence."""


class Judge:
    """Stands for `lab` in a check cell: hears what the check says instead of showing it."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self.heard: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lab, name)

    def check(self, check: Callable[..., str], *answer: Any, **context: Any) -> None:
        """As `Session.check`."""
        try:
            self.heard.append((RIGHT, _bounded(check(*answer, **context))))
        except (Unanswered, NotImplementedError) as error:
            self.heard.append((UNANSWERED, _text(error) or NOT_YET))
        except Wrong as error:
            self.heard.append((WRONG, _text(error)))
        except BaseException as error:  # the answer may be a function, and end the process
            self.heard.append((RAISED, describe(error)))


def main() -> None:
    """Read what to do as a line of JSON from standard input, and write a line for each event to
    standard output."""
    orders, channel = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what is printed goes nowhere, however much it is
        os.dup2(nothing, descriptor)
    if sys.platform == "linux":  # or answers read this process's pipes and memory through /proc
        ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0)
    sys.path[:] = [path for path in sys.path if path]  # not the folder that an answer may write in

    def say(**event: Any) -> None:
        os.write(channel, (json.dumps(event) + "\n").encode())

    work = json.loads(orders.readline())
    lesson = sys.modules[LESSON] = ModuleType(LESSON)
    vars(lesson)["display"] = lambda *things, **how: None
    say(**_work_through(work, vars(lesson), orders, channel, say))


def _work_through(work: Mapping[str, Any], namespace: dict[str, Any], orders: BinaryIO,
                  channel: int, say: Callable[..., None]) -> dict[str, str]:
    tasks = {given["name"]: Task(**given) for given in work["tasks"]}
    to_come = [name for kind, name in work["steps"] if kind == CHECK and name in tasks]
    left = work["seconds"]
    for kind, text in work["steps"]:
        if kind == CODE:
            if failed := run_cell(text, LESSON, namespace):
                return {"event": "failed", "text": failed}
        elif text in tasks and left > 0:
            to_come.remove(text)
            say(event="begin", exercise=text)
            start = time.monotonic()
            until = start + (left / 2 if to_come else left)
            verdict, diagnosis = _judged(tasks[text], namespace, until, (orders.fileno(), channel))
            left -= time.monotonic() - start
            say(event="verdict", exercise=text, nonce=orders.readline().decode().strip(),
                verdict=verdict, diagnosis=diagnosis)
    return {"event": "end"}


def _judged(task: Task, namespace: dict[str, Any], until: float,
            private: Sequence[int]) -> tuple[str, str]:
    for name, source in _cells(task):  # so that `inspect.getsource` finds them, in both forks
        linecache.cache[_file(name)] = (len(source), None, source.splitlines(True), _file(name))
    try:
        carried = _apart(lambda: answer(task, namespace), until, private)
        word = secrets.token_hex(16)  # which the first fork cannot have told the second
        said = _apart(lambda: json.dumps([word, *judge(task, carried, namespace)]).encode(), until,
                      private)
        found, verdict, diagnosis = json.loads(said)
        if found != word:
            raise ValueError("another word")
        return str(verdict), str(diagnosis)
    except Ended as how:
        return how.args[0], how.args[1]
    except (ValueError, TypeError, RecursionError):
        return CRASHED, "Something else than the check spoke in its place."


def answer(task: Task, namespace: Mapping[str, Any]) -> bytes:
    """Execute an answer in a copy of the lesson's namespace: (what it defines of what is asked,
    what it raised), pickled."""
    import cloudpickle

    own = sys.modules["__main__"] = ModuleType("__main__")
    vars(own).update({name: value for name, value in namespace.items()
                      if name not in task.asks and not name.startswith("__")})
    raised = ""
    for name, source in _cells(task):
        raised = run_cell(source, name, vars(own))
    given = {name: vars(own)[name] for name in task.asks if name in vars(own)}
    try:
        return cloudpickle.dumps((given, raised))
    except Exception as error:
        return pickle.dumps(({}, f"what it defines cannot be handed to the check: "
                                 f"{describe(error)}"))


def judge(task: Task, carried: bytes, namespace: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict and the diagnosis of the lesson's own check, with the lesson's own values."""
    try:
        given, raised = pickle.loads(carried)
        missing = [name for name in task.asks if name not in given]
    except BaseException as error:
        return RAISED, describe(error)
    if missing:
        return _undefined(task.answer, missing, raised)
    asked = Judge(namespace.get("lab"))
    failed = run_cell(task.check, f"check-{task.name}", {**namespace, **given, "lab": asked})
    return max(asked.heard, key=lambda heard: ORDER.index(heard[0]),
               default=(RAISED, f"the check did not judge it: {failed}"))


def _undefined(source: str, missing: Sequence[str], raised: str) -> tuple[str, str]:
    written = any(line.strip() and not line.strip().startswith("#") for line in source.split("\n"))
    if not written or raised.startswith(NotImplementedError.__name__):
        return UNANSWERED, NOT_YET
    if raised:
        return RAISED, raised
    return WRONG, f"The answer cell does not define {', '.join(missing)}."


def _apart(work: Callable[[], bytes], until: float, private: Sequence[int]) -> bytes:
    """What `work` gives back, in a fork that has not the descriptors `private` and ends with all
    that it started. Raises Ended."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            for descriptor in (ours, *private):
                os.close(descriptor)
            _limit(until - time.monotonic())
            said = work()
            said = len(said).to_bytes(HEAD, "big") + said
            while said:
                said = said[os.write(theirs, said):]
        except BaseException:  # such as no memory for the verdict itself
            os._exit(1)
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        said = _listen(ours, until, private[0])
    finally:
        os.close(ours)
        os.kill(process, signal.SIGKILL)  # it may have ended, or have left threads behind
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        _sweep()
    if len(said) < HEAD or len(said) != HEAD + int.from_bytes(said[:HEAD], "big"):
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise Ended(CRASHED, f"The process of the answer ended before the verdict ({how}).")
    return said[HEAD:]


def _listen(pipe: int, until: float, orders: int) -> bytes:
    """What comes through the pipe, to its end or as many bytes as it says. Raises Ended."""
    said, parent, look = bytearray(), select.poll(), 0.0
    parent.register(orders, 0)  # tells when the marker is gone
    while len(said) < HEAD or len(said) < HEAD + int.from_bytes(said[:HEAD], "big"):
        if select.select([pipe], [], [], TICK)[0]:
            part = os.read(pipe, 2**20)
            said += part
            if not part or len(said) > CARRIED:
                break
        if time.monotonic() < look:
            continue
        look = time.monotonic() + TICK
        if parent.poll(0):
            os._exit(1)
        if look > until:
            raise Ended(LATE, "The answer or its check did not end in time.")
        if too_much := _too_much():
            raise Ended(CRASHED, f"The answer was ended: it took more than {too_much}.")
    return bytes(said)


def _alone() -> bool:
    """Whether this is the first process of a container, where all others are an answer's."""
    return os.getpid() == 1


def _too_much() -> str:
    """Which limit all processes of the answer exceed together, in words."""
    if not _alone():
        return ""
    pages = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/statm", encoding="ascii") as file:
            pages[int(name)] = int(file.read().split()[1])
    base = pages.pop(1)
    held = sum(max(0, number - base) for number in pages.values()) * os.sysconf("SC_PAGE_SIZE")
    return (f"{PROCESSES} processes" if len(pages) > PROCESSES else
            f"{MEMORY / 2**30:.2g} GiB of memory" if held > MEMORY else "")


def _sweep() -> None:
    """In a container, end whatever an answer has left behind."""
    if _alone():
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def _limit(seconds: float) -> None:
    import resource  # Windows has none

    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": FILE_BYTES,
              "RLIMIT_CPU": max(0, int(seconds)) + SPARE_SECONDS}
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        limits["RLIMIT_DATA"] = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE") + MEMORY
    for name, value in limits.items():
        with suppress(ValueError, OSError):  # a lower limit is in force, or the system has none
            resource.setrlimit(getattr(resource, name), (value, value))


def run_cell(source: str, name: str, namespace: dict[str, Any]) -> str:
    """Execute a cell; what it raised, with the line of the cell, or ""."""
    try:
        exec(compile(source, _file(name), "exec", dont_inherit=True), namespace)
    except BaseException as error:
        return describe(error, _file(name))
    return ""


def describe(error: BaseException, file: str = "") -> str:
    """An exception in a line, with the line of the cell that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if file and frame.filename == file]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno or 0]
    where = f", in line {lines[-1]}" if lines else ""
    return _bounded(f"{type(error).__name__}: {_text(error) or 'no message'}{where}")


def _cells(task: Task) -> list[tuple[str, str]]:
    own = [(f"own-{number}", source) for number, source in enumerate(task.before)]
    return [*own, (task.name, task.answer)]


def _file(name: str) -> str:
    return f"<cell {name}>"


def _text(error: BaseException) -> str:
    try:
        return _bounded(" ".join(str(error)[:10 * LONGEST].split()))
    except BaseException:
        return ""


def _bounded(text: object) -> str:
    text = str(text)
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."
