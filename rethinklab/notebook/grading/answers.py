"""What a submission answers: its answer cells, and other code that the student added."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rethinklab.notebook.grading.inside import CHECK, CODE
from rethinklab.notebook.grading.lesson import Assignment, Exercise, binds, uses

MOST_CELLS = 2000
LOOKS = re.compile(r"^\s*[%!]")  # a line for IPython, not for Python
PREFIX = "check-"
PLACED, MISSING = "answer found above its check", "answer cell missing"
JOINED = "answer in several cells, which were joined"
IMPURE = "lines for IPython left out"
ODD = "to be read, for it uses what an answer seldom needs"
REMARKS = (PLACED, MISSING, JOINED, IMPURE, ODD)
SELDOM = re.compile(
    r"\b(?:gc|ctypes|sys|os|inspect|traceback|subprocess|socket|signal|threading|multiprocessing|"
    r"importlib|builtins|pickle|atexit|setattr|globals|exec|eval|checks|lab|demand|answered|Wrong|"
    r"_[A-Za-z]\w*|__(?!init__|call__|name__|len__|getitem__)\w+__)\b")


class NotANotebook(Exception):
    """A file that is not a notebook; the text says why."""


@dataclass(frozen=True)
class Answers:
    """given: source of each answer, by exercise. before: for each, the student's other cells that
    it needs, in order. remarks: what a teacher should know, in a fixed order."""

    given: dict[str, str]
    before: dict[str, list[str]]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A code cell of a submission. grade_id: nbgrader's name of it, or ""."""

    source: str
    grade_id: str


def read_answers(content: bytes, assignment: Assignment) -> Answers:
    """The answers in a submission. An answer cell is known by its grade_id, else by the check
    below it. Raises NotANotebook."""
    cells = _code_cells(content)
    remarks: dict[str, list[str]] = {}
    places: dict[str, list[int]] = {}
    for exercise in assignment.exercises:
        found = [i for i, cell in enumerate(cells) if cell.grade_id == exercise.name]
        if len(found) > 1:
            remarks.setdefault(JOINED, []).append(exercise.name)
        if not found:
            found = _above_check(cells, exercise, assignment)
            remarks.setdefault(PLACED if found else MISSING, []).append(exercise.name)
        places[exercise.name] = found
    given, before = {}, {}
    for name, where in places.items():
        if where:
            written = "\n".join(cells[i].source for i in where)
            given[name] = as_python(written)
            before[name] = _before(name, where, cells, places, assignment, given[name])
            if given[name] != written:
                remarks.setdefault(IMPURE, []).append(name)
            if odd := sorted({*SELDOM.findall("\n".join([*before[name], written]))}):
                remarks.setdefault(ODD, []).append(f"{name} ({', '.join(odd)})")
    return Answers(given, before, tuple(
        f"{text}: {', '.join(remarks[text])}" for text in REMARKS if text in remarks))


def needed(source: str, cells: Sequence[str], known: Collection[str]) -> list[str]:
    """Those of `cells` that define names which `source` uses and `known` does not hold, and those
    that define what these use, in order."""
    wanted, chosen = uses(source) - set(known), set[int]()
    while more := {i for i, cell in enumerate(cells) if i not in chosen and binds(cell) & wanted}:
        chosen |= more
        wanted |= {name for i in more for name in uses(cells[i])} - set(known)
    return [cells[i] for i in sorted(chosen)]


def as_python(source: str) -> str:
    """A cell with `pass` in place of the lines that only IPython reads."""
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(re.sub(r"\S.*", "pass", line) if LOOKS.match(line) else line
                         for line in source.split("\n"))


def _code_cells(content: bytes) -> list[Cell]:
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotANotebook("it is not text") from None
    except (ValueError, RecursionError, MemoryError):
        raise NotANotebook("it is not JSON" if content.strip() else "it is empty") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotANotebook("it has no cells")
    if len(cells) > MOST_CELLS:
        raise NotANotebook(f"it has {len(cells)} cells")
    return [made for cell in cells if (made := _code_cell(cell)) is not None]


def _code_cell(cell: Any) -> Cell | None:
    if not isinstance(cell, Mapping) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    about = cell.get("metadata")
    about = about if isinstance(about, Mapping) else {}
    tags = about.get("tags")
    if not isinstance(source, str) or (isinstance(tags, list) and "colab" in tags):
        return None
    grading = about.get("nbgrader")
    grading = grading if isinstance(grading, Mapping) else {}
    grade_id = grading.get("grade_id", "")
    return Cell(source, grade_id if isinstance(grade_id, str) else "")


def _above_check(cells: Sequence[Cell], exercise: Exercise, assignment: Assignment) -> list[int]:
    """The cell above the exercise's check, where it is not one of the lesson's own."""
    own = {source.strip() for kind, source in assignment.steps if kind == CODE}
    own |= {other.check.strip() for other in assignment.exercises}
    for i, cell in enumerate(cells[1:]):
        if cell.grade_id == PREFIX + exercise.name or cell.source.strip() == exercise.check.strip():
            return [] if cells[i].grade_id or cells[i].source.strip() in own else [i]
    return []


def _before(name: str, where: Sequence[int], cells: Sequence[Cell],
            places: Mapping[str, Sequence[int]], assignment: Assignment, source: str) -> list[str]:
    """The student's own cells and other answers above an answer, as far as it needs them."""
    lesson = {source.strip() for kind, source in assignment.steps if kind == CODE}
    answers = {i for other, at in places.items() if other != name for i in at}
    own = [as_python(cell.source) for i, cell in enumerate(cells[:where[0]])
           if i in answers or (not cell.grade_id and cell.source.strip() not in lesson)]
    above = assignment.steps[:assignment.steps.index((CHECK, name))]
    known = {bound for kind, text in above if kind == CODE for bound in binds(text)}
    return needed(source, own, known)
