"""What two seeds keep in common, layer by layer, against chance."""

from __future__ import annotations

import pandas as pd

from rethinklab.analysis.weights import ALL
from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.lines import legend_above
from rethinklab.figures.movement import MOST_MARKS, mark_size, name_layers, single, with_layer_means
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results import Results

COLUMNS = ("layer", "place", "pair", "overlap", "chance")
REMEDY = ("`rethinklab record STUDY` makes it from a stored study that prunes, with two seeds or "
          "more")


def overlap(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, height: float = 2.5, *,
            ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """The share of what one seed keeps that another keeps too (%), by layer: pairs of seeds as
    dots, their mean as a line, and as a dashed line what chance gives.

    frame: columns layer, place, pair, overlap and chance (fractions) and perhaps unit, as
    `Results.table("overlap")` makes it; rows of layer "all" are told in the caption.
    Raises ConfigError where a column or the rows of single layers are missing.
    """
    width = style.inches(width, ax)
    frame = table_of(frame, "overlap")
    expect(frame, COLUMNS, REMEDY)
    table = frame.assign(overlap=frame["overlap"] * 100, chance=frame["chance"] * 100)
    numbers = with_layer_means(single(table, REMEDY), ["layer"], ("overlap", "chance"))
    layers = list(dict.fromkeys(numbers["layer"]))
    at = {layer: place for place, layer in enumerate(layers)}
    means = numbers.drop_duplicates("layer")
    several = numbers["pair"].nunique() > 1
    dotted = several and len(layers) <= MOST_MARKS * width
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        axes.plot(range(len(layers)), means["chance_mean"], color="0.6", linestyle="--",
                  linewidth=2.4, marker="_", label="expected by chance")
        axes.plot(range(len(layers)), means["overlap_mean"], color=style.palette()[0], marker="o",
                  markersize=mark_size(layers, width), label="kept by both seeds")
        if dotted:
            axes.scatter(numbers["layer"].map(at), numbers["overlap"], s=5, alpha=0.5,
                         color=style.palette()[0], linewidths=0, zorder=3)
        axes.set_ylim(bottom=0)
        unit = str(numbers["unit"].iloc[0]) if "unit" in numbers else "what is kept"
        axes.set_ylabel(f"Kept {unit} in common (%)" if "unit" in numbers
                        else "Kept in common (%)")
        axes.set_xlabel("Layer")
        name_layers(axes, layers, width)
        style.light_grid(axes)
        legend_above(figure, axes)
        remark = "Lines: means over pairs of seeds" if several else "One pair of seeds"
        remark += ", dots: pairs." if dotted else "."
        return style.finish(figure, numbers, caption(table, unit), frame,
                            f"{remark} Chance: as many kept in each layer, drawn at random.")


def caption(table: pd.DataFrame, unit: str) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    whole = table[table["layer"] == ALL]
    means = (whole if len(whole) else table)[["overlap", "chance"]].mean()
    where = "over all layers" if len(whole) else "in the mean layer"
    pairs = table["pair"].nunique()
    return (f"Two seeds have {number_text(means['overlap'], '.1f')} % of {unit} in common "
            f"{where}, where chance gives {number_text(means['chance'], '.1f')} % ({pairs} "
            f"pair{'s' * (pairs != 1)} of seeds).")
