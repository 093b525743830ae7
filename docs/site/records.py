"""Pages made from records: one a study, the rows of the paper, the regimes, the benchmarks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import rethinklab as rl
from rethinklab.errors import RethinkError
from rethinklab.figures import PaperFigure, paper_style
from rethinklab.results.paper_tables import TABLES, paper_table

DPI = 150
PICTURES = ("differences", "regimes")  # for a study's page: the first that it allows
TRIALS = {"regime": "regime", "seed": "seed", "test_accuracy": "test accuracy (%)",
          "epochs": "epochs", "params": "parameters", "macs": "MACs", "seconds": "seconds",
          "address": "address"}
SETTINGS = ("dataset", "images", "model", "width", "method", "target", "scale", "margin", "seeds")


def table(frame: pd.DataFrame) -> str:
    """A frame as a table of Markdown."""
    rows = [list(map(cell, row)) for row in frame.itertuples(index=False)]
    lines = [list(map(cell, frame.columns)), ["---"] * len(frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    """A value as it stands in a table: numbers with at most four figures after the point."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return str(value).replace("|", "\\|").replace("\n", " ")


def picture(figure: PaperFigure, source: Path, name: str, beside: str = "/") -> str:
    """Save a figure under `source`, and the Markdown that shows it with its caption as the
    alternative text."""
    place = source / "pictures" / f"{name}.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    with paper_style():
        figure.savefig(place, dpi=DPI, metadata={"Software": None})
    said = figure.caption.replace("[", "(").replace("]", ")")
    return f"![{said}]({beside}pictures/{name}.png)\n\n{said}"


def study_pages(studies: Mapping[str, rl.Results], source: Path) -> dict[str, str]:
    """A page for each recorded study, by its path."""
    return {f"data/results/{name}.md": study_page(name, results, source)
            for name, results in studies.items()}


def study_page(name: str, results: rl.Results, source: Path) -> str:
    """What was asked and came out of one study, trial by trial."""
    known = results.settings
    asked = pd.DataFrame([(key, known[key]) for key in SETTINGS if known.get(key)]
                         + [(f"recipe: {key}", value) for key, value in known["recipe"].items()
                            if value not in (None, False)], columns=["setting", "value"])
    try:
        verdicts = [str(verdict) for verdict in results.verdicts()]
    except RethinkError as reason:
        verdicts = [f"Nothing is compared: {reason}"]
    trials = results.frame.astype({"regime": str})[list(TRIALS)].rename(columns=TRIALS)
    trials[TRIALS["test_accuracy"]] *= 100
    notes = [*verdicts, *(f"Note: {note}" for note in results.notes())]
    return "\n\n".join([
        f"# {name}", f"{results.label}.", *answering(name, results, source),
        "## What came out", table(results.table()), *(f"- {line}" for line in notes),
        "## Read it, draw it, run it again",
        f'```python\nresults = rl.load_results("{name}")\nrl.figures.differences(results)\n```',
        f"```bash\nrethinklab run --queue data/results/queue.toml --only {name}\n"
        f"rethinklab rerun {trials['address'].iloc[0]}\n```",
        "## What was asked", table(asked), "## Every trial", table(trials)]) + "\n"


def answering(name: str, results: rl.Results, source: Path) -> list[str]:
    """The figure that answers the study's question, as far as it allows one."""
    for kind in PICTURES:
        try:
            return [picture(getattr(rl.figures, kind)(results), source, f"{kind}-{name}")]
        except RethinkError:  # of one regime, say
            continue
    return []


def rows_of_the_paper(studies: Mapping[str, rl.Results]) -> str:
    """The rows of each table: as printed, and what recorded studies of them found."""
    parts = ["", "## Published and own results", "",
             "Mean ± sd of the test accuracy in percent, or with a sign the difference to the "
             "unpruned network, as the paper prints it."]
    for name in TABLES:
        found = paper_table(name, studies.values())
        parts += ["", f"### {found.title} (`{name}`)", "", table(found.frame), "",
                  *(f"- {source}" for source in found.sources)]
    return "\n".join([*parts, ""])


def every_regime() -> str:
    """All regimes with their meaning."""
    known = pd.DataFrame([(f"`{name}`", regime.title, regime.meaning)
                          for name, regime in rl.REGIMES.items()],
                         columns=["regime", "called", "what it does"])
    return f"\n## Every regime\n\n{table(known)}\n"


def benchmarks(folder: Path, source: Path) -> str:
    """All recorded benchmarks: pictures, then tables."""
    parts = []
    for path in sorted(folder.iterdir()):
        parts.append(f"\n## `benchmarks/results/{path.name}`\n")
        if path.suffix == ".csv":
            frame = pd.read_csv(path)
            same = [column for column in frame if frame[column].nunique() == 1 and len(frame) > 1]
            parts += [f"- {column}: {cell(frame[column].dropna().iloc[0])}" for column in same]
            shown = frame.drop(columns=same).dropna(axis="columns", how="all")
            parts.append("\n" + table(shown.astype(object).where(shown.notna(), None)))
        elif path.suffix in (".svg", ".png"):
            place = source / "pictures" / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
            parts.append(f"![The numbers of {path.stem}.csv](/pictures/{path.name})")
    return "\n".join([*parts, ""])
