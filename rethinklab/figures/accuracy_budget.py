"""Accuracy against all the computation that it cost: is the comparison of regimes a fair one?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text
from rethinklab.figures.lines import legend_above, regime_lines, with_means
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.results.comparisons import budget_table
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_title

COLUMNS = ("regime", "seed", "test_accuracy", "macs_spent", "macs_own")
REMEDY = "`results.comparisons.budget_table` makes it from the results of a study"


def accuracy_budget(given: Results | pd.DataFrame, width: Width = TEXT_WIDTH, height: float = 2.6,
                    *, ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """Test accuracy (%) against the multiply-adds of all training that a regime rests on, on a
    logarithmic axis: seeds as dots, and their mean with its standard deviation.

    Regimes with new weights have a second, pale mark at the cost of their own training: all that
    they cost where the architecture is known beforehand. given: the results of a study, or the
    frame that `results.comparisons.budget_table` makes of them. Raises ConfigError where a
    column is missing, there are no rows, or no cost is known.
    """
    width = style.inches(width, ax)
    frame = budget_table(given) if isinstance(given, Results) else given
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[["regime", "seed", "macs_spent", "macs_own"]].copy()
    numbers["accuracy"] = 100 * frame["test_accuracy"]
    numbers = with_means(numbers, ["regime"], "accuracy")
    if not (numbers["macs_spent"] > 0).any():
        raise ConfigError("what these trials cost is not known: their table has neither a ledger "
                          "nor the unpruned network beside epochs, images and MACs; run the study "
                          "again in a new store.")
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        for regime, look in regime_lines(numbers["regime"]).items():
            look.pop("linestyle")
            own = numbers[(numbers["regime"] == regime) & (numbers["macs_spent"] > 0)]
            if own.empty:
                continue
            place, mean, spread = own["macs_spent"].mean(), own["mean"].iloc[0], own["sd"].iloc[0]
            if _new(regime):
                alone = own["macs_own"].mean()
                axes.plot([alone, place], [mean, mean], color=look["color"], linewidth=0.8,
                          alpha=0.4, zorder=1)
                axes.plot([alone], [mean], alpha=0.4, linestyle="", markeredgewidth=0, zorder=2,
                          **look)
            axes.scatter(own["macs_spent"], own["accuracy"], s=9, color=look["color"],
                         linewidths=0.4, edgecolors="white", zorder=4)
            axes.errorbar([place], [mean], yerr=None if math.isnan(spread) else [spread],
                          linestyle="", capsize=3, elinewidth=0.8, markerfacecoloralt="white",
                          label=regime_title(regime), zorder=3, **look)
        _log_axis(axes, width)
        axes.set_xlabel("Multiply-adds of all training")
        axes.set_ylabel("Test accuracy (%)")
        style.light_grid(axes, "both")
        legend_above(figure, axes)
        pale = any(map(_new, numbers["regime"].unique()))
        return style.finish(figure, numbers, caption(numbers), frame,
                      "Dots: seeds. Large marks: mean ± sd, with all training that the network "
                      "rests on." + " Pale: the training from scratch alone." * pale)


def _new(regime: str) -> bool:
    return regime != UNPRUNED and find_regime(regime).start == "new"


def _log_axis(axes: Axes, width: float) -> None:
    """At least a decade, with ticks at 1, 2 and 5 where there is room for them."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    widen = max(0.0, (1 - math.log10(high / low)) / 2)
    axes.set_xlim(low / 10**widen, high * 10**widen)
    decades = np.log10(axes.get_xlim()[1] / axes.get_xlim()[0])
    fitting = (width - 0.8) / 0.55 / decades  # ticks a decade
    subs = (1, 2, 5) if fitting >= 3 else (1, 3) if fitting >= 2 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=99 if fitting >= 1 else 6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))


def scientific(value: float) -> str:
    """2e11 as 2 x 10 to the 11, in mathtext."""
    power = math.floor(math.log10(value) + 1e-9)
    factor = value / 10**power
    front = "" if abs(factor - 1) < 1e-6 else rf"{factor:.3g}\!\times\!"
    return rf"${front}10^{{{power}}}$"


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for regime in regime_lines(numbers["regime"]):
        own = numbers[numbers["regime"] == regime]
        parts.append(f"{regime_title(regime)} {number_text(own['mean'].iloc[0], '.2f')} % with "
                     f"{number_text(own['macs_spent'].mean(), '.3g')}")
    return f"Mean test accuracy, with multiply-adds of all training: {', '.join(parts)}."
