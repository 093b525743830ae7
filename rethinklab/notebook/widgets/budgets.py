"""`budget_explorer`: how far a verdict rests on the recipe, the budget and the margin chosen."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from rethinklab.analysis.statistics import PairedComparison
from rethinklab.errors import ConfigError
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    light_grid,
    paper_figure,
    paper_style,
    regime_look,
)
from rethinklab.notebook.widgets.explorer import Explorer, choice, slider
from rethinklab.results import Results
from rethinklab.trainers.regimes import find_regime, prunes, regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGINS = tuple(tenths / 10 for tenths in range(1, 21))  # points
USUAL_MARGIN = 0.5
MOST_ROWS = 12  # seeds with a row each; more share one
ROW = 0.19  # inches


def budget_explorer(results: Results) -> Explorer:
    """Choose how the inherited weights are retrained, how long new weights train, and the margin:
    the paired differences and the verdict.

    results: with several regimes of both kinds. Raises ConfigError where one kind has none.
    """
    retrained, new = _kinds(results)
    known = {f"{margin:g}": margin for margin in MARGINS}
    start = min(MARGINS, key=lambda m: abs(m - (results.margin or USUAL_MARGIN)))
    combinations = len(retrained) * len(new) * len(MARGINS)
    limit = furthest(results)

    def view(recipe: str, budget: str, margin: float) -> PaperFigure:
        return compared_figure(results, recipe, budget, margin, combinations, limit)

    return Explorer(view, {
        "recipe": choice("Retraining", {regime_title(name): name for name in retrained}),
        "budget": choice("From scratch", {regime_title(name): name for name in new}),
        "margin": slider("Margin (points)", known, start)})


def compared_figure(results: Results, recipe: str, budget: str, margin: float,
                    combinations: int = 1, limit: float | None = None) -> PaperFigure:
    """One budget from scratch minus one way to retrain: a dot a seed, the mean with its interval
    against the band of the margin, the verdict as title and in full as caption.

    recipe, budget: regimes. margin: of equivalence, in points. combinations: how many such
    pictures the reader can choose from. limit: of the axis, in points, so that pictures compare.
    """
    c = results.compare(budget, recipe, margin)
    first, second = results.accuracies(budget), results.accuracies(recipe)
    gaps = (first - second).dropna().sort_index()
    numbers = pd.DataFrame({"recipe": recipe, "budget": budget, "seed": gaps.index,
                            "difference": gaps.to_numpy(), "mean": c.mean, "low": c.low,
                            "high": c.high, "margin": margin, "verdict": c.verdict})
    end = max(limit or 0.0, margin, float(gaps.abs().max())) * 1.08
    own_rows = len(gaps) <= MOST_ROWS
    rows = list(range(len(gaps))) if own_rows else [0] * len(gaps)
    last = max(rows) + 1
    look = regime_look(budget)
    with paper_style():
        figure = paper_figure(TEXT_WIDTH, 0.95 + ROW * (last + 1))
        axes = figure.add_subplot()
        axes.axvspan(-margin, margin, color="0.9", zorder=0, linewidth=0)
        axes.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        axes.scatter(gaps, rows, s=16, color=look["color"], marker=look["marker"], linewidths=0,
                     zorder=3, clip_on=False)
        cut = _mean(axes, c, last, end, look)
        axes.set_yticks([*sorted(set(rows)), last],
                        [*(f"seed {seed}" for seed in gaps.index if own_rows),
                         *(["seeds"] if not own_rows else []), "mean"])
        axes.set_ylim(last + 0.7, -0.7)
        axes.set_xlim(-end, end)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{c.a} minus {c.b} (percentage points of test accuracy)")
        axes.set_title(textwrap.fill(title(c), 90), loc="left")
        light_grid(axes, "x")
        return finish(figure, numbers, caption(c, combinations), results.label,
                      f"Open mark: mean{_interval(c)}{'; arrow: it goes on' if cut else ''}. "
                      f"Band: ±{margin:g} points. {warning(combinations)}".strip())


def title(c: PairedComparison) -> str:
    """The difference and the verdict, in few words."""
    verdict = {"better": f"{c.a} is better", "worse": f"{c.a} is worse",
               "equivalent": f"equivalent within {c.margin:g}",
               "not decided": f"not decided at n = {c.n}"}[c.verdict]
    return f"{c.a} minus {c.b}: {c.mean:+.2f} points; {verdict}"


def caption(c: PairedComparison, combinations: int) -> str:
    """The comparison in full, and how much it is worth."""
    return f"{c} The margin is {c.margin:g} points. {warning(combinations)}".strip()


def warning(combinations: int) -> str:
    """What a reader must know who can choose among many pictures."""
    if combinations < 2:
        return ""
    return (f"One of {combinations} combinations: trying many and keeping one is not a test. "
            "Choose before you look.")


def furthest(results: Results) -> float:
    """The largest difference of any pair of one seed among the comparisons there are, in points;
    an axis to this end shows them all."""
    retrained, new = _kinds(results)
    gaps = [float((results.accuracies(a) - results.accuracies(b)).abs().max())
            for a in new for b in retrained]
    return max([gap for gap in gaps if math.isfinite(gap)], default=0.0)


def _kinds(results: Results) -> tuple[list[str], list[str]]:
    """The regimes that retrain what the large network left, and those with new weights."""
    trained = [name for name in results.regimes if prunes(name) and name != "pruned"]
    new = [name for name in trained if find_regime(name).start == "new"]
    retrained = [name for name in trained if name not in new]
    if not new or not retrained:
        raise ConfigError("a budget explorer needs a regime with new weights, such as scratch-e, "
                          "and one that retrains inherited ones, such as finetune; the regimes "
                          f"here are {', '.join(results.regimes)}.")
    return retrained, new


def _mean(axes: Axes, c: PairedComparison, row: int, end: float,
          look: dict[str, Any]) -> bool:
    """The mean and its interval; whether the axis ends before the interval does."""
    low, high = max(c.low, -end), min(c.high, end)
    reach = None if math.isnan(c.low) else [[c.mean - low], [high - c.mean]]
    axes.errorbar([c.mean], [row], xerr=reach, fmt=look["marker"], color=look["color"],
                  markerfacecolor="white", markersize=6, capsize=3, zorder=4)
    beyond = [(-end, "<")] * (c.low < -end) + [(end, ">")] * (c.high > end)
    for edge, marker in beyond:
        axes.plot(edge, row, marker=marker, color="0.3", markersize=5, zorder=5, clip_on=False)
    return bool(beyond)


def _interval(c: PairedComparison) -> str:
    return "" if math.isnan(c.low) else f" with {100 * (1 - c.alpha):g} % t interval"
