"""The commands for the notebooks: lab, and for teachers student and grade."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from rethinklab.errors import ConfigError, RethinkError


def lab(options: Annotated[list[str] | None, typer.Argument(
            help="Passed on to JupyterLab; put -- before them.")] = None,
        notebooks: Annotated[Path | None, typer.Option(
            help="Folder to open. [default: the notebooks of the clone]")] = None) -> None:
    """Open the notebooks in JupyterLab.

    Example: rethinklab lab -- --no-browser --port 8890
    """
    from rethinklab.home import home, installed

    if notebooks is None and installed():
        raise ConfigError("the lessons lie in the installed package, where nobody should work; "
                          "`rethinklab lessons DIR` copies them out, and --notebooks DIR opens "
                          "them.")
    folder = notebooks or home() / "notebooks"
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; `rethinklab lessons DIR` makes one.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("jupyterlab is not installed; pip install jupyterlab.")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(folder), *(options or [])])


def lessons(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to copy to.")],
    force: Annotated[bool, typer.Option(
        "--force", help="Replace lessons that are there, with all that was written in them.")
    ] = False,
) -> None:
    """Copy the lessons and their glossary out, to work in.

    Examples:

    rethinklab lessons mine

    rethinklab lab --notebooks mine
    """
    from rethinklab.home import home

    sources = [*sorted((home() / "notebooks").glob("*.ipynb")), home() / "notebooks/GLOSSARY.md"]
    there = [path.name for path in sources if (folder / path.name).exists()]
    if there and not force:
        raise ConfigError(f"{folder} has {there[0]} already, and what was written in it would be "
                          "lost; name another folder, or replace the lessons with --force.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sources:
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise RethinkError(f"the lessons cannot be written to {folder} ({error.strerror}); name "
                           "another folder.") from error
    typer.echo(f"{len(sources) - 1} lessons are in {folder}; open them with `rethinklab lab "
               f"--notebooks {folder}`, and begin with 00.")


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
        help="The table of marks. Beside it come *-details.csv, with what was wrong, *-alike.csv, "
             "with answers that are nearly the same, and a .json that a second call goes on from.")
    ] = Path("marks.csv"),
    time_limit: Annotated[float, typer.Option(
        help="Seconds for the answers of one submission and their checks.")] = 120,
    jobs: Annotated[int, typer.Option(help="Submissions marked at a time.")] = 1,
    trust_submissions: Annotated[bool, typer.Option(
        "--trust-submissions", help="Do not warn where no container program works.")] = False,
    pages: Annotated[Path | None, typer.Option(
        help="Folder for a page of feedback for each student, STUDENT.html.")] = None,
    gradebook: Annotated[list[str] | None, typer.Option(
        help="Also write *-moodle.csv or *-canvas.csv, to import there; may be repeated.")] = None,
    force: Annotated[bool, typer.Option(
        "--force", help="Begin anew, and replace tables that exist.")] = False,
) -> None:
    """Mark submissions of the notebooks, and write one row for each student and notebook.

    Accepted are FOLDER/STUDENT/NN_topic.ipynb, FOLDER/STUDENT_NN_topic.ipynb and
    FOLDER/NN_topic_STUDENT.ipynb, with NN_topic the name of a lesson, such as 02_l1_norm. Any
    other file gets a row with a remark.

    Only the answers count: they are put into the lesson as the project has it, and what a student
    changed elsewhere has no effect. Each submission runs by itself in a container: of bubblewrap,
    or of podman or docker where they have an image called rethinklab. Rows are written as they
    come; a second call goes on, and marks what is new or has changed.

    Example: rethinklab grade submissions --jobs 2 --pages feedback --gradebook moodle
    """
    from rethinklab.notebook.grading.grade import Marking, find_project
    from rethinklab.notebook.grading.handback import alike, write_pages
    from rethinklab.notebook.grading.handback import gradebook as as_gradebook
    from rethinklab.notebook.grading.marks import Book, Row, as_csv, write_whole

    for kind in gradebook or []:
        as_gradebook([], kind)  # raises for one that there is not

    def report(row: Row, left: int, seconds: float) -> None:
        remark = f"  {'; '.join(row.remarks)}" if row.remarks else ""
        to_come = f"  [{left} to come, about {seconds / 60:.0f} min]" if left else ""
        typer.echo(f"{row.student or '?':20} {row.notebook:24} {row.points}/{row.out_of}{remark}"
                   f"{to_come}")

    book = Book(out.resolve(), force)
    marking = Marking(folder, find_project(), book)
    marking.grade(time_limit, jobs, trust_submissions, report)
    pairs = alike(marking.answered)
    write_whole(book.beside("alike.csv"), as_csv(pairs))
    for kind in gradebook or []:
        write_whole(book.beside(f"{kind}.csv"), as_gradebook(book.rows, kind))
    if pages is not None:
        write_pages(book.rows, pages)
    typer.echo(f"{out} has the marks of {len(book.rows)} submissions; {len(pairs) - 1} pairs of "
               "answers are nearly the same.")
    if unjudged := [row for row in book.rows if not row.judged]:
        raise RethinkError(f"{len(unjudged)} submissions were not judged to their end; see the "
                           "remarks. A second call marks them again.")
