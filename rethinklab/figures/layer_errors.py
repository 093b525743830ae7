"""What pruning does to the outputs of the layers, by method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.lines import legend_above
from rethinklab.figures.movement import mark_size, name_layers
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width

FIXED = ("random", "l1", "thinet", "regression")  # methods that always look the same
WIDE = 2.5  # decades, from which on only powers of ten have room for their numbers


def layer_errors(errors: pd.DataFrame | Mapping[str, Mapping[str, float]],
                 width: Width = TEXT_WIDTH, height: float = 2.5, *, layer: str = "Layer",
                 label: str = "", ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """Relative squared error (%) of the outputs of layers, a line a method, on a log axis.

    errors: a column for each method, a row for each layer by name, in order: the squared
    distance from the outputs of the unpruned network over their squares, as a fraction; or the
    same as {method: {layer: error}}. layer: the name of the axis on which the layers stand. label:
    where the numbers are from.
    Raises ConfigError where there is no error above zero, or one below it.
    """
    width = style.inches(width, ax)
    wide = pd.DataFrame(errors)
    if not (wide > 0).any(axis=None) or (wide < 0).any(axis=None):
        raise ConfigError("the errors of layers must be fractions of 0 or more, and one of them "
                          "above; give {method: {layer: error}}.")
    numbers = (100 * wide).rename_axis("layer").reset_index().melt(
        "layer", var_name="method", value_name="error")
    layers = list(wide.index)
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        for method, look in method_looks(list(wide)).items():
            axes.plot(range(len(layers)), 100 * wide[method], label=method,
                      **(look | {"markersize": mark_size(layers, width)}))
        axes.set_yscale("log")
        decades = math.log10(wide.max(axis=None) / wide[wide > 0].min(axis=None))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < WIDE else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel("Error of the outputs (%)")
        axes.set_xlabel(layer)
        name_layers(axes, layers, width)
        style.light_grid(axes)
        legend_above(figure, axes)
        return style.finish(figure, numbers, caption(wide), label,
                      "Squared distance from the unpruned network's outputs over their squares.")


def method_looks(methods: list[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each; those of FIXED have one look in every figure."""
    others = [name for name in methods if name not in FIXED]
    return {name: style.series_look(([*FIXED, *others]).index(name)) for name in methods}


def caption(wide: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = [f"{method} {100 * error:.1f} %" for method, error in wide.median().items()]
    return (f"Relative squared error of the outputs of {len(wide)} layers, the median layer's: "
            f"{', '.join(parts)}.")
