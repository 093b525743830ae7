"""Accuracy by regime, every seed a dot: the study's question in one picture."""

from __future__ import annotations

import textwrap

import pandas as pd

from rethinklab.experiments.results import Results
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    paper_figure,
    paper_style,
    regime_look,
)
from rethinklab.trainers.regimes import UNPRUNED, regime_title

CHARACTERS_PER_INCH = 20  # of the note's font
MANY = 6  # regimes whose names no longer fit beside one another


def regimes(results: Results, width: float = TEXT_WIDTH, height: float = 2.6) -> PaperFigure:
    """Test accuracy (%) of each regime: seeds as dots, those of one pair joined by a line, and
    beside them mean and standard deviation."""
    numbers = results.frame[["regime", "seed", "test_accuracy"]].copy()
    numbers["regime"] = numbers["regime"].astype(str)
    numbers["accuracy"] = numbers.pop("test_accuracy") * 100
    with paper_style():
        figure = paper_figure(width, height)
        axes = figure.add_subplot()
        order = {regime: place for place, regime in enumerate(results.regimes)}
        for _, pair in numbers.groupby("seed"):
            joined = pair[pair["regime"] != UNPRUNED].sort_values(
                "regime", key=lambda column: column.map(order))
            axes.plot(joined["regime"].map(order), joined["accuracy"], color="0.8", linewidth=0.7,
                      zorder=1)
        for regime, place in order.items():
            values = numbers.loc[numbers["regime"] == regime, "accuracy"]
            look = regime_look(regime)
            axes.scatter([place] * len(values), values, s=16, zorder=2, linewidths=0.5,
                         edgecolors="white", **look)
            spread = values.std() if len(values) > 1 else None
            axes.errorbar(place + 0.22, values.mean(), yerr=spread, fmt=look["marker"],
                          color=look["color"], markerfacecolor="white", capsize=3, zorder=3)
        axes.set_xticks(list(order.values()), [regime_title(regime) for regime in order],
                        rotation=30 if len(order) > MANY else 0,
                        ha="right" if len(order) > MANY else "center")
        axes.set_xlim(-0.4, len(order) - 0.4)
        axes.set_ylabel("Test accuracy (%)")
        axes.grid(axis="y", linewidth=0.3, color="0.85")
        axes.set_axisbelow(True)
        note = "Dots: seeds, joined where paired. Open marks: mean ± sd. " + results.label
        figure.supxlabel(textwrap.fill(note, int(width * CHARACTERS_PER_INCH)), fontsize=7,
                         color="0.35", x=0.01, ha="left")
    figure.numbers, figure.note = numbers.reset_index(drop=True), results.label
    figure.caption = caption(results)
    return figure


def caption(results: Results) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    summary: pd.DataFrame = results.summary()
    parts = [f"{regime_title(str(regime))} {mean:.2f} %"
             for regime, mean in summary["mean"].items()]
    return f"Mean test accuracy by regime: {', '.join(parts)} (n = {int(summary['n'].min())})."
