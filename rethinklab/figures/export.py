"""The exporter: a figure as PDF, PNG, SVG or PGF, its numbers as CSV, and where they are from."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch

import rethinklab
from rethinklab.commit import code_commit
from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures.style import PaperFigure, paper_style

# What would differ between two runs of the same command is left out of the files.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "rethinklab"},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "rethinklab"},
    "pgf": {},
}


def export(figure: PaperFigure, name: str, out: str | Path = "figures",
           formats: Sequence[str] = ("pdf", "png"),
           origin: Mapping[str, Any] | None = None) -> list[Path]:
    """Write the figure as `out/name.FORMAT`, its numbers as CSV, its origin and alternative text
    as JSON; the paths written, pictures first. Pictures are byte-identical when made twice.

    origin: more for the JSON, such as the results that were used.
    Raises ConfigError for an unknown format and for pgf without TeX, RethinkError where `out`
    cannot be written.
    """
    check_formats(formats)
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        with paper_style():
            for form in formats:
                path = folder / f"{name}.{form}"
                details = METADATA[form]
                if form in ("pdf", "png"):
                    details = {**details, "Title": name}
                more: dict[str, Any] = {"metadata": details} if details else {}
                figure.savefig(path, format=form, **more)
                written.append(path)
        table = folder / f"{name}.csv"
        figure.numbers.to_csv(table, index=False, float_format="%.10g", lineterminator="\n")
        where = folder / f"{name}.json"
        where.write_text(json.dumps(
            {"alt": figure.caption, "source": figure.note, **(origin or {}), **versions()},
            indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RethinkError(f"the figure {name} cannot be written to {folder} ({error.strerror}); "
                           "choose another place with --out.") from error
    return [*written, table, where]


def check_formats(formats: Sequence[str]) -> None:
    """Raises ConfigError for a format that is not known, or that this machine cannot write."""
    for form in formats:
        if form not in METADATA:
            raise ConfigError(f"figure format {form!r} must be one of {', '.join(METADATA)}.")
    system = str(matplotlib.rcParams["pgf.texsystem"])
    if "pgf" in formats and shutil.which(system) is None:
        raise ConfigError(f"figure format pgf needs TeX to measure its text, and {system} is not "
                          "installed; install TeX, or choose pdf, which needs none.")


def versions() -> dict[str, Any]:
    """What a figure was drawn with."""
    return {"commit": code_commit(), "rethinklab": rethinklab.__version__,
            "torch": torch.__version__, "matplotlib": matplotlib.__version__,
            "python": platform.python_version()}
