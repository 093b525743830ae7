"""What is made of marks: a page for each student, tables for a gradebook, and a list of answers
that are nearly the same."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Iterator, Sequence
from html import escape
from itertools import combinations
from pathlib import Path

from rethinklab.errors import RethinkError, unknown_name
from rethinklab.notebook.grading.answers import Answers
from rethinklab.notebook.grading.lesson import binds
from rethinklab.notebook.grading.marks import Row, Table, as_csv, write_whole

GRADEBOOKS = ("moodle", "canvas")
SHINGLE = 6  # tokens
FEWEST = 20  # shingles of an answer that can be told from others
ALIKE = 0.8  # of the shingles of two answers together
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{student}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em }}
td, th {{ text-align: left; vertical-align: top; padding: .3em 1em .3em 0 }}
td {{ border-top: 1px solid #ccc }}
</style></head><body>
<h1>{student}</h1>
{lessons}
</body></html>
"""


def write_pages(rows: Sequence[Row], folder: Path) -> list[Path]:
    """FOLDER/STUDENT.html for each student: the verdict and diagnosis of each exercise. What a
    student wrote is text there, never markup. Raises RethinkError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RethinkError(f"{folder} cannot be made ({error.strerror}).") from error
    paths = []
    for student in sorted({row.student for row in rows if row.student}):
        lessons = "\n".join(_lesson(row) for row in rows if row.student == student)
        paths.append(folder / f"{student}.html")
        write_whole(paths[-1], PAGE.format(student=escape(student), lessons=lessons).encode(
            errors="backslashreplace"))
    return paths


def _lesson(row: Row) -> str:
    head = f"<h2>{escape(row.notebook)}: {row.points} of {row.out_of} points</h2>"
    told = [] if row.marks else [f"<p>{escape(remark)}</p>" for remark in row.remarks]
    lines = [f"<tr><td>{escape(mark.exercise)}<td>{mark.points}/{mark.out_of}"
             f"<td>{escape(mark.verdict)}<td>{escape(mark.diagnosis)}</tr>" for mark in row.marks]
    if lines:
        lines = ["<table>", "<tr><th>exercise<th>points<th>verdict<th>diagnosis</tr>", *lines,
                 "</table>"]
    return "\n".join([head, *told, *lines])


def gradebook(rows: Sequence[Row], kind: str) -> bytes:
    """Points by student and lesson, as CSV to import into a gradebook; the students' names are
    taken for what they log in with. kind: "moodle" or "canvas". Raises ConfigError for another."""
    if kind not in GRADEBOOKS:
        raise unknown_name("gradebook", kind, GRADEBOOKS)
    marked = [row for row in rows if row.student and row.out_of]
    lessons = {row.notebook: row.out_of for row in marked}
    points = {(row.student, row.notebook): row.points for row in marked}
    moodle = kind == "moodle"
    head: list[object] = ["username"] if moodle else [
        "Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    table = [[*head, *lessons]]
    if not moodle:
        table.append(["    Points Possible", "", "", "", "", *lessons.values()])
    for student in sorted({row.student for row in marked}):
        who = [student] if moodle else [student, "", "", student, ""]
        table.append([*who, *(points.get((student, lesson), "") for lesson in lessons)])
    return as_csv(table)


def alike(answered: Sequence[tuple[str, str, Answers]]) -> Table:
    """Pairs of answers to one exercise that are nearly the same, though names, comments and spaces
    may differ: lesson, exercise, both students and the share of the code that agrees. Short answers
    are left out, which have no other way to be right. answered: (student, lesson, answers)."""
    found: list[list[object]] = []
    by_exercise: dict[tuple[str, str], list[tuple[str, frozenset[tuple[str, ...]]]]] = {}
    for student, lesson, answers in answered:
        for name, source in answers.given.items():
            shingles = _shingles(source)
            if len(shingles) >= FEWEST:
                by_exercise.setdefault((lesson, name), []).append((student, shingles))
    for (lesson, name), all_of_it in by_exercise.items():
        for (one, first), (other, second) in combinations(all_of_it, 2):
            share = len(first & second) / len(first | second)
            if share >= ALIKE:
                found.append([lesson, name, one, other, f"{share:.0%}"])
    return [["notebook", "exercise", "student", "other", "alike"], *found]


def _shingles(source: str) -> frozenset[tuple[str, ...]]:
    """The runs of SHINGLE tokens of an answer, the names that it gives itself all as one."""
    tokens = list(_tokens(source))
    return frozenset(tuple(tokens[i:i + SHINGLE]) for i in range(len(tokens) - SHINGLE + 1))


def _tokens(source: str) -> Iterator[str]:
    own = binds(source, inside=True)
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and token.string in own \
                    and not keyword.iskeyword(token.string):
                yield "name"
            elif token.type != tokenize.COMMENT and token.string.strip():
                yield token.string
    except (tokenize.TokenError, SyntaxError):
        return  # what came before the fault is compared
