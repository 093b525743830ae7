"""A folder of submissions, marked: several at a time, each row written as soon as it is done."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import rethinklab
from rethinklab.errors import ConfigError
from rethinklab.notebook.grading.answers import Answers, NotANotebook, read_answers
from rethinklab.notebook.grading.collect import Submission, collect
from rethinklab.notebook.grading.handout import LESSON, find_sources
from rethinklab.notebook.grading.isolation import Isolation, Project, find_isolation
from rethinklab.notebook.grading.lesson import read_assignment
from rethinklab.notebook.grading.marks import Book, Row
from rethinklab.notebook.grading.run import MISSING, Mark, run
from rethinklab.values import number, whole

Report = Callable[[Row, int, float], None]


def find_project() -> Project:
    """The project above the working folder or the package. Raises ConfigError where there is
    none with the lessons' sources."""
    return Project(find_sources().parents[1], Path(rethinklab.__file__).resolve().parent)


class Marking:
    """The submissions in a folder and what they answer, ready to be marked into a book.

    answered: (student, lesson, answers) of all that are notebooks. Raises ConfigError for a
    folder or lesson that is not as it must be.
    """

    def __init__(self, folder: str | Path, project: Project, book: Book) -> None:
        folder = Path(folder).resolve()
        for needed in (project.package, project.sources, Path(sys.prefix)):
            if needed.resolve().is_relative_to(folder):
                raise ConfigError(f"the folder {folder} holds {needed}; name one that holds "
                                  "nothing but submissions.")
        stems = {path.stem: path for path in project.sources.glob(LESSON)}
        found = collect(folder, stems, (*book.tables, book.json))
        if not found:
            raise ConfigError(f"nothing is handed in in {folder}.")
        wanted = {one.notebook for one in found if one.content is not None}
        self.assignments = {stem: read_assignment(stems[stem]) for stem in sorted(wanted)}
        self.folder, self.project, self.book = folder, project, book
        self.submissions = {_key(one, stems): one for one in found}
        self.answered: list[tuple[str, str, Answers]] = []
        self._read: dict[str, Answers] = {}
        self._failed: dict[str, Row] = {}
        for key, one in self.submissions.items():
            self._take(key, one)

    def _take(self, key: str, one: Submission) -> None:
        """Read what can be read; the rest gets its row without being run."""
        if one.content is None:
            self._failed[key] = Row(one.student, one.notebook, (), 0, (one.remark,), True, key)
            return
        assignment = self.assignments[one.notebook]
        try:
            answers = self._read[key] = read_answers(one.content, assignment)
            self.answered.append((one.student, one.notebook, answers))
        except NotANotebook as error:
            nothing = tuple(Mark(exercise.name, MISSING, 0, exercise.points,
                                 f"Not a notebook: {error}.") for exercise in assignment.exercises)
            self._failed[key] = Row(one.student, one.notebook, nothing, assignment.out_of,
                                    (f"not a notebook: {error}",), True, key)

    def grade(self, seconds: float = 120, jobs: int = 1, trust: bool = False,
              report: Report = lambda row, left, seconds: None) -> None:
        """Mark what the book does not have yet.

        seconds: for the answers of one submission and their checks. jobs: how many are marked at
        a time. trust: say nothing where submissions cannot be isolated. report: called with each
        row that is new, how many are to come, and about how many seconds they take.
        """
        if not hasattr(os, "fork"):
            raise ConfigError("grading needs Linux or macOS; use WSL, or nbgrader with "
                              "`rethinklab student --solutions`.")
        number("time limit", seconds, above=0, rule="a number of seconds above 0")
        whole("jobs", jobs, 1)
        done = self.book.keep(self.submissions)
        to_come = [key for key in self.submissions if key not in done]
        isolation = Isolation("", self.project)
        if any(key in self._read for key in to_come):
            isolation = find_isolation(self.project, (self.folder, self.project.root / "notebooks"))
            if isolation.remark and not trust:
                warnings.warn(isolation.remark, stacklevel=2)
        self._mark_all(to_come, isolation, seconds, jobs, report)
        self.book.write()

    def _mark_all(self, keys: list[str], isolation: Isolation, seconds: float, jobs: int,
                  report: Report) -> None:
        stop, lock, start, left = threading.Event(), threading.Lock(), time.monotonic(), len(keys)

        def mark(key: str) -> None:
            nonlocal left
            row = self._failed.get(key) or self._mark(key, isolation, seconds, stop)
            with lock:
                if not stop.is_set():
                    self.book.add(row)
                    left -= 1
                    report(row, left, (time.monotonic() - start) / (len(keys) - left) * left)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for one in wait([pool.submit(mark, key) for key in keys],
                                return_when=FIRST_EXCEPTION).done:
                    one.result()
            finally:  # where it is interrupted: what runs is ended, and is no row
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _mark(self, key: str, isolation: Isolation, seconds: float, stop: threading.Event) -> Row:
        one = self.submissions[key]
        assignment = self.assignments[one.notebook]
        outcome = run(assignment, self._read[key], isolation, seconds, stop)
        return Row(one.student, one.notebook, outcome.marks, assignment.out_of, outcome.remarks,
                   outcome.judged, key)


def _key(one: Submission, stems: Mapping[str, Path]) -> str:
    """What tells a submission and the lesson that it is marked by from others."""
    parts = [rethinklab.__version__, one.student, one.notebook, str(one.path), one.remark]
    digest = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape"))
    if one.content is not None:
        digest.update(one.content + stems[one.notebook].read_bytes())
    return digest.hexdigest()[:20]
