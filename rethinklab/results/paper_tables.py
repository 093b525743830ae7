"""Tables for papers: those of Liu et al. (ICLR 2019) with own results under each row, and own
studies in the same layout; as text, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rethinklab.errors import RethinkError, unknown_name
from rethinklab.experiments.paper.choice import group
from rethinklab.experiments.paper.published import LEGEND, MARK, README, cell, rows_of
from rethinklab.experiments.paper.rows import DATASETS, PRESETS, Preset
from rethinklab.results.label import short_name
from rethinklab.results.results import Results
from rethinklab.results.text import mean_sd
from rethinklab.trainers.regimes import UNPRUNED, regime_order, regime_title

HEAD = ["Dataset", "Model", "Method", "Target", "From"]
PUBLISHED = "paper"
ABSENT = "-"
TABLES = {name: name for name in ("table1", "table2", "table3", "table4", "table5", "table6",
                                  "table8")} | {"rows-of-figure7": "figure7",
                                                "appendix": "appendix"}  # to groups of presets


@dataclass(frozen=True)
class PaperTable:
    """A table of text. frame: a row for what the paper prints and one for each own study. title:
    what it is. sources: where the own numbers are from, by their mark in the column From."""

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
        """The table for the package booktabs, a space between the rows of the paper, the best
        pruned network of an own row in bold, with its sources as the caption."""
        shown = self.frame.astype(object).map(lambda text: escape_latex(str(text)))
        for place, row in enumerate(self.frame.to_dict("records")):
            means = {column: float(text.split()[0]) for column, text in row.items()
                     if text != ABSENT and row["From"] != PUBLISHED
                     and column not in (*HEAD, regime_title(UNPRUNED))}
            for column in means if len(means) > 1 else ():
                if means[column] == max(means.values()):
                    shown.loc[place, column] = rf"\textbf{{{shown.loc[place, column]}}}"
        shown.columns = pd.Index([escape_latex(column) for column in shown.columns])
        parts = [self.title, *self.sources]
        if (self.frame["From"] == PUBLISHED).any():
            parts.append(f"{MARK}: not checked against the paper")
        caption = escape_latex(". ".join(parts) + ".")
        text = shown.to_latex(index=False, escape=False, caption=caption,
                              column_format="l" * len(HEAD) + "c" * (shown.shape[1] - len(HEAD)))
        lines = str(text).rstrip().splitlines()
        body = next(n for n, line in enumerate(lines) if line.startswith(r"\midrule")) + 1
        starts = [body + n for n, kind in enumerate(self.frame["From"])
                  if n and kind == PUBLISHED]
        for place in reversed(starts):
            lines.insert(place, r"\addlinespace")
        return "\n".join(lines)

HARMLESS = str.maketrans({**{mark: f"\\{mark}" for mark in "&%$#_{}"}, "\\": r"\textbackslash{}",
                          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"})


def paper_table(name: str, studies: Iterable[Results] = ()) -> PaperTable:
    """A table of the paper: its rows as printed, and under each what own studies of the row found.

    name: of `TABLES`. studies: those that repeat a row, as their preset says; others are passed
    over. Cells are mean ±sd of the test accuracy in percent, or with a sign the difference to the
    unpruned network; "?" marks what was not checked. Raises ConfigError for an unknown table.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    presets = [PRESETS[row] for row in group(TABLES[name])]
    own: dict[str, list[Results]] = {}
    for results in studies:
        own.setdefault(results.settings.get("preset", ""), []).append(results)
    rows: list[dict[str, str]] = []
    sources: list[str] = []
    for row in presets:
        rows.append({**_head(row), **_printed(row)})
        for results in own.get(row.name, ()):
            sources.append("; ".join([results.label, results.name, *results.notes()]))
            rows.append({**_own_head(results, len(sources)), **_measured(results)})
    regimes = {regime for row in presets for regime in (UNPRUNED, *row.regimes)}
    return _assemble(rows, regimes, f"{presets[0].table} of Liu et al. (ICLR 2019)", sources)


def study_table(studies: Sequence[Results]) -> PaperTable:
    """Own studies, a row each: data set, network, method, target, and the mean ±sd of every
    regime."""
    heads = []
    for number, results in enumerate(studies, 1):
        known = {**dict.fromkeys(("dataset", "model", "method", "target"), ABSENT),
                 **results.settings}
        heads.append(dict(zip(HEAD, (short_name(known["dataset"]), known["model"], known["method"],
                                     str(known["target"]), f"own {number}"), strict=True)))
    rows = [{**head, **_measured(results)} for head, results in zip(heads, studies, strict=True)]
    return _assemble(rows, set(), "Test accuracy (%), mean ± standard deviation (number of seeds)",
                 [f"{results.label}; {results.name}" for results in studies])


def _assemble(rows: Sequence[dict[str, str]], regimes: set[str], title: str,
          sources: Sequence[str]) -> PaperTable:
    """The table with a column for each regime, in their order."""
    known = sorted(regimes.union(*rows) - set(HEAD), key=regime_order)
    frame = pd.DataFrame(rows).reindex(columns=[*HEAD, *known]).astype(object).fillna(ABSENT)
    return PaperTable(frame.rename(columns={regime: regime_title(regime) for regime in known}),
                      title, tuple(f"own {n}: {source}" for n, source in enumerate(sources, 1)))


def export_table(name: str, studies: Iterable[Results], out: str | Path) -> list[Path]:
    """Write the table `name` as `out/name.txt`, `.csv` and `.tex` (for the package booktabs); the
    paths written. Raises RethinkError where `out` cannot be written."""
    table, folder = paper_table(name, studies), Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form, text in (("txt", f"{table}\n"), ("tex", f"{table.latex}\n"), ("csv", table.csv)):
            (folder / f"{name}.{form}").write_text(text, encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"the table {name} cannot be written to {folder} ({error.strerror}); "
                           "choose another place with --out.") from error
    return [folder / f"{name}.{form}" for form in ("txt", "csv", "tex")]


def escape_latex(text: str) -> str:
    """Text with the characters that mean something to LaTeX made harmless."""
    return text.translate(HARMLESS)  # in one pass, so that no mark put in is escaped again


def _head(row: Preset) -> dict[str, str]:
    return dict(zip(HEAD, (DATASETS[row.dataset], row.model, row.method, _target(row), PUBLISHED),
                    strict=True))


def _own_head(results: Results, number: int) -> dict[str, str]:
    """What was run in place of the row: data, width, scale, and the large network's training."""
    known = results.settings
    return dict(zip(HEAD, (short_name(known["dataset"]), f"width {known['width']:g}",
                           known["scale"], f"{known['recipe']['epochs']:g} epochs, "
                           f"lr {known['recipe']['lr']:g}", f"own {number}"), strict=True))


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
    return {str(regime): mean_sd(line["mean"], line["sd"], int(line["n"]))
            for regime, line in results.summary().iterrows()}
