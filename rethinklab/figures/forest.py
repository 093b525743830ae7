"""All studies at once: what training from scratch gains over inherited weights, a row a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect
from rethinklab.figures.lines import legend_above
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results.summary import FOREST
from rethinklab.trainers.regimes import regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REMEDY = "`rethinklab.results.summary.forest_table` makes it of several studies"
ROW, FRAME = 0.2, 0.85  # inches
APART = 0.16  # of a row, from its middle to the marks of either regime
NARROW, SMALL = 4.5, 6  # inches, points
CHARACTERS = 44  # of a study's name in a figure that is wide enough


def forest(frame: pd.DataFrame, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
           note: bool = True) -> PaperFigure:
    """Scratch-E and Scratch-B minus inherited weights (points of test accuracy), a row a study, a
    panel for each way to train what was inherited: means with t intervals, filled where the verdict
    of the study is decided, and the widest band of equivalence of the panel's studies.

    frame: as `rethinklab.results.summary.forest_table` makes it. Raises ConfigError where a column
    is missing or there are no rows.
    """
    width = style.inches(width, fig)
    expect(frame, FOREST, REMEDY)
    numbers = frame[FOREST].reset_index(drop=True)
    names = list(dict.fromkeys(numbers["study"]))
    baselines = list(dict.fromkeys(numbers["against"]))
    with style.paper_style():
        figure = style.paper_figure(width, FRAME + ROW * len(names), fig, note)
        panels = figure.subplots(1, len(baselines), sharey=True, squeeze=False)[0]
        cut = False
        for axes, baseline in zip(panels, baselines, strict=True):
            own = numbers[numbers["against"] == baseline]
            margin = float(own["margin"].max())
            axes.axvspan(-margin, margin, color="0.92", zorder=0, linewidth=0)
            axes.axvline(0, color="0.4", linewidth=0.8, zorder=1)
            regimes = list(dict.fromkeys(numbers["regime"]))
            for place, regime in enumerate(regimes):
                _marks(axes, own[own["regime"] == regime], regime, names,
                       APART * (2 * place - len(regimes) + 1))
            cut |= _limit(axes, own, margin)
            axes.set_xlabel(f"minus {regime_title(baseline)}\n(points)")
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            style.light_grid(axes, "x")
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        most = CHARACTERS if width >= NARROW else CHARACTERS // 2
        panels[0].set_yticks(range(len(names)), [_short(name, most) for name in names],
                             fontsize=SMALL)
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(numbers), frame,
                            "Marks: mean with 95 % t interval of one comparison"
                            + " (cut at the frame)" * cut + "; filled: decided by Holm's rule "
                            "within the study, open: not decided. Bands: equivalence, at most "
                            f"±{numbers['margin'].max():g} points.")


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for (baseline, regime), own in numbers.groupby(["against", "regime"], sort=False):
        verdicts = own["verdict"].value_counts()
        told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        parts.append(f"{regime_title(str(regime))} against {regime_title(str(baseline))} in "
                     f"{len(own)}: {told}")
    return f"Verdicts by study; {'; '.join(parts)}."


def _marks(axes: Axes, own: pd.DataFrame, regime: str, names: Sequence[str],
           shift: float) -> None:
    """The marks of one regime, named once for the legend."""
    look = style.regime_look(regime)
    axes.plot([], [], linestyle="", label=regime_title(regime), **look)
    for c in own.itertuples():
        reach = None if math.isnan(c.low) else [[c.mean - c.low], [c.high - c.mean]]
        axes.errorbar([c.mean], [names.index(c.study) + shift], xerr=reach, fmt=look["marker"],
                      color=look["color"], markersize=3.5, elinewidth=0.7, capsize=0, zorder=3,
                      markerfacecolor="white" if c.verdict == "not decided" else look["color"])


def _limit(axes: Axes, own: pd.DataFrame, margin: float) -> bool:
    """Limits from means and band, so that a wide interval, as of few seeds, does not squeeze all
    else; whether an interval goes on beyond them."""
    near, far = min(own["mean"].min(), -margin), max(own["mean"].max(), margin)
    span = far - near
    low = max(near - span / 2, min(near, own["low"].min())) - 0.04 * span
    high = min(far + span / 2, max(far, own["high"].max())) + 0.04 * span
    axes.set_xlim(low, high)
    return bool((own["low"] < low).any() or (own["high"] > high).any())


def _short(name: str, most: int) -> str:
    """A study's name, with dots where it is too long."""
    return name if len(name) <= most else f"{name[:most - 1]}…"
