"""How often each position of 3x3 kernels is kept, by stage: heat maps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results

COLUMNS = ("stage", "row", "column", "keep")
REMEDY = ("`rethinklab record STUDY` makes it from a stored study that removes single weights, "
          "such as one by weight-level")
PANEL, BAR = 0.95, 0.75  # inches that a stage and the colour bar take
SIDE = 3


def kernels(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
            note: bool = True) -> PaperFigure:
    """The share (%) that is kept of the weights at each of the nine positions of 3x3 kernels: a
    heat map a stage, on one colour scale, from the largest feature map to the smallest.

    frame: columns stage (side of the feature map in pixels), row, column and keep (a fraction), as
    `Results.table("kernels")` makes it. Raises ConfigError where a column is missing or
    there are no rows. Source of the form: Liu et al. (ICLR 2019), Figure 4.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "kernels")
    from matplotlib import colormaps

    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].assign(keep=frame["keep"] * 100)
    stages = sorted(set(numbers["stage"]), reverse=True)
    top = numbers["keep"].max()
    top = float(top) if top > 0 else 100.0
    columns = min(len(stages), max(1, int((width - BAR) / PANEL)))
    rows = math.ceil(len(stages) / columns)
    shades = colormaps["cividis"].with_extremes(bad="0.9")
    with style.paper_style():
        figure = style.paper_figure(width, 0.3 + 1.15 * rows, fig, note)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, stage in zip(grid.flat, stages, strict=False):
            own = numbers[numbers["stage"] == stage]
            keep = np.full((SIDE, SIDE), np.nan)
            keep[own["row"].astype(int), own["column"].astype(int)] = own["keep"]
            picture = axes.imshow(np.ma.masked_invalid(keep), cmap=shades, vmin=0, vmax=top)
            for (row, column), value in np.ndenumerate(keep):
                axes.text(column, row, "–" if math.isnan(value) else share_text(value, top),
                          ha="center", va="center", fontsize=7,
                          color="white" if value < 0.55 * top else "black")
            axes.set_title(f"{stage:g} × {stage:g} pixels" if width > 4 else f"{stage:g} × "
                           f"{stage:g}", fontsize=8, pad=3)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for axes in list(grid.flat)[len(stages):]:
            axes.set_axis_off()
        bar = figure.colorbar(picture, ax=grid, shrink=0.9, aspect=14 * rows)
        bar.set_label("Weights kept (%)")
        bar.outline.set_visible(False)
        return style.finish(figure, numbers, caption(numbers), frame,
                      "Titles: size of the feature maps of a stage. Mean over all its kernels.")


def share_text(value: float, top: float) -> str:
    """A percentage in at most four characters, with as many digits as tell cells apart."""
    return f"{value:.0f}" if value >= 99.95 or top >= 40 else f"{value:.1f}"


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for stage, own in numbers.groupby("stage", sort=False):
        corner = own[own["row"].isin([0, 2]) & own["column"].isin([0, 2])]["keep"].mean()
        centre = own[(own["row"] == 1) & (own["column"] == 1)]["keep"].mean()
        parts.append(f"{stage:g} pixels {number_text(own['keep'].mean(), '.1f')} % (centre "
                     f"{number_text(centre, '.1f')} %, corners {number_text(corner, '.1f')} %)")
    return f"Kept weights of 3x3 kernels by side of the feature map: {', '.join(parts)}."
