"""A folder of submissions, marked."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import rethinklab
from rethinklab.errors import ConfigError
from rethinklab.notebook.grading.answers import NotANotebook, read_answers
from rethinklab.notebook.grading.collect import Submission, collect
from rethinklab.notebook.grading.handout import LESSON, find_sources
from rethinklab.notebook.grading.lesson import Assignment, read_assignment
from rethinklab.notebook.grading.marks import Row, check_out, details_path, write_marks
from rethinklab.notebook.grading.run import MISSING, Mark, Project, run
from rethinklab.notebook.grading.watch import Watched
from rethinklab.values import number, whole

ASIDE = "changed-during-grading"


def find_project() -> Project:
    """The project above the working folder or the package. Raises ConfigError where there is
    none with the lessons' sources."""
    return Project(find_sources().parents[1], Path(rethinklab.__file__).resolve().parent)


def grade(folder: str | Path, out: str | Path, project: Project, seconds: float = 120,
          workers: int = 1, force: bool = False,
          report: Callable[[Row, bool], None] = lambda row, judged: None) -> list[Row]:
    """Mark all submissions in a folder and write the tables `out` and, beside it, details.

    seconds: for the answers of one submission and their checks. workers: how many are marked at a
    time. force: replace tables that exist. report: called with each row as it is done, and whether
    it could be judged.
    Raises ConfigError for a folder, table or lesson that is not as it must be, before anything is
    run.
    """
    folder, out = Path(folder).resolve(), Path(out).resolve()
    _examine(folder, project, seconds, workers)
    check_out(out, force)
    tables = [out, details_path(out)]
    stems = {path.stem: path for path in project.sources.glob(LESSON)}
    submissions = collect(folder, stems, tables)
    if not submissions:
        raise ConfigError(f"nothing is handed in in {folder}.")
    wanted = {one.notebook for one in submissions if one.content is not None}
    assignments = {stem: read_assignment(stems[stem]) for stem in sorted(wanted)}
    hidden = (folder, project.root / "notebooks", *tables)
    watched = Watched((folder, project.sources, project.package, *tables), out.parent / ASIDE)
    with tempfile.TemporaryDirectory(prefix="rethinklab-grade-") as cache:

        def mark(one: Submission) -> Row:
            row, judged = _mark(one, assignments, project, seconds, hidden, Path(cache), watched)
            report(row, judged)
            return row

        if workers == 1:
            rows = [mark(one) for one in submissions]
        else:
            with ThreadPoolExecutor(workers) as pool:
                rows = list(pool.map(mark, submissions))
    write_marks(rows, out)
    return rows


def _mark(one: Submission, assignments: dict[str, Assignment], project: Project, seconds: float,
          hidden: Sequence[Path], cache: Path, watched: Watched) -> tuple[Row, bool]:
    assignment = assignments.get(one.notebook)
    if one.content is None or assignment is None:
        return Row(one.student, one.notebook, (), 0, (one.remark,)), True
    try:
        answers = read_answers(one.content, assignment)
    except NotANotebook as error:
        nothing = tuple(Mark(exercise.name, MISSING, 0, exercise.points,
                             f"Not a notebook: {error}.") for exercise in assignment.exercises)
        return Row(one.student, one.notebook, nothing, assignment.out_of,
                   (f"not a notebook: {error}",)), True
    outcome = run(assignment, answers, project, seconds, tuple(hidden), cache)
    remarks = (*outcome.remarks, *watched.restore())
    return Row(one.student, one.notebook, outcome.marks, assignment.out_of,
               remarks), outcome.judged


def _examine(folder: Path, project: Project, seconds: float, workers: int) -> None:
    if not hasattr(os, "fork"):
        raise ConfigError("grading needs Linux or macOS; use WSL, or nbgrader with "
                          "`rethinklab student --solutions`.")
    number("time limit", seconds, above=0, rule="a number of seconds above 0")
    whole("workers", workers, 1)
    for needed in (project.package, project.sources, Path(sys.prefix)):
        if needed.resolve().is_relative_to(folder):
            raise ConfigError(f"the folder {folder} holds {needed}; name one that holds nothing "
                              "but submissions.")
