"""A study as one HTML page that opens offline: tables, verdicts, figures and their origin."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.export import METADATA, versions
from rethinklab.figures.style import TEXT_WIDTH, PaperFigure, paper_style
from rethinklab.results import Results
from rethinklab.results.beside_paper import beside
from rethinklab.results.files import PROVENANCE

OF_ONE_STUDY = ("regimes", "differences", "accuracy_budget", "learning_curves", "layer_widths",
                "stage_ratios", "weights", "weight_layers", "scales", "movement", "overlap",
                "kernels", "sensitivity", "barrier", "latency")
PIXELS_PER_INCH = 200
MOST_ROWS = 120  # of a figure's numbers; `rethinklab figures` writes all


@dataclass(frozen=True)
class Picture:
    """A figure on the page. data: of the PNG, as text. alt: what it shows, in a sentence.
    numbers: as an HTML table; empty where they are many."""

    name: str
    meaning: str
    data: str
    alt: str
    numbers: str


def write_report(results: Results, path: str | Path | None = None) -> Path:
    """Write the report of a study; where it is.

    path: by default STUDY.html in the working folder. Raises RethinkError where the page cannot be
    written.
    """
    place = Path(path).expanduser() if path else Path(f"{results.name}.html")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8"):  # before the work, which takes a while
            pass
        pictures, missing = draw_all(results)
        place.write_text(render(results, pictures, missing), encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"the report cannot be written to {place} ({error.strerror}); choose "
                           "another place with --out.") from error
    return place


def draw_all(results: Results) -> tuple[list[Picture], list[str]]:
    """Every figure that one study gives, and why the others are missing."""
    pictures, missing = [], []
    for name in OF_ONE_STUDY:
        kind = FIGURES[name]
        found = kind.collect({results.name: results})
        missing += [f"{name}: {reason.partition(': ')[2]}" for reason in found.missing]
        for given in found.inputs.values():
            try:
                figure = kind.draw(given, width=TEXT_WIDTH)
            except RethinkError as error:
                missing.append(f"{name}: {error}")
                continue
            few = len(figure.numbers) <= MOST_ROWS
            pictures.append(Picture(name, kind.meaning, encoded(figure), figure.caption,
                                    html(figure.numbers) if few else ""))
    return pictures, missing


def render(results: Results, pictures: list[Picture], missing: list[str]) -> str:
    """The page as text."""
    template = files("rethinklab.figures").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)
    preset = results.settings.get("preset")
    return environment.from_string(template).render(
        name=results.name, label=results.label, table=html(results.table()),
        verdicts=[str(verdict) for verdict in results.verdicts()], notes=results.notes(),
        beside=beside(preset, results) if preset else "", ledger=ledger(results),
        pictures=pictures, missing=missing, provenance=provenance(results),
        trials=html(trials(results)), versions=versions())


def html(frame: pd.DataFrame, index: bool = False) -> str:
    """A table as HTML, its text escaped."""
    return str(frame.to_html(index=index, border=0, na_rep="", float_format="{:.6g}".format))


def ledger(results: Results) -> str:
    """What a trial of each regime cost in all; nothing for results without a ledger."""
    try:
        return html(results.ledger(), index=True)
    except ConfigError:
        return ""


def trials(results: Results) -> pd.DataFrame:
    """Every trial: regime, seed, accuracy and address."""
    table = results.frame[["regime", "seed", "test_accuracy", "address"]].copy()
    table["test_accuracy"] = (table["test_accuracy"] * 100).map("{:.2f} %".format)
    return table.rename(columns={"test_accuracy": "test accuracy"})


def provenance(results: Results) -> dict[str, str]:
    """Device, versions, dates and data of the trials, each value once."""
    return {column.replace("_", " "): ", ".join(sorted({str(v) for v in results.frame[column]}))
            for column in PROVENANCE if column in results.frame}


def encoded(figure: PaperFigure) -> str:
    """The figure as a PNG in base64."""
    target = io.BytesIO()
    with paper_style():
        figure.savefig(target, format="png", dpi=PIXELS_PER_INCH, metadata=METADATA["png"])
    return base64.b64encode(target.getvalue()).decode("ascii")
