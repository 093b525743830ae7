"""`weight_histograms`: how training moves the weights of a layer, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError
from rethinklab.figures.histograms import mark_zero, near_zero, parts, scale_shares, zero_ticks
from rethinklab.figures.inputs import expect, number_text
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    light_grid,
    palette,
    paper_figure,
    paper_style,
)
from rethinklab.notebook.widgets.explorer import Explorer, choice, slider

COLUMNS = ("epoch", "layer", "place", "lower", "upper", "share")
REMEDY = "`HistogramRecorder().table()` makes it after rl.train(..., callbacks=[recorder])"


def weight_histograms(table: pd.DataFrame) -> Explorer:
    """Choose an epoch and a layer: the histogram of its weights, over that of the first epoch.

    table: columns epoch, layer, place, lower, upper and share, as
    `rethinklab.trainers.histograms.epoch_histograms` makes it; "all" is the whole network.
    Raises ConfigError where a column or every row is missing.
    """
    expect(table, COLUMNS, REMEDY)
    epochs = sorted(int(epoch) for epoch in table["epoch"].unique())
    layers = list(dict.fromkeys(table.sort_values("place", kind="stable")["layer"]))

    def view(layer: str, epoch: int) -> PaperFigure:
        return histogram_figure(table, layer, epoch)

    return Explorer(view, {
        "layer": choice("Layer", {"all together" if name == ALL else name: name
                                  for name in layers}),
        "epoch": slider("Epochs trained", epochs, epochs[-1])})


def histogram_figure(table: pd.DataFrame, layer: str, epoch: int) -> PaperFigure:
    """The weights of a layer after so many epochs as filled bars, and before them, at the first
    epoch of the table, as a line; the axes are those of all epochs. A diamond is what is exactly
    zero. table: as for `weight_histograms`."""
    expect(table, COLUMNS, REMEDY)
    own = table[table["layer"] == layer].assign(network=table["epoch"])
    own["share"] = own["share"] * 100
    first = int(own["epoch"].min()) if len(own) else 0
    now, before = (own[own["epoch"] == chosen] for chosen in (epoch, first))
    if now.empty:
        raise ConfigError(f"the table has no weights of {layer} after {epoch} epochs.")
    with paper_style():
        figure = paper_figure(TEXT_WIDTH, 2.1)
        axes = figure.add_subplot()
        bottom = scale_shares(axes, own)
        colours = palette()
        for rows, name, filled in ((now, _after(epoch), True), (before, _after(first), False)):
            edges, shares, zero = parts(rows)
            if filled:
                shown = np.where(np.isfinite(shares), np.maximum(shares, bottom), np.nan)
                axes.stairs(shown, edges, baseline=bottom, fill=True, color=colours[0],
                            label=name)
                mark_zero(axes, zero, colours[0])
            elif epoch != first:
                axes.stairs(shares, edges, baseline=None, color="0.15", linewidth=1,
                            linestyle="--", label=name)
        zero_ticks(axes, own)
        axes.set_xlabel("Weight")
        axes.set_ylabel("Share of the weights (%)")
        axes.legend(loc="upper right")
        light_grid(axes)
        beyond = now[~np.isfinite(now["lower"] + now["upper"])]["share"].sum(min_count=1)
        return finish(figure, now.drop(columns="network"), caption(now, before, layer),
                      str(table.attrs.get("label", "")),
                      f"{number_text(beyond, '.1f')} % of the weights lie beyond the axis."
                      + (" Diamond: exactly zero." if (parts(now)[2] or 0) > 0 else ""))


def caption(now: pd.DataFrame, before: pd.DataFrame, layer: str) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    (limit, share), (_, earlier) = near_zero(now), near_zero(before)
    whose = "all convolutions together" if layer == ALL else layer
    epoch, first = (int(rows["epoch"].iloc[0]) for rows in (now, before))
    then = "" if epoch == first else f", {number_text(earlier, '.1f')} % {_after(first)}"
    return (f"Weights of {whose}: within {limit:.2g} of zero are {number_text(share, '.1f')} % "
            f"{_after(epoch)}{then}.")


def _after(epoch: int) -> str:
    if epoch == 0:
        return "before training"
    return f"after {epoch} epoch" + "s" * (epoch != 1)
