"""Learning rate against epoch: what sets the ways to train a pruned network apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator, NullLocator

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.histograms import name_axes
from rethinklab.figures.inputs import expect
from rethinklab.figures.lines import regime_lines
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import find_regime, regime_title, settle_regime

COLUMNS = ("regime", "epoch", "lr")
REMEDY = ("schedule_table of rethinklab.figures.schedules makes it from a recipe and the names of "
          "regimes")
PANEL = 1.25  # inches that a panel needs
ROW = 1.1  # inches
ROOM = 1.2  # factor above and below the rates


def schedules(frame: pd.DataFrame, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
              note: bool = True) -> PaperFigure:
    """Learning rate (logarithmic) by epoch of each regime's own training: a panel a regime, all
    with the same axes, so that length and height can be compared.

    frame: columns regime, epoch and lr, as `schedule_table` makes it. Raises ConfigError where a
    column is missing, there are no rows, or no rate is above 0.
    """
    width = style.inches(width, fig)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)]
    above = numbers.loc[numbers["lr"] > 0, "lr"]
    if above.empty:
        raise ConfigError("no learning rate of these schedules is above 0, so nothing is trained.")
    looks = regime_lines(numbers["regime"])
    columns = max(1, min(len(looks), int((width - 0.3) / PANEL)))
    rows = math.ceil(len(looks) / columns)
    with style.paper_style():
        figure = style.paper_figure(width, 0.5 + ROW * rows, fig, note)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (regime, look) in zip(grid.flat, looks.items(), strict=False):
            own = numbers[numbers["regime"] == regime].sort_values("epoch")
            # An epoch is as long as the step that it is drawn as; a rate of 0 ends the line.
            edges = [*own["epoch"], own["epoch"].max() + 1]
            rates = own["lr"].where(own["lr"] > 0).to_list()
            axes.step(edges, [*rates, rates[-1]], where="post", color=look["color"])
            axes.plot(edges[-1], rates[-1], color=look["color"], marker=look["marker"],
                      fillstyle=look["fillstyle"], markerfacecoloralt="white", clip_on=False)
            axes.set_title(f"{regime_title(regime)}: {len(own)}", fontsize=8)
            style.light_grid(axes, "both")
        grid[0][0].set_yscale("log")
        grid[0][0].xaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
        grid[0][0].set_xlim(0, 1.04 * (numbers["epoch"].max() + 1))
        grid[0][0].set_ylim(_decade(above.min() / ROOM, math.floor),
                            _decade(above.max() * ROOM, math.ceil))
        grid[0][0].yaxis.set_minor_locator(NullLocator())
        name_axes(figure, grid, len(looks), "Epoch", "Learning rate")
        return style.finish(figure, numbers, caption(numbers), frame,
                      "Behind each name: its epochs, which count from the start of its training.")


def schedule_table(recipe: Recipe, ratio: float, regimes: Sequence[str]) -> pd.DataFrame:
    """The learning rate of each epoch of each regime: regime, epoch (of its own training, from 0),
    lr.

    recipe: of the large network. ratio: of FLOPs, large over pruned. Regimes that train nothing
    have no rows. Raises ConfigError for an unknown regime, or as `Regime.budget`.
    """
    rows = []
    for name in regimes:
        regime = find_regime(name)
        budget = regime.budget(recipe, ratio)
        if budget is not None:
            first = regime.first_epoch(budget)
            rows += [(settle_regime(name), epoch - first, budget.lr_at(epoch))
                     for epoch in range(first, budget.epochs)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _decade(rate: float, rounded: Callable[[float], int]) -> float:
    return 10.0 ** rounded(math.log10(rate))


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for regime in regime_lines(numbers["regime"]):
        own = numbers[numbers["regime"] == regime].sort_values("epoch")["lr"]
        parts.append(f"{regime_title(regime)} {len(own)} from {own.iloc[0]:.3g} to "
                     f"{own.iloc[-1]:.3g} (highest {own.max():.3g})")
    return f"Learning rate by epoch, with the number of epochs: {'; '.join(parts)}."
