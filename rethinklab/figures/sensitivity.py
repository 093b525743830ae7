"""How much each layer can lose: accuracy against the share removed, one layer at a time."""

from __future__ import annotations

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    light_grid,
    paper_figure,
    paper_style,
)

COLUMNS = ("layer", "ratio", "accuracy")
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":")
ROWS_OF_LEGEND = 14


def sensitivity(frame: pd.DataFrame, width: float = TEXT_WIDTH, height: float = 2.6) -> PaperFigure:
    """Accuracy (%) against the share of a layer's filters removed (%), a line a layer.

    frame: columns layer, ratio and accuracy (fractions), as `rethinklab.pruners.sensitivity`
    makes it. Colours run from the first layer (dark) to the last (light).
    Raises ConfigError where a column is missing.
    """
    from matplotlib import colormaps

    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise ConfigError(f"a sensitivity scan has the columns {', '.join(COLUMNS)}; this frame "
                          f"lacks {', '.join(missing)}.")
    numbers = frame[list(COLUMNS)].reset_index(drop=True)
    layers = list(dict.fromkeys(numbers["layer"]))
    label = str(frame.attrs.get("label", ""))
    with paper_style():
        figure = paper_figure(width, height)
        axes = figure.add_subplot()
        for place, name in enumerate(layers):
            line = numbers[numbers["layer"] == name].sort_values("ratio")
            colour = colormaps["viridis"](0.92 * place / max(1, len(layers) - 1))
            axes.plot(line["ratio"] * 100, line["accuracy"] * 100, color=colour, label=name,
                      marker=MARKERS[place % len(MARKERS)], linestyle=LINES[place % len(LINES)],
                      markersize=3.5)
        axes.set_xlabel("Filters of the layer removed (%)")
        axes.set_ylabel("Accuracy (%)")
        light_grid(axes)
        figure.legend(loc="outside right upper", fontsize=7, handlelength=2.6,
                      ncols=-(-len(layers) // ROWS_OF_LEGEND))
        return finish(figure, numbers, caption(numbers), label)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    deepest = numbers[numbers["ratio"] == numbers["ratio"].max()].set_index("layer")["accuracy"]
    return (f"With {numbers['ratio'].max():.0%} of its filters removed, {deepest.idxmin()} leaves "
            f"{deepest.min():.1%} accuracy, the least of {len(deepest)} layers, and "
            f"{deepest.idxmax()} leaves {deepest.max():.1%}, the most.")
