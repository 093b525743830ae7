"""The tables of marks, one row for each submission and one for each exercise, and the file that a
second call goes on from. They are written anew, each as a whole, whenever a submission is done."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.files import write_atomically
from rethinklab.notebook.grading.run import Mark

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute
Table = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Row:
    """A submission's marks. out_of: 0 where it is of no lesson. judged: whether a second call need
    not mark it again. key: of what it was handed in and the lesson it was marked by."""

    student: str
    notebook: str
    marks: tuple[Mark, ...]
    out_of: int
    remarks: tuple[str, ...]
    judged: bool = True
    key: str = ""

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)


class Book:
    """The marks of a class, kept in three files: the table `out`, the details beside it, and all
    of it once more as JSON, for a second call. Raises ConfigError where a file cannot be written,
    is there already though no call has made it, or was changed by hand; `force` replaces them."""

    def __init__(self, out: Path, force: bool = False) -> None:
        self.out, self.json = out, out.with_suffix(".json")
        if out.suffix != ".csv":
            raise ConfigError(f"the table {out} must have a name that ends in .csv.")
        if not out.parent.is_dir():
            raise ConfigError(f"there is no folder {out.parent}; make it, or name another --out.")
        for path in (*self.tables, self.json):
            if path.is_dir():
                raise ConfigError(f"{path} is a folder; name a file with --out.")
        self.rows, before = ([], []) if force else _read(self.json)
        for path, made, had in zip_longest(self.tables, map(_digest, self._contents()), before):
            if not force and path.exists() and _digest(path.read_bytes()) not in (made, had):
                raise ConfigError(f"{path} exists and is not as marking left it; --force begins "
                                  "anew and replaces it, --out names another.")

    @property
    def tables(self) -> tuple[Path, Path]:
        """Where the table of submissions is, and the one of exercises."""
        return self.out, self.beside("details.csv")

    def beside(self, what: str) -> Path:
        """Where something else about these marks lies."""
        return self.out.with_name(f"{self.out.stem}-{what}")

    def keep(self, keys: Collection[str]) -> set[str]:
        """Drop the rows that have to be marked again, or whose submission is gone; the keys of
        those left."""
        self.rows = [row for row in self.rows if row.judged and row.key in keys]
        return {row.key for row in self.rows}

    def add(self, row: Row) -> None:
        """Put a row in its place, by student and notebook, and write all files."""
        self.rows = sorted([*self.rows, row], key=lambda one: (one.student, one.notebook))
        self.write()

    def write(self) -> None:
        """Write all files. Raises RethinkError where that is not possible."""
        before = [_digest(path.read_bytes()) if path.exists() else "" for path in self.tables]
        kept = {"before": before, "rows": [asdict(row) for row in self.rows]}
        write_whole(self.json, json.dumps(kept, indent=1).encode())
        for path, content in zip(self.tables, self._contents(), strict=True):
            write_whole(path, content)

    def _contents(self) -> list[bytes]:
        return [as_csv(_submissions(self.rows)), as_csv(_exercises(self.rows))]


def _read(path: Path) -> tuple[list[Row], list[str]]:
    """The rows, and the digests of the tables before they were last written."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [Row(**{**one, "marks": tuple(Mark(**mark) for mark in one["marks"]),
                       "remarks": tuple(one["remarks"])}) for one in kept["rows"]], kept["before"]
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is not what marking writes, so nothing can go on from it; "
                          "--force begins anew.") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _submissions(rows: Sequence[Row]) -> Table:
    most = max((len(row.marks) for row in rows), default=0)
    numbers = [f"exercise_{number + 1}" for number in range(most)]
    return [["student", "notebook", "points", "out_of", *numbers, "remark"]] + [
        [row.student, row.notebook, row.points, row.out_of, *(mark.points for mark in row.marks),
         *[""] * (most - len(row.marks)), "; ".join(row.remarks)] for row in rows]


def _exercises(rows: Sequence[Row]) -> Table:
    return [["student", "notebook", "exercise", "name", "verdict", "points", "out_of",
             "diagnosis"]] + [
        [row.student, row.notebook, number, mark.exercise, mark.verdict, mark.points, mark.out_of,
         mark.diagnosis] for row in rows for number, mark in enumerate(row.marks, start=1)]


def as_csv(table: Table) -> bytes:
    """A table as spreadsheets read it, names with accents included."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        [_plain(value) for value in row] for row in table)
    return text.getvalue().encode("utf-8-sig", errors="backslashreplace")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all. Raises RethinkError."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise RethinkError(f"{path} cannot be written ({error.strerror}).") from error


def _plain(value: object) -> object:
    """Text on one line that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = "".join(sign if sign.isprintable() else " " for sign in value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
