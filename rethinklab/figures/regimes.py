"""Accuracy by regime, every seed a dot: the study's question in one picture."""

from __future__ import annotations

import itertools

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.lines import spread_remark
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import prunes, regime_title

LETTER, MARGIN = 0.056, 0.6  # inches: of a name below the axis, and beside the axes


def regimes(results: Results, width: Width = TEXT_WIDTH, height: float = 2.3, *, ax: OnAxes = None,
            note: bool = True) -> PaperFigure:
    """Test accuracy (%) of each regime: seeds as dots, those of one pair joined by a line, and
    beside them mean and standard deviation."""
    width = style.inches(width, ax)
    numbers = results.frame[["regime", "seed", "test_accuracy"]].copy()
    numbers["regime"] = numbers["regime"].astype(str)
    numbers["accuracy"] = numbers.pop("test_accuracy") * 100
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        order = {regime: place for place, regime in enumerate(results.regimes)}
        for _, pair in numbers.groupby("seed"):
            joined = pair[pair["regime"].map(prunes)].sort_values(
                "regime", key=lambda column: column.map(order))
            axes.plot(joined["regime"].map(order), joined["accuracy"], color="0.8", linewidth=0.7,
                      zorder=1)
        for regime, place in order.items():
            values = numbers.loc[numbers["regime"] == regime, "accuracy"]
            look = style.regime_look(regime)
            axes.scatter([place] * len(values), values, s=16, zorder=2, linewidths=0.5,
                         edgecolors="white", **look)
            spread = values.std() if len(values) > 1 else None
            axes.errorbar(place + 0.22, values.mean(), yerr=spread, marker=look["marker"],
                          linestyle="", color=look["color"], markerfacecolor="white", capsize=3,
                          zorder=3)
        titles = [regime_title(regime) for regime in order]
        widest = max((len(a + b) / 2 for a, b in itertools.pairwise(titles)), default=0)
        slanted = (widest + 1) * LETTER > (width - MARGIN) / len(order)
        axes.set_xticks(list(order.values()), titles,
                        rotation=30 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.4, len(order) - 0.4)
        axes.set_ylabel("Test accuracy (%)")
        style.light_grid(axes)
        return style.finish(figure, numbers, caption(results), results.label,
                            spread_remark(numbers.groupby("regime")["accuracy"].std(),
                                          "Dots: seeds, joined where paired. Open marks:"))


def caption(results: Results) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    summary: pd.DataFrame = results.summary()
    parts = [f"{regime_title(str(regime))} {mean:.2f} %"
             for regime, mean in summary["mean"].items()]
    return f"Mean test accuracy by regime: {', '.join(parts)} (n = {int(summary['n'].min())})."
