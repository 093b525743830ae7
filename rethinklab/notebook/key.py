"""The marking key: `python -m rethinklab.notebook.key` puts it into notebooks/INSTRUCTOR.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from rethinklab.notebook.session import find_root
from rethinklab.notebook.source import read_lesson

START = "<!-- marking key: made by `python -m rethinklab.notebook.key` -->"
END = "<!-- end of marking key -->"
HEAD = re.compile(r"\*\*Exercise \d+\.\*\* \*(\w+), (\d+) minutes\.\*")


def rows(lesson: NotebookNode) -> Iterator[tuple[str, str, int, int]]:
    """Name, difficulty, minutes and points of each exercise of a lesson, in order."""
    about = ("", 0)
    for cell in lesson.cells:
        found = HEAD.search(cell.source) if cell.cell_type == "markdown" else None
        if found:
            about = found[1], int(found[2])
        if "exercise" in cell.metadata:
            yield cell.metadata["exercise"], *about, int(cell.metadata.get("points", 1))


def marking_key(folder: Path) -> str:
    """A table of all exercises of the lessons in `folder`, with their points."""
    lines = ["| notebook | exercise | difficulty | minutes | points |", "|---|---|---|---|---|"]
    total = minutes = 0
    for path in sorted(folder.glob("*.py")):
        for name, difficulty, needs, points in rows(read_lesson(path)):
            lines.append(f"| {path.stem} | `{name}` | {difficulty} | {needs} | {points} |")
            total, minutes = total + points, minutes + needs
    lines.append(f"| all | {len(lines) - 2} exercises | | {minutes} | {total} |")
    return "\n".join(lines)


def with_key(page: str, key: str) -> str:
    """The page with the key between its marks."""
    before, _, rest = page.partition(START)
    return f"{before}{START}\n\n{key}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Put the key into the page, and print where that is."""
    folder = find_root() / "notebooks"
    page = folder / "INSTRUCTOR.md"
    text = with_key(page.read_text(encoding="utf-8"), marking_key(folder / "source"))
    page.write_text(text, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
