"""The width of each layer before and after pruning, over seeds: Table 7 as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from rethinklab.analysis.architectures import WEIGHTS, width_table
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import table_of
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("layer", "place", "side", "seed", "before", "after", "unit")
MOST_NAMES = 4.5  # layers in an inch of width, whose names and numbers fit side by side
CHARACTER, MARGIN = 0.055, 0.7  # inches: of the numbers on the bars, and beside the axes
LEAST_ROOM = 5  # bars for which an axis has room
MOST_BARS = 9  # in an inch, that have room for whiskers and dots
NAMES = {"channels": "Channels", "read channels": "Channels read", "weights": "Weights"}
FAR_APART = 30  # largest over smallest layer, from which on the axis is logarithmic


def layer_widths(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
                 note: bool = True) -> PaperFigure:
    """Width of each layer in the order of the forward pass: the original in grey, what pruning
    left as a bar, mean and standard deviation over seeds; a panel for channels, channels read and
    weights each, as far as there are any.

    frame: as `Results.table("widths")` makes it.
    Raises ConfigError where a column or every width is missing.
    Source of the form: Liu et al. (ICLR 2019), Table 7.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "widths")
    check_widths(frame)
    numbers = width_table(frame)
    units = list(dict.fromkeys(numbers["unit"]))
    with style.paper_style():
        figure = style.paper_figure(width, 0.6 + 1.8 * len(units), fig, note)
        grid = figure.subplots(len(units), 1, squeeze=False)
        parts: set[str] = set()
        for axes, unit in zip(grid.flat, units, strict=True):
            panel = numbers[numbers["unit"] == unit]
            parts |= _draw(axes, panel, frame[frame["unit"] == unit], width)
            axes.set_ylabel(NAMES[unit])
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        remark = ("Bars: mean" + (" ± sd" if "whiskers" in parts else "") + " over seeds."
                  + (" Dots: seeds." if "dots" in parts else "")
                  + (" Numbers: mean width that is left." if "counts" in parts else ""))
        return style.finish(figure, numbers, caption(numbers), frame, remark)


def check_widths(frame: pd.DataFrame, more: tuple[str, ...] = ()) -> None:
    """Raises ConfigError unless the table of widths has its columns and a width to draw."""
    missing = [name for name in (*COLUMNS, *more) if name not in frame]
    if missing:
        raise ConfigError(f"a table of widths has the columns {', '.join((*COLUMNS, *more))}; "
                          f"this one lacks {', '.join(missing)}. `rethinklab record` makes it.")
    if not frame["after"].notna().any():
        raise ConfigError("the table of widths has no row with a width in column after; record it "
                          "again from a study that prunes.")


def _draw(axes: Axes, panel: pd.DataFrame, given: pd.DataFrame, width: float) -> set[str]:
    """One panel; what it had room for of whiskers, dots and counts."""
    from matplotlib.ticker import MaxNLocator

    places = {name: place for place, name in enumerate(panel["layer"], 1)}
    numbers = list(places.values())
    counts = [short_count(mean) if pd.notna(mean) else "" for mean in panel["mean"]]
    few, some = (len(panel) <= most * width for most in (MOST_NAMES, MOST_BARS))
    counted = few and max(map(len, counts)) * len(panel) * CHARACTER < width - MARGIN
    whiskers = some and bool(panel["sd"].notna().any())
    spread = panel["original"].max() / panel["original"].min()
    log = (panel["unit"] == WEIGHTS).all() and spread > FAR_APART
    axes.bar(numbers, panel["original"], 0.8, color="0.87", edgecolor="0.6",
             linewidth=0.5 if some else 0, label="original")
    axes.bar(numbers, panel["mean"], 0.8 if some else 0.7, color=style.palette()[0],
             label="after pruning")
    if log:
        axes.set_yscale("log")
        lowest = panel.loc[panel["mean"] > 0, "mean"].min()
        axes.set_ylim(bottom=lowest / 3)
    if whiskers:
        axes.errorbar(numbers, panel["mean"], yerr=panel["sd"], fmt="none",
                      ecolor="0.1", elinewidth=0.8, capsize=2)
    if few:
        axes.scatter(given["layer"].map(places) + 0.22, given["after"], s=5, color="white",
                     edgecolors="0.1", linewidths=0.5, zorder=3)
        for place, original, count in zip(numbers, panel["original"], counts, strict=True):
            if counted and count:
                axes.annotate(count, (place, original), (0, 1.5), textcoords="offset points",
                              ha="center", fontsize=7)
        axes.set_xticks(numbers, list(places), rotation=45, ha="right",
                        rotation_mode="anchor", fontsize=7)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("Layer" if few else "Layer, by number in the order of the forward pass")
    axes.set_xlim(*room_for(len(panel)))
    style.light_grid(axes)
    return {part for part, drawn in (("whiskers", whiskers), ("dots", few), ("counts", counted))
            if drawn}


def room_for(bars: int) -> tuple[float, float]:
    """Limits of an axis of bars at 1, 2, ...: a few of them do not become walls."""
    slack = max(0.0, (LEAST_ROOM - bars) / 2)
    return 0.4 - slack, bars + 0.6 + slack


def short_count(value: float) -> str:
    """A number in at most four characters and a unit: 96, 1.5K, 2.4M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if value >= 10 or float(value).is_integer() else f"{value:.1f}"


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for unit, panel in numbers.groupby("unit", sort=False):
        known = panel.dropna(subset="mean")
        share = known["mean"] / known["original"]
        lowest = known.loc[share.idxmin()]
        parts.append(f"of {known['original'].sum():,.0f} {unit} in {len(known)} "
                     f"{'layer' if len(known) == 1 else 'layers'}, "
                     f"{known['mean'].sum():,.0f} stay on average, the smallest share in "
                     f"{lowest['layer']} ({share.min():.0%})")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
