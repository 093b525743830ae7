"""The tables of the paper in its layout, published numbers beside own ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from rethinklab.experiments.paper.choice import group
from rethinklab.experiments.paper.published import LEGEND, MARK, README, cell, rows_of
from rethinklab.experiments.paper.rows import DATASETS, PRESETS, Preset
from rethinklab.experiments.results import Results
from rethinklab.experiments.tables import escape_latex
from rethinklab.trainers.regimes import UNPRUNED, regime_order, regime_title

HEAD = ["Dataset", "Model", "Method", "Target", "From"]
PUBLISHED = "paper"
ABSENT = "-"


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. frame: a row for what the paper prints and one for each own study,
    as text. title: what it is. sources: where the own numbers are from, by their mark in the
    column From."""

    frame: pd.DataFrame
    title: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        foot = "\n".join([*self.sources, LEGEND])
        return f"{self.title}\n\n{self.frame.to_string(index=False)}\n\n{foot}"

    @property
    def csv(self) -> str:
        """The table with the sources in a column of their own."""
        known = dict(source.split(": ", 1) for source in self.sources)
        whole = self.frame.assign(Source=[known.get(mark, "") for mark in self.frame["From"]])
        return str(whole.to_csv(index=False, lineterminator="\n"))

    @property
    def latex(self) -> str:
        """The table for the package booktabs, a rule between the rows of the paper, with its
        sources as the caption."""
        shown = self.frame.astype(object).map(lambda text: escape_latex(str(text)))
        shown.columns = pd.Index([escape_latex(column) for column in shown.columns])
        unverified = f"{MARK}: not checked against the paper"
        caption = escape_latex(". ".join([self.title, *self.sources, unverified]) + ".")
        text = shown.to_latex(index=False, escape=False, caption=caption,
                              column_format="l" * len(HEAD) + "c" * (shown.shape[1] - len(HEAD)))
        lines = str(text).rstrip().splitlines()
        body = next(n for n, line in enumerate(lines) if line.startswith(r"\midrule")) + 1
        starts = [body + n for n, kind in enumerate(self.frame["From"])
                  if n and kind == PUBLISHED]
        for place in reversed(starts):
            lines.insert(place, r"\addlinespace")
        return "\n".join(lines)


def paper_table(table: str, studies: Iterable[Results] = ()) -> PaperTable:
    """A table of the paper: its rows as printed, and under each what own studies of the row found.

    table: "table1" to "table6", "table8", "figure7" or "appendix". studies: those that repeat a
    row, as their preset says; others are passed over. Cells are mean ±sd of the test accuracy in
    percent, or with a sign the difference to the unpruned network; "?" marks what was not
    checked. Raises ConfigError for an unknown table.
    """
    presets = [PRESETS[name] for name in group(table)]
    own: dict[str, list[Results]] = {}
    for results in studies:
        if "preset" in results.frame:
            own.setdefault(str(results.frame["preset"].iloc[0]), []).append(results)
    rows: list[dict[str, str]] = []
    sources: list[str] = []
    for row in presets:
        rows.append({**_head(row), **_printed(row)})
        for results in own.get(row.name, ()):
            sources.append("; ".join([results.label, results.name, *results.notes()]))
            rows.append({**_own_head(results, len(sources)), **_measured(results)})
    regimes = sorted({name for row in rows for name in row} - set(HEAD)
                     | {regime for row in presets for regime in (UNPRUNED, *row.regimes)},
                     key=regime_order)
    frame = pd.DataFrame(rows).reindex(columns=[*HEAD, *regimes]).astype(object)
    frame = frame.fillna(ABSENT)
    titles = {regime: regime_title(regime) for regime in regimes}
    return PaperTable(frame.rename(columns=titles), f"{presets[0].table} of Liu et al. (ICLR 2019)",
                      tuple(f"own {n}: {label}" for n, label in enumerate(sources, 1)))


def _head(row: Preset) -> dict[str, str]:
    return dict(zip(HEAD, (DATASETS[row.dataset], row.model, row.method, _target(row), PUBLISHED),
                    strict=True))


def _own_head(results: Results, number: int) -> dict[str, str]:
    """What was run in place of the row: data, width, scale, and the large network's training."""
    one = results.frame.iloc[0]
    large = results.frame[results.frame["regime"] == UNPRUNED]
    epochs = f"{(large if len(large) else results.frame)['epochs'].max():g} epochs"
    width = f"width {one['width']:g}" if "width" in one and not pd.isna(one["width"]) else ""
    lr = f", lr {one['lr']:g}" if "lr" in one and not pd.isna(one["lr"]) else ""
    return dict(zip(HEAD, (str(one.get("dataset", "")), width, str(one.get("scale", "")),
                           epochs + lr, f"own {number}"), strict=True))


def _target(row: Preset) -> str:
    """The target, and what else sets rows of one table apart."""
    parts = [row.pruned_model or str(row.target)]
    if row.method == "lottery":
        rounds = row.options.get("rounds", 1)
        parts += [f"{rounds} rounds"] if rounds > 1 else []
        parts.append(f"lr {row.recipe.lr:g}")
    if row.options.get("pretrained"):
        parts.append("pretrained")
    if row.length != 1:
        parts.append(f"{row.recipe.epochs} epochs")
    return ", ".join(parts)


def _printed(row: Preset) -> dict[str, str]:
    return {line["regime"]: cell(line) for line in rows_of(row.name) if line["source"] != README}


def _measured(results: Results) -> dict[str, str]:
    summary = results.summary()
    return {str(regime): f"{line['mean']:.2f}" + (
        "" if pd.isna(line["sd"]) else f" ±{line['sd']:.2f}") + f" (n {int(line['n'])})"
        for regime, line in summary.iterrows()}


def tables_with_rows() -> Sequence[str]:
    """The tables that `paper_table` knows."""
    return ("table1", "table2", "table3", "table4", "table5", "table6", "table8", "figure7",
            "appendix")
