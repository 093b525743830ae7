"""How much each layer can lose: accuracy against the share removed, one layer at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, table_of
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results

COLUMNS = ("layer", "ratio", "accuracy")
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":")
ROWS_OF_LEGEND = 14
COLUMN_OF_LEGEND = 2.75  # inches of the figure's width for each column of names


def sensitivity(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, height: float = 2.6, *,
                ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """Accuracy (%) against the share of a layer's filters removed (%), a line a layer.

    frame: columns layer, ratio and accuracy (fractions), as `rethinklab.pruners.sensitivity`
    makes it. Colours run from the first layer (dark) to the last (light); of many layers these are
    the only key. Raises ConfigError where a column is missing.
    """
    width = style.inches(width, ax)
    frame = table_of(frame, "sensitivity")
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    expect(frame, COLUMNS, "rl.pruners.sensitivity.sensitivity(model, data) makes one")
    numbers = frame[list(COLUMNS)].reset_index(drop=True)
    layers = list(dict.fromkeys(numbers["layer"]))
    label = frame
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        shades = ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 256)))
        for place, name in enumerate(layers):
            line = numbers[numbers["layer"] == name].sort_values("ratio")
            colour = shades(place / max(1, len(layers) - 1))
            axes.plot(line["ratio"] * 100, line["accuracy"] * 100, color=colour, label=name,
                      marker=MARKERS[place % len(MARKERS)], linestyle=LINES[place % len(LINES)],
                      markersize=3.5)
        axes.set_xlabel("Filters of the layer removed (%)")
        axes.set_ylabel("Accuracy (%)")
        style.light_grid(axes)
        columns = -(-len(layers) // ROWS_OF_LEGEND)
        if columns <= width / COLUMN_OF_LEGEND:
            figure.legend(loc="outside right upper", fontsize=7, handlelength=2.6, ncols=columns)
        else:
            order = ScalarMappable(Normalize(1, len(layers)), shades)
            figure.colorbar(order, ax=axes, label="Layer, in order", aspect=30)
        return style.finish(figure, numbers, caption(numbers), label)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    deepest = numbers[numbers["ratio"] == numbers["ratio"].max()].set_index("layer")["accuracy"]
    return (f"With {numbers['ratio'].max():.0%} of its filters removed, {deepest.idxmin()} leaves "
            f"{deepest.min():.1%} accuracy, the least of {len(deepest)} layers, and "
            f"{deepest.idxmax()} leaves {deepest.max():.1%}, the most.")
