"""Lines through means with every seed beside them, and the legend that names them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rethinklab.figures.style import SERIES_LINES, PaperFigure, regime_look
from rethinklab.trainers.regimes import REGIMES, UNPRUNED, regime_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEGEND_HANDLE, LEGEND_LETTER, LEGEND_ROW = 0.53, 0.044, 0.16  # inches
FILLS = ("full", "left", "top", "right", "bottom")  # of the marks of one regime at several shares


def with_means(numbers: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The rows, with n, mean and standard deviation of `value` over the rows that agree in `by`;
    the deviation of a single one is NaN."""
    groups = numbers.groupby(list(by), sort=False, dropna=False)[value]
    return numbers.assign(n=groups.transform("count"), mean=groups.transform("mean"),
                          sd=groups.transform("std"))


def regime_lines(regimes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker, fill and line style of each regime, in the order of legends; shares of one
    regime have its colour and marker, and differ in fill and line."""
    seen: Counter[str] = Counter()
    looks = {}
    for regime in sorted({str(regime) for regime in regimes}, key=regime_order):
        base = regime.partition(":")[0]
        place = 0 if base == UNPRUNED else 1 + list(REGIMES).index(base)
        looks[regime] = {**regime_look(regime), "fillstyle": FILLS[seen[base] % len(FILLS)],
                         "linestyle": SERIES_LINES[(place + seen[base]) % len(SERIES_LINES)]}
        seen[base] += 1
    return looks


def mean_line(axes: Axes, own: pd.DataFrame, x: str, look: dict[str, Any], name: str) -> None:
    """A line through the means of `own` with standard deviations, and the seeds as dots; the
    columns are those of `with_means`, of percentages in `accuracy`."""
    means = own.drop_duplicates(x).sort_values(x)
    axes.errorbar(means[x], means["mean"], yerr=means["sd"] if means["sd"].notna().any() else None,
                  label=name, capsize=2,
                  elinewidth=0.8, markerfacecoloralt="white", **look)
    axes.scatter(own[x], own["accuracy"], s=5, color=look["color"], alpha=0.5, linewidths=0,
                 zorder=3)


def legend_above(figure: PaperFigure, axes: Axes) -> None:
    """The legend of what is drawn in `axes`, over the whole figure, in as many columns as fit; the
    figure grows by its further rows."""
    handles, names = axes.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    entry = LEGEND_HANDLE + LEGEND_LETTER * max(map(len, names))
    rows = math.ceil(len(names) / max(1, int(width / entry)))
    figure.set_size_inches(width, height + LEGEND_ROW * (rows - 1))
    figure.legend(handles, names, loc="outside upper center", ncols=math.ceil(len(names) / rows))


def spread_remark(values: pd.Series, before: str = "Dots: seeds. Marks:") -> str:
    """How to read marks of means: with standard deviations where there are any."""
    return f"{before} mean{' ± sd' if values.notna().any() else ''}."
