"""What a lesson asks: its cells in order, and what each exercise's answer has to define."""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rethinklab.notebook.grading.inside import CHECK, CODE
from rethinklab.notebook.source import read_lesson, solution

KNOWN = frozenset(dir(builtins))


@dataclass(frozen=True)
class Exercise:
    """An exercise to mark. asks: the names that an answer has to define. check: the cell that
    judges them."""

    name: str
    points: int
    asks: tuple[str, ...]
    check: str


@dataclass(frozen=True)
class Assignment:
    """A lesson to mark by. steps: (CODE, source) of the lesson's own cells and (CHECK, exercise)
    where an answer is checked, in order."""

    stem: str
    exercises: tuple[Exercise, ...]
    steps: tuple[tuple[str, str], ...]

    @property
    def out_of(self) -> int:
        return sum(exercise.points for exercise in self.exercises)


def read_assignment(path: str | Path) -> Assignment:
    """The lesson at `path`, to mark by. Raises ConfigError as `read_lesson` does."""
    path = Path(path)
    code = [cell for cell in read_lesson(path).cells if cell.cell_type == "code"]
    checks = {cell.metadata["check"]: cell.source for cell in code if "check" in cell.metadata}
    exercises, steps = [], []
    for cell in code:
        about = cell.metadata
        if "exercise" in about:
            name = about["exercise"]
            asks = binds(solution(cell.source)) & uses(checks[name])
            exercises.append(Exercise(name, int(about.get("points", 1)), tuple(sorted(asks)),
                                      checks[name]))
        elif "check" in about:
            steps.append((CHECK, about["check"]))
        elif "colab" not in about.get("tags", ()):
            steps.append((CODE, cell.source))
    return Assignment(path.stem, tuple(exercises), tuple(steps))


def binds(source: str, inside: bool = False) -> set[str]:
    """The names that a cell defines at its top level, or with those inside of its functions and
    classes, parameters included; none where it is not Python."""
    return {symbol.get_name() for table in _tables(source)
            if inside or table.get_type() == "module" for symbol in table.get_symbols()
            if symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()}


def uses(source: str) -> set[str]:
    """The names that a cell takes from what was defined before, functions' bodies included."""
    return {symbol.get_name() for table in _tables(source) for symbol in table.get_symbols()
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
            } - KNOWN


def _tables(source: str) -> Iterator[symtable.SymbolTable]:
    try:
        waiting = [symtable.symtable(source, "cell", "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while waiting:
        table = waiting.pop()
        yield table
        waiting.extend(table.get_children())
