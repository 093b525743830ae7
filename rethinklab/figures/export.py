"""The exporter: a figure as PDF, PNG or SVG, its numbers as CSV, and where they are from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

import rethinklab
from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures.style import PaperFigure, paper_style

# What would differ between two runs of the same command is left out of the files.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "rethinklab"},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "rethinklab"},
}


def export(figure: PaperFigure, name: str, out: str | Path = "figures",
           formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Write the figure as `out/name.FORMAT`, its numbers as CSV, its origin and alternative text
    as JSON; the paths written, pictures first. Files are byte-identical when made twice.

    Raises ConfigError for an unknown format, RethinkError where `out` cannot be written.
    """
    for form in formats:
        if form not in METADATA:
            raise ConfigError(f"figure format {form!r} must be one of {', '.join(METADATA)}.")
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        with paper_style():
            for form in formats:
                path = folder / f"{name}.{form}"
                details = METADATA[form]
                if form != "svg":
                    details = {**details, "Title": name}
                figure.savefig(path, format=form, metadata=details)
                written.append(path)
        table = folder / f"{name}.csv"
        figure.numbers.to_csv(table, index=False, float_format="%.10g", lineterminator="\n")
        origin = folder / f"{name}.json"
        origin.write_text(json.dumps(
            {"alt": figure.caption, "source": figure.note, "rethinklab": rethinklab.__version__,
             "matplotlib": matplotlib.__version__}, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RethinkError(f"the figure {name} cannot be written to {folder} ({error.strerror}); "
                           "choose another place with --out.") from error
    return [*written, table, origin]
