"""The tables of the paper as files: text, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rethinklab.errors import RethinkError
from rethinklab.experiments.paper.layout import PaperTable, paper_table, tables_with_rows
from rethinklab.experiments.results import Results

TABLES: dict[str, str] = {
    ("rows-of-figure7" if name == "figure7" else name): name for name in tables_with_rows()}


def paper_table_of(name: str, studies: Iterable[Results]) -> PaperTable:
    """The table that is exported as `name`."""
    return paper_table(TABLES[name], studies)


def export_table(table: PaperTable, name: str, out: str | Path) -> list[Path]:
    """Write `out/name.txt`, `.csv` and `.tex` (for the package booktabs); the paths written.

    Raises RethinkError where `out` cannot be written.
    """
    folder = Path(out).expanduser()
    texts = {"txt": f"{table}\n", "tex": f"{table.latex}\n", "csv": table.csv}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for form, text in texts.items():
            paths.append(folder / f"{name}.{form}")
            paths[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"the table {name} cannot be written to {folder} ({error.strerror}); "
                           "choose another place with --out.") from error
    return paths
