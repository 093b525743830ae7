"""The verdicts as a picture: paired differences, their intervals, and the band of equivalence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from rethinklab.analysis.statistics import PairedComparison
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, FRAME = 0.34, 0.62  # inches
DROP = 0.17  # rows from the middle of one to its dots above and its mean below
NARROW = 4.5  # inches; below, the names of a comparison take two lines


def differences(results: Results, width: Width = TEXT_WIDTH, *, ax: OnAxes = None,
                note: bool = True) -> PaperFigure:
    """Each verdict of the study as a row: every seed's difference in test accuracy (percentage
    points) a dot, the mean with its t interval, the band of equivalence, and the verdict.

    Seeds without an accuracy are left out. Raises ConfigError where the study has nothing to
    compare.
    """
    width = style.inches(width, ax)
    results = _complete(results)
    comparisons = results.verdicts() if len(results.frame) else []
    if not comparisons:
        found = ", ".join(results.regimes) or "none"
        raise ConfigError("differences need a regime with new weights, such as scratch-e or "
                          "scratch-b, and one with inherited weights, such as finetune, in one "
                          f"seed; the regimes with results here are {found}. Run the study with "
                          "--regimes finetune,scratch-e,scratch-b.")
    numbers = difference_table(results, comparisons)
    narrow = width < NARROW
    margin, alpha, family = (getattr(comparisons[0], name) for name in
                             ("margin", "alpha", "family"))
    with style.paper_style():
        figure = style.paper_figure(width, FRAME + ROW * (len(comparisons) + 0.4), ax, note)
        axes = figure.add_subplot()
        axes.axvspan(-margin, margin, color="0.92", zorder=0, linewidth=0)
        axes.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        regimes = {regime_title(regime): regime for regime in results.regimes}
        for row, c in enumerate(comparisons):
            look = style.regime_look(regimes[c.a])
            own = numbers.loc[numbers["comparison"] == _name(c), "difference"]
            axes.scatter(own, [row - DROP] * len(own), s=9, color=look["color"], linewidths=0,
                         alpha=0.8, marker=look["marker"], zorder=3)
            reach = None if math.isnan(c.low) else [[c.mean - c.low], [c.high - c.mean]]
            axes.errorbar([c.mean], [row + DROP], xerr=reach, fmt=look["marker"],
                          color=look["color"], markerfacecolor="white", capsize=3, zorder=4)
        cut = _limit(axes, numbers, margin)
        rows = range(len(comparisons))
        axes.set_ylim(len(comparisons) - 0.4, -0.6)
        axes.set_yticks(rows, [_name(c, "\n" if narrow else " ") for c in comparisons], fontsize=7)
        axes.tick_params(axis="y", length=0)
        beside = axes.twinx()
        beside.set_ylim(axes.get_ylim())
        beside.set_yticks(rows, [_verdict(c, "\n" if narrow else " ") for c in comparisons],
                          fontsize=7)
        beside.tick_params(axis="y", length=0)
        beside.spines["left"].set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Difference (points)" if narrow else
                        "Difference in test accuracy (percentage points)")
        style.light_grid(axes, "x")
        return style.finish(figure, numbers, caption(comparisons), results.label,
                            _remark(comparisons, alpha, margin, family, cut))


def _limit(axes: Axes, numbers: pd.DataFrame, margin: float) -> bool:
    """Keep wide intervals, as of two seeds, from squeezing all else: the axis goes beyond dots and
    band by their own span at most, and an arrow says that an interval goes on."""
    seeds = [*numbers["difference"], -margin, margin]
    near, far = min(seeds), max(seeds)
    ends = numbers.drop_duplicates("comparison")
    span = far - near
    low = max(near - span, ends["low"].min()) if ends["low"].min() < near else near
    high = min(far + span, ends["high"].max()) if ends["high"].max() > far else far
    pad = 0.04 * (high - low)
    low, high = low - pad, high + pad
    axes.set_xlim(low, high)
    cut = False
    for side, edge, marker in (("low", low, "<"), ("high", high, ">")):
        for row, end in enumerate(ends[side]):
            if (end < edge) if side == "low" else (end > edge):
                axes.plot(edge, row + DROP, marker=marker, color="0.3", markersize=5, zorder=5,
                          clip_on=False)
                cut = True
    return cut


def difference_table(results: Results, comparisons: list[PairedComparison]) -> pd.DataFrame:
    """A row for each seed of each comparison: comparison, a, b, seed, difference, and mean, low,
    high, n, margin and verdict of the comparison."""
    regimes = {regime_title(regime): regime for regime in results.regimes}
    parts = []
    for c in comparisons:
        first, second = (results.accuracies(regimes[name]) for name in (c.a, c.b))
        gaps = (first - second).dropna()  # of the seeds that both have
        parts.append(pd.DataFrame({
            "comparison": _name(c), "a": regimes[c.a], "b": regimes[c.b], "seed": gaps.index,
            "difference": gaps.to_numpy(), "mean": c.mean, "low": c.low, "high": c.high, "n": c.n,
            "margin": c.margin, "verdict": c.verdict}))
    return pd.concat(parts, ignore_index=True)


def caption(comparisons: list[PairedComparison]) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = [f"{_name(c)} {c.mean:+.2f} ({_verdict(c)}, n = {c.n})" for c in comparisons]
    return f"Mean paired differences in test accuracy, in points: {'; '.join(parts)}."


def _complete(results: Results) -> Results:
    known = results.frame.dropna(subset=["test_accuracy"])
    if len(known) == len(results.frame):
        return results
    return Results(known.astype({"regime": str}), results.margin, results.label, results.name)


def _name(c: PairedComparison, gap: str = " ") -> str:
    return f"{c.a}{gap}− {c.b}"


def _verdict(c: PairedComparison, gap: str = " ") -> str:
    return f"{c.verdict}{gap}within {c.margin:g}" if c.verdict == "equivalent" else c.verdict


def _remark(comparisons: list[PairedComparison], alpha: float, margin: float, family: int,
            cut: bool) -> str:
    parts = ["Dots: seeds. Open marks: mean"]
    if any(not math.isnan(c.low) for c in comparisons):
        parts.append(f" with {100 * (1 - alpha):g} % t interval"
                     + (" of one comparison" if family > 1 else ""))
    if cut:
        parts.append("; arrows: it goes on")
    parts.append(f". Band: equivalence, ±{margin:g} points.")
    if family > 1:
        parts.append(f" Verdicts: Holm's rule over {family} comparisons.")
    return "".join(parts)
