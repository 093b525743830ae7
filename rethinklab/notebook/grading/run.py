"""One submission, marked in a process of its own: starting it, and believing it only what it can
know."""

from __future__ import annotations

import json
import secrets
import select
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import IO

from rethinklab.notebook.grading.answers import Answers
from rethinklab.notebook.grading.inside import (
    CRASHED,
    LATE,
    RAISED,
    RIGHT,
    UNANSWERED,
    WRONG,
    Task,
)
from rethinklab.notebook.grading.isolation import Isolation
from rethinklab.notebook.grading.lesson import Assignment

MISSING, UNREACHED, BROKEN = "missing", "not reached", "not judged"
SAID = (RIGHT, WRONG, UNANSWERED, RAISED, LATE, CRASHED)
LESSON_SECONDS = 900.0  # for the lesson's own cells, beside those for the answers
LONGEST, MOST = 2**14, 2**20  # bytes of a line, and of all that a submission says
DIAGNOSIS = 1000  # characters
TICK = 0.2


@dataclass(frozen=True)
class Mark:
    """What an exercise got."""

    exercise: str
    verdict: str
    points: int
    out_of: int
    diagnosis: str = ""


@dataclass(frozen=True)
class Outcome:
    """marks: in the order of the exercises. remarks: in a fixed order. judged: False where the
    lesson itself failed, so that the marks say nothing."""

    marks: tuple[Mark, ...]
    remarks: tuple[str, ...]
    judged: bool = True


@dataclass
class Hearing:
    """What is believed of what a submission's process says: a verdict on the exercise that was
    begun, in order and once, with the nonce that was sent for it. strange: how many lines were
    something else. failure: why not all was judged. over: whether nothing more is to come."""

    to_come: list[str]
    found: dict[str, tuple[str, str]] = field(default_factory=dict)
    begun: str = ""
    nonce: str = ""
    strange: int = 0
    failure: str = "its process ended early"
    over: bool = False

    def hear(self, line: bytes) -> str:
        """Take a line in; the nonce to answer with, or ""."""
        try:
            event = json.loads(line)
            kind, about = event.get("event"), event.get("exercise")
        except (ValueError, RecursionError, AttributeError):
            kind = about = None
        if kind == "begin" and not self.begun and self.to_come[:1] == [about]:
            self.begun, self.nonce = self.to_come.pop(0), secrets.token_hex(16)
            return self.nonce
        if (kind == "verdict" and self.begun and about == self.begun
                and event.get("nonce") == self.nonce and event.get("verdict") in SAID):
            self.found[self.begun] = (event["verdict"], str(event.get("diagnosis"))[:DIAGNOSIS])
            self.begun = ""
        elif kind in ("end", "failed") and not self.begun:
            self.failure, self.over = str(event.get("text", ""))[:DIAGNOSIS], True
        else:
            self.strange += 1
        return ""


def run(assignment: Assignment, answers: Answers, isolation: Isolation, seconds: float,
        stop: threading.Event | None = None) -> Outcome:
    """Mark the answers in a fresh process, which is ended early when `stop` is set.

    seconds: for all answers and their checks; the lesson's own cells are not counted, and an
    answer may use half of what is left, so that one without an end leaves time for the next.
    """
    tasks = [asdict(Task(one.name, answers.before[one.name], answers.given[one.name], one.asks,
                         one.check)) for one in assignment.exercises if one.name in answers.given]
    work = {"steps": assignment.steps, "tasks": tasks, "seconds": seconds}  # and no solutions
    hearing = Hearing([task["name"] for task in tasks])
    with tempfile.TemporaryFile() as errors, isolation.start(errors=errors) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # it is gone, which reading tells
            process.stdin.write(json.dumps(work).encode() + b"\n")
            for line in _lines(process.stdout, hearing, LESSON_SECONDS + seconds, stop):
                if nonce := hearing.hear(line):
                    process.stdin.write(f"{nonce}\n".encode())
        if not hearing.found and not hearing.over:
            errors.seek(0)
            told = errors.read()[-2000:].decode(errors="replace").strip().splitlines()
            hearing.failure = told[-1] if told else hearing.failure
    return _outcome(assignment, answers, hearing)


def _lines(pipe: IO[bytes], hearing: Hearing, seconds: float, stop: threading.Event | None
           ) -> Iterator[bytes]:
    """The lines that come through the pipe, until nothing more is to come, it is closed, the time
    is up, or they are too much."""
    text, size, until = b"", 0, time.monotonic() + seconds
    while not hearing.over and size < MOST and len(text) < LONGEST:
        if time.monotonic() > until or (stop and stop.is_set()):
            return
        if not select.select([pipe], [], [], TICK)[0]:
            continue
        part = pipe.read(LONGEST)
        size += len(part)
        if not part:
            return
        *lines, text = (text + part).split(b"\n")
        yield from lines


def _outcome(assignment: Assignment, answers: Answers, hearing: Hearing) -> Outcome:
    marks = [_mark(one.name, one.points, one.name in answers.given, hearing)
             for one in assignment.exercises]
    remarks = list(answers.remarks)
    remarks += [f"{verdict}: {', '.join(names)}" for verdict in (RAISED, CRASHED, LATE, UNREACHED)
                if (names := [mark.exercise for mark in marks if mark.verdict == verdict])]
    if hearing.strange:
        remarks.append(f"said {hearing.strange} things that no check says, perhaps to forge marks")
    if hearing.failure:
        remarks.append(f"not judged to its end: {hearing.failure}")
    return Outcome(tuple(marks), tuple(remarks), not hearing.failure)


def _mark(name: str, points: int, given: bool, hearing: Hearing) -> Mark:
    absent = ((MISSING, "There is no answer cell.") if not given else
              (BROKEN, hearing.failure) if hearing.failure else
              (UNREACHED, "The time was up before it was reached."))
    verdict, diagnosis = hearing.found.get(name, absent)
    return Mark(name, verdict, points * (verdict == RIGHT), points, diagnosis)
