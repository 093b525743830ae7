"""The architecture that pruning found: the width of each layer before and after."""

from __future__ import annotations

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.pruners import Plan

MOST_NAMES = 20  # layers; beyond that their names do not fit side by side


def widths(plan: Plan, width: Width = TEXT_WIDTH, height: float = 2.4, *, ax: OnAxes = None,
           note: bool = True) -> PaperFigure:
    """Channels of each planned layer, in order: before pruning as an outline, after as a bar."""
    width = style.inches(width, ax)
    kept = plan.kept_widths
    numbers = pd.DataFrame({"layer": list(plan.widths), "before": list(plan.widths.values()),
                            "after": [kept[name] for name in plan.widths]})
    places = range(len(numbers))
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        axes.bar(places, numbers["before"], 0.8, color="white", edgecolor="0.55", linewidth=0.6,
                 label="before")
        axes.bar(places, numbers["after"], 0.8, color=style.palette()[0], label="after")
        step = -(-len(numbers) // MOST_NAMES)
        axes.set_xticks(list(places)[::step], numbers["layer"][::step], rotation=45, ha="right",
                        rotation_mode="anchor", fontsize=7)
        if len(numbers) <= MOST_NAMES:
            for place, after in zip(places, numbers["after"], strict=True):
                axes.annotate(str(after), (place, after), (0, 1.5), textcoords="offset points",
                              ha="center", fontsize=7)
        axes.set_xlim(-0.6, len(numbers) - 0.4)
        axes.set_ylabel("Channels")
        axes.legend(loc="upper left")
        changed = int((numbers["after"] < numbers["before"]).sum())
        return style.finish(figure, numbers, (
            f"{changed} of {len(numbers)} layers lose channels: {numbers['before'].sum():,} "
            f"before, {numbers['after'].sum():,} after."), f"{plan.method}, target {plan.target}")
