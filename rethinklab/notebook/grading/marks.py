"""The tables of marks: one row for each submission, and one for each exercise."""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.notebook.grading.run import Mark

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute


@dataclass(frozen=True)
class Row:
    """A submission's marks. out_of: 0 where it is of no lesson."""

    student: str
    notebook: str
    marks: tuple[Mark, ...]
    out_of: int
    remarks: tuple[str, ...]

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)


def details_path(out: Path) -> Path:
    """Where the table of exercises lies, beside the one of submissions."""
    return out.with_name(f"{out.stem}-details{out.suffix}")


def check_out(out: Path, force: bool) -> None:
    """Raises ConfigError where the tables cannot be written, before anything is marked."""
    if not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent}; make it, or name another --out.")
    for path in (out, details_path(out)):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; name a file with --out.")
        if path.exists() and not force:
            raise ConfigError(f"{path} exists; --force replaces it, --out names another.")


def write_marks(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write both tables, each as a whole; their paths."""
    most = max((len(row.marks) for row in rows), default=0)
    numbers = [f"exercise_{number + 1}" for number in range(most)]
    table: list[Sequence[object]] = [
        ["student", "notebook", "points", "out_of", *numbers, "remark"]]
    for row in rows:
        points = [mark.points for mark in row.marks] + [""] * (most - len(row.marks))
        table.append([row.student, row.notebook, row.points, row.out_of, *points,
                      "; ".join(row.remarks)])
    details: list[Sequence[object]] = [["student", "notebook", "exercise", "name", "verdict",
                                        "points", "out_of", "diagnosis"]]
    details += [[row.student, row.notebook, number, mark.exercise, mark.verdict, mark.points,
                 mark.out_of, mark.diagnosis]
                for row in rows for number, mark in enumerate(row.marks, start=1)]
    paths = [out, details_path(out)]
    for path, content in zip(paths, (table, details), strict=True):
        _write(path, content)
    return paths


def _write(path: Path, table: Sequence[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        [_plain(value) for value in row] for row in table)
    draft = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
    try:  # utf-8-sig, so that spreadsheets read names with accents
        draft.write_bytes(text.getvalue().encode("utf-8-sig", errors="backslashreplace"))
        os.replace(draft, path)
    except OSError as error:
        raise RethinkError(f"{path} cannot be written ({error.strerror}).") from error
    finally:
        draft.unlink(missing_ok=True)


def _plain(value: object) -> object:
    """Text on one line that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = "".join(sign if sign.isprintable() else " " for sign in value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
