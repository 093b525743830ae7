"""Tables of results for papers: the layout of Liu et al. (ICLR 2019), Tables 1 to 6."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rethinklab.experiments.results import Results
from rethinklab.trainers.regimes import UNPRUNED, regime_order, regime_title

HEAD = ("Dataset", "Model", "Method", "Target")
ABSENT = "-"
HARMLESS = str.maketrans({**{mark: f"\\{mark}" for mark in "&%$#_{}"}, "\\": r"\textbackslash{}",
                          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"})


def paper_table(found: Sequence[Results]) -> pd.DataFrame:
    """One row a study: dataset, network, method, target, then mean and standard deviation of the
    test accuracy (%) in each regime, as text such as "93.63 (±0.16)"; "-" where a study lacks
    the regime. The spread is left out where there is one seed."""
    regimes = sorted({regime for results in found for regime in results.regimes},
                     key=regime_order)
    rows = []
    for results in found:
        summary = results.summary()
        head = [_origin(results, column.lower()) for column in HEAD]
        cells = [_cell(summary.loc[regime]) if regime in summary.index else ABSENT
                 for regime in regimes]
        rows.append([*head, *cells])
    return pd.DataFrame(rows, columns=[*HEAD, *map(regime_title, regimes)])


def paper_latex(found: Sequence[Results]) -> str:
    """The same as a LaTeX table for the package booktabs, the highest mean of the pruned networks
    in bold, with where the numbers are from as its caption."""
    table = paper_table(found)
    shown = table.astype(object).map(escape_latex)
    pruned = [c for c in table.columns if c not in (*HEAD, regime_title(UNPRUNED))]
    for row in range(len(table)):
        means = {column: float(table.loc[row, column].split(" ")[0]) for column in pruned
                 if table.loc[row, column] != ABSENT}
        for column, mean in means.items():
            if mean == max(means.values()) and len(means) > 1:
                shown.loc[row, column] = rf"\textbf{{{shown.loc[row, column]}}}"
    shown.columns = pd.Index([escape_latex(column) for column in shown.columns])
    labels = "; ".join(dict.fromkeys(results.label for results in found))
    text = shown.to_latex(index=False, escape=False, column_format="llll" + "c" * len(
        table.columns[len(HEAD):]),
        caption=f"Test accuracy (\\%), mean ($\\pm$ standard deviation). {escape_latex(labels)}.")
    return str(text).rstrip()


def escape_latex(text: str) -> str:
    """Text with the characters that mean something to LaTeX made harmless."""
    return text.translate(HARMLESS)  # in one pass, so that no mark put in is escaped again


def _cell(row: pd.Series) -> str:
    spread = "" if pd.isna(row["sd"]) else f" (±{row['sd']:.2f})"
    return f"{row['mean']:.2f}{spread}"


def _origin(results: Results, column: str) -> str:
    return str(results.frame[column].iloc[0]) if column in results.frame else ABSENT
