"""What becomes of the filters that soft filter pruning zeroes: an epoch later, a bar an epoch."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from rethinklab.figures import style
from rethinklab.figures.inputs import expect
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width

FATES = {"still_zero": "still zero", "zeroed_again": "grown, zeroed again",
         "came_back": "came back"}  # columns, and what the legend calls them
COLUMNS = ("start", "epoch", *FATES)
LOOKS = ((7, ""), (1, "///"), (2, "..."))  # place in the palette, and hatching
REMEDY = "count the filters of a network that trains with rl.pruners.SoftFilter, epoch by epoch"


def recovery(frame: pd.DataFrame, width: Width = TEXT_WIDTH, height: float = 2.3, *,
             fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Of the filters that were zeroed at the end of an epoch, how many still are zero at the end
    of the next, have grown but were the smallest again, and came back for good or for a while:
    a panel a start, a stacked bar an epoch.

    frame: columns start (a name), epoch (that at whose end is counted), still_zero, zeroed_again
    and came_back (numbers of filters). Raises ConfigError where a column is missing or there are
    no rows.
    """
    width = style.inches(width, fig)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)]
    starts = list(dict.fromkeys(numbers["start"]))
    colours = style.palette()
    with style.paper_style():
        figure = style.paper_figure(width, height, fig, note)
        panels = figure.subplots(1, len(starts), squeeze=False, sharey=True)[0]
        for axes, start in zip(panels, starts, strict=True):
            own = numbers[numbers["start"] == start]
            bottom = pd.Series(0, own.index)
            for (fate, name), (place, hatch) in zip(FATES.items(), LOOKS, strict=True):
                axes.bar(own["epoch"], own[fate], 0.6, bottom, color=colours[place], hatch=hatch,
                         edgecolor="white", linewidth=0.4, label=name)
                bottom = bottom + own[fate]
            axes.set_title(start, fontsize=8)
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            style.light_grid(axes)
        panels[0].set_ylim(0, 1.05 * max(1, numbers[list(FATES)].sum(axis=1).max()))
        panels[0].set_ylabel("Filters zeroed before")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(FATES))
        return style.finish(figure, numbers, caption(numbers), "",
                            "Filters that were zero at the end of the epoch before.")


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for start, own in numbers.groupby("start", sort=False):
        counts = own[list(FATES)].sum()
        parts.append(f"{start}: {counts['still_zero']:,.0f} still zero, "
                     f"{counts['zeroed_again']:,.0f} grown and zeroed again, "
                     f"{counts['came_back']:,.0f} came back")
    return f"Zeroed filters an epoch later, all epochs together; {'; '.join(parts)}."
