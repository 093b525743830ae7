"""The commands for the notebooks: lab, and for teachers student and grade."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethinklab.errors import ConfigError, RethinkError

if TYPE_CHECKING:
    from rethinklab.notebook.grading.marks import Row


def lab(options: Annotated[list[str] | None, typer.Argument(
            help="Passed on to JupyterLab; put -- before them.")] = None,
        notebooks: Annotated[Path | None, typer.Option(
            help="Folder to open. [default: the project's notebooks]")] = None) -> None:
    """Open the notebooks in JupyterLab.

    Example: rethinklab lab -- --no-browser --port 8890
    """
    folder = notebooks or Path(__file__).resolve().parents[2] / "notebooks"
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; clone the project for its notebooks, or "
                          "name a folder with --notebooks.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("jupyterlab is not installed; pip install jupyterlab.")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(folder), *(options or [])])


def student(
    lessons: Annotated[list[str] | None, typer.Argument(
        metavar="[NN ...]", help="Numbers of lessons, such as 02; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("handout"),
    solutions: Annotated[bool, typer.Option(
        "--solutions", help="With the solutions, between nbgrader's marks: for the teacher, and "
        "as nbgrader's source version.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write the lessons as notebooks to hand out: exercises with hints, without solutions.

    Examples:

    rethinklab student 00 02 --out handout

    rethinklab student 02 --solutions --out course/source/lesson02 (for nbgrader)
    """
    from rethinklab.notebook.grading.handout import write_handout

    for path in write_handout(lessons or [], out, "solutions" if solutions else "student", force):
        typer.echo(str(path))


def grade(
    folder: Annotated[Path, typer.Argument(help="The folder of submissions.")],
    out: Annotated[Path, typer.Option(
        help="The table of marks; what was wrong goes into a second one, *-details.csv.")
    ] = Path("marks.csv"),
    time_limit: Annotated[float, typer.Option(
        help="Seconds for the answers of one submission and their checks.")] = 120,
    workers: Annotated[int, typer.Option(help="Submissions marked at a time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace tables that exist.")] = False,
) -> None:
    """Mark submissions of the notebooks, and write one row for each student and notebook.

    Accepted are FOLDER/STUDENT/NN_topic.ipynb, FOLDER/STUDENT_NN_topic.ipynb and
    FOLDER/NN_topic_STUDENT.ipynb, with NN_topic the name of a lesson, such as 02_l1_norm. Any
    other file gets a row with a remark.

    Only the answers count: they are put into the lesson as the project has it, and what a student
    changed elsewhere has no effect. Each submission runs in a process of its own, which may write
    only in a folder of its own. That is no boundary against an expert; where submissions come from
    strangers, run this in a container.

    Example: rethinklab grade submissions --out marks.csv --workers 2
    """
    from rethinklab.notebook.grading.grade import find_project
    from rethinklab.notebook.grading.grade import grade as mark
    from rethinklab.notebook.grading.marks import details_path

    unjudged = []

    def report(row: Row, judged: bool) -> None:
        if not judged:
            unjudged.append(row)
        remark = f"  {'; '.join(row.remarks)}" if row.remarks else ""
        typer.echo(f"{row.student or '?':20} {row.notebook:24} {row.points}/{row.out_of}{remark}")

    mark(folder, out, find_project(), time_limit, workers, force, report)
    typer.echo(f"{out} has the marks, {details_path(out)} what was wrong.")
    if unjudged:
        raise RethinkError(f"{len(unjudged)} submissions could not be judged, because the lesson "
                           "itself failed; see the remarks.")
