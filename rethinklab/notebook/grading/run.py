"""One submission, marked in a process of its own: starting it, listening to it, ending it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rethinklab.notebook.grading.answers import Answers
from rethinklab.notebook.grading.attempt import RAISED, RIGHT, UNANSWERED, WRONG, Task
from rethinklab.notebook.grading.lesson import Assignment
from rethinklab.notebook.grading.sandbox import CRASHED, LATE

MISSING, UNREACHED, BROKEN = "missing", "not reached", "not judged"
SAID = (RIGHT, WRONG, UNANSWERED, RAISED, LATE, CRASHED)
LESSON_SECONDS = 900.0  # for a stretch of the lesson's own cells
ENDED = "its process ended early"
GRACE = 10.0  # until a process that should have ended is ended
MEMORY = 3 * 2**30  # bytes that an answer may take beyond what the lesson holds
START = "from rethinklab.notebook.grading.sandbox import main; main()"
PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
          "VIRTUAL_ENV", "CONDA_PREFIX", "SYSTEMROOT", "RETHINKLAB_DATA")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
              "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Project:
    """Where things are. root: holds data/results and notebooks. package: the folder rethinklab
    that submissions are marked with."""

    root: Path
    package: Path

    @property
    def sources(self) -> Path:
        return self.root / "notebooks" / "source"


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


def run(assignment: Assignment, answers: Answers, project: Project, seconds: float,
        hidden: tuple[Path, ...] = (), cache: Path | None = None) -> Outcome:
    """Mark the answers in a fresh process with a temporary folder for its home.

    seconds: for all answers and their checks; the lesson's own cells are not counted, and an
    answer may use half of what is left, so that one without an end leaves time for the next.
    hidden: folders that an answer may not read. cache: for matplotlib's list of fonts.
    """
    found: dict[str, tuple[str, str]] = {}
    impure: list[str] = []
    failure = ENDED
    with _folder(project) as folder:
        for event in _events(assignment, answers, project, seconds, hidden, folder, cache):
            if event["event"] in ("end", "lesson failed"):
                failure = event.get("text", "")
            if event["event"] == "verdict":
                said = event["verdict"] if event["verdict"] in SAID else CRASHED
                found[event["exercise"]] = (said, str(event["diagnosis"]))
                if not event["plain"]:
                    impure.append(event["exercise"])
    return _outcome(assignment, answers, found, impure, failure)


def _outcome(assignment: Assignment, answers: Answers, found: Mapping[str, tuple[str, str]],
             impure: list[str], failure: str) -> Outcome:
    marks = []
    for exercise in assignment.exercises:
        absent = ((MISSING, "There is no answer cell.") if exercise.name not in answers.given else
                  (BROKEN, failure) if failure else
                  (UNREACHED, "The time was up before it was reached."))
        verdict, diagnosis = found.get(exercise.name, absent)
        marks.append(Mark(exercise.name, verdict, exercise.points * (verdict == RIGHT),
                          exercise.points, diagnosis))
    remarks = list(answers.remarks)
    if impure:
        remarks.append(f"lines for IPython left out: {', '.join(impure)}")
    remarks += [f"{verdict}: {', '.join(names)}" for verdict in (RAISED, CRASHED, LATE, UNREACHED)
                if (names := [mark.exercise for mark in marks if mark.verdict == verdict])]
    if failure:
        remarks.append(f"the lesson itself failed, so nothing is judged from there on: {failure}")
    return Outcome(tuple(marks), tuple(remarks), not failure)


def _events(assignment: Assignment, answers: Answers, project: Project, seconds: float,
            hidden: tuple[Path, ...], folder: Path, cache: Path | None
            ) -> Iterator[dict[str, Any]]:
    """What the process says, until it ends or has to be ended."""
    ours, theirs = os.pipe()
    log = folder / "log"
    work = _work(assignment, answers, seconds, hidden, folder / "home", theirs)
    begun = ""
    with tempfile.TemporaryFile() as given, log.open("wb") as errors:
        given.write(json.dumps(work).encode())
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-c", START], stdin=given, stdout=subprocess.DEVNULL, stderr=errors,
            cwd=folder / "home", env=_environment(project, folder / "home", cache),
            pass_fds=(theirs,), start_new_session=True)
        os.close(theirs)
        try:
            for event in _read_events(ours):
                begun = event["event"]
                yield event
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(ours)
    if not begun:
        last = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
        yield {"event": "lesson failed", "text": last[-1] if last else "the process was ended"}


def _read_events(pipe: int) -> Iterator[dict[str, Any]]:
    """The events that come through the pipe, until it is closed or silent for too long."""
    text, wait = b"", LESSON_SECONDS
    until = time.monotonic() + wait
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return
        part = os.read(pipe, 2**16)
        if not part:
            return
        *lines, text = (text + part).split(b"\n")
        for line in lines:
            event = json.loads(line)
            wait = event["seconds"] + GRACE if event["event"] == "begin" else LESSON_SECONDS
            yield event
        until = time.monotonic() + wait


def _work(assignment: Assignment, answers: Answers, seconds: float, hidden: tuple[Path, ...],
          home: Path, channel: int) -> dict[str, Any]:
    """What the process is told; the solutions are not in it."""
    tasks = [asdict(Task(exercise.name, answers.given[exercise.name], exercise.asks,
                         exercise.check, answers.earlier[exercise.name]))
             for exercise in assignment.exercises if exercise.name in answers.given]
    return {"steps": assignment.steps, "tasks": tasks, "seconds": seconds, "channel": channel,
            "folder": str(home), "hidden": [str(path) for path in hidden], "memory": MEMORY}


def _environment(project: Project, home: Path, cache: Path | None) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    data = Path.home() / ".cache" / "rethinklab" / "data"
    paths = filter(None, (str(project.package.parent), os.environ.get("PYTHONPATH")))
    return {"RETHINKLAB_DATA": str(data), **passed, **dict.fromkeys(ONE_THREAD, "1"),
            "HOME": str(home), "TMPDIR": str(home / "tmp"), "RETHINKLAB_SCALE": "cached",
            "PYTHONPATH": os.pathsep.join(paths), "PYTHONUSERBASE": site.getuserbase(),
            "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg",
            "MPLCONFIGDIR": str(cache or home / "tmp")}


@contextmanager
def _folder(project: Project) -> Iterator[Path]:
    """A temporary folder; home in it is where the process runs and finds the recorded results."""
    folder = Path(tempfile.mkdtemp(prefix="rethinklab-grade-"))
    try:
        for name in ("tmp", "notebooks"):
            (folder / "home" / name).mkdir(parents=True)
        (folder / "home" / "data").symlink_to((project.root / "data").resolve())
        yield folder
    finally:
        for path, _, _ in os.walk(folder):
            with suppress(OSError):
                os.chmod(path, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
