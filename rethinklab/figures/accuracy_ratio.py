"""Accuracy against the share removed, a line a regime: where does training anew catch up?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_over
from rethinklab.figures.lines import (
    legend_above,
    mean_line,
    regime_lines,
    spread_remark,
    with_means,
)
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.results.comparisons import ratio_tables
from rethinklab.trainers.regimes import UNPRUNED, regime_title

COLUMNS = ("regime", "seed", "ratio", "test_accuracy")
REMEDY = "run studies that differ in a target between 0 and 1 only, such as --target 0.3 and 0.6"


def accuracy_ratio(frame: pd.DataFrame | Sequence[Results], width: Width = TEXT_WIDTH,
                   height: float = 2.6, *, ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """Test accuracy (%) against the share removed (%): a line a regime through the means over
    seeds, with standard deviations, and every seed a dot.

    frame: columns regime, seed, ratio and test_accuracy (fractions) and perhaps removed, as
    `results.comparisons.ratio_tables` makes it; ratio 0 is the unpruned network. Raises
    ConfigError where a column is missing or there are no rows.
    """
    width = style.inches(width, ax)
    frame = table_over(frame, ratio_tables)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].copy()
    numbers["accuracy"], numbers["removed"] = (100 * numbers.pop(c) for c in
                                               ("test_accuracy", "ratio"))
    numbers = with_means(numbers, ["regime", "removed"], "accuracy")
    looks = regime_lines(numbers["regime"])
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        for regime, look in looks.items():
            own = numbers[numbers["regime"] == regime]
            mean_line(axes, own, "removed", look, regime_title(regime))
            if regime == UNPRUNED:
                axes.axhline(own["accuracy"].mean(), color=look["color"], linewidth=0.8,
                             linestyle=(0, (1, 2)), zorder=0)
        what = str(frame["removed"].iloc[0]) if "removed" in frame else "share"
        axes.set_xlabel(f"{what.capitalize()} removed (%)")
        axes.set_ylabel("Test accuracy (%)")
        style.light_grid(axes)
        legend_above(figure, axes)
        return style.finish(figure, numbers, caption(numbers), frame,
                            spread_remark(numbers["sd"]))


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    most = numbers["removed"].max()
    last = numbers[numbers["removed"] == most].groupby("regime", sort=False)["mean"].first()
    parts = [f"{regime_title(str(regime))} {number_text(mean, '.2f')} %"
             for regime, mean in last.items()]
    return (f"Mean test accuracy against the share removed; at {most:.4g} % removed: "
            f"{', '.join(parts)} (n = {numbers.groupby(['regime', 'removed']).size().min()}).")
