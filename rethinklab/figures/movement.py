"""How far training moved the weights of each layer from where it began."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.lines import legend_above, regime_lines
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("regime", "layer", "place", "seed", "sign_agreement", "distance")
REMEDY = "`rethinklab record STUDY` makes it from the networks of a stored study"
PANELS = {"sign_agreement": "Signs kept (%)", "distance": "Relative distance"}
MOST_NAMES = 5  # layers in an inch, whose names fit side by side
MOST_MARKS = 10  # layers in an inch, whose marks and seeds do


def movement(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
             note: bool = True) -> PaperFigure:
    """Layer by layer, a line a regime: the share of weights that kept the sign with which their
    training began (%), and the distance from there over the norm there.

    frame: columns regime, layer, place, seed, sign_agreement (a fraction) and distance, as
    `Results.table("movement")` makes it; rows of layer "all" are told in the caption.
    Raises ConfigError where a column or the rows of single layers are missing.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "movement")
    expect(frame, COLUMNS, REMEDY)
    table = frame.assign(sign_agreement=frame["sign_agreement"] * 100)
    numbers = with_layer_means(single(table, REMEDY), ["regime", "layer"], PANELS)
    layers = list(dict.fromkeys(numbers["layer"]))
    at = {layer: place for place, layer in enumerate(layers)}
    several = numbers.groupby("regime")["seed"].nunique().max() > 1
    dotted = several and len(layers) <= MOST_MARKS * width
    with style.paper_style():
        figure = style.paper_figure(width, 3.6, fig, note)
        panels = figure.subplots(2, 1, sharex=True)
        for axes, (value, title) in zip(panels, PANELS.items(), strict=True):
            for regime, look in regime_lines(numbers["regime"]).items():
                own = numbers[numbers["regime"] == regime]
                mean = own.drop_duplicates("layer").set_index("layer")[f"{value}_mean"]
                axes.plot(range(len(layers)), mean.reindex(layers), label=regime_title(regime),
                          markersize=mark_size(layers, width), markerfacecoloralt="white", **look)
                if dotted:
                    axes.scatter(own["layer"].map(at), own[value], s=4, color=look["color"],
                                 alpha=0.5, linewidths=0, zorder=3)
            axes.set_ylabel(title)
            style.light_grid(axes)
        panels[1].set_ylim(bottom=0)
        name_layers(panels[1], layers, width)
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(table), frame,
                      "Each network against the weights with which its training began"
                      + "; lines: means over seeds" * bool(several) + ", dots: seeds" * bool(dotted)
                      + ".")


def single(frame: pd.DataFrame, remedy: str) -> pd.DataFrame:
    """The rows of single layers in their order. Raises ConfigError where there are none."""
    rows = frame[frame["layer"] != ALL].sort_values("place", kind="stable")
    if rows.empty:
        raise ConfigError(f"the table of this figure has no rows of single layers; {remedy}.")
    return rows.reset_index(drop=True)


def with_layer_means(rows: pd.DataFrame, by: Sequence[str],
                     values: Iterable[str]) -> pd.DataFrame:
    """The rows with the mean of each value over the rows that agree in `by`, as VALUE_mean; NaN
    where one of them is."""
    groups = rows.groupby(list(by), sort=False)
    return rows.assign(**{f"{value}_mean": groups[value].transform(
        lambda own: own.mean(skipna=False)) for value in values})


def mark_size(layers: Sequence[str], width: float) -> float:
    """Size of the marks of a line over that many layers, in points."""
    return 3.5 if len(layers) <= MOST_MARKS * width else 1.5


def name_layers(axes: Axes, layers: Sequence[str], width: float) -> None:
    """The names of layers under an axis on which they stand at 0, 1, 2, ..., as many as fit."""
    step = -(-len(layers) // max(1, int(MOST_NAMES * (width - 0.6))))
    axes.set_xticks(list(range(len(layers)))[::step], list(layers)[::step], rotation=45,
                    ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_xlim(-0.5, len(layers) - 0.5)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    whole = table[table["layer"] == ALL]
    what = "of all convolution weights" if len(whole) else "in the mean layer"
    rows = whole if len(whole) else table
    means = rows.groupby("regime")[list(PANELS)].mean()
    parts = [f"{regime_title(regime)} "
             f"{number_text(means.loc[regime, 'sign_agreement'], '.1f')} % and "
             f"{number_text(means.loc[regime, 'distance'], '.2f')}"
             for regime in regime_lines(table["regime"]) if regime in means.index]
    return (f"Signs kept and relative distance moved in training, {what}: "
            f"{', '.join(parts)}.")
