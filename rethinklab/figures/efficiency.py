"""What an architecture is worth: accuracy from scratch against size, of found and of designed
networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import table_over
from rethinklab.figures.layer_widths import short_count
from rethinklab.figures.lines import spread_remark
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.results.efficiency import efficiency_tables
from rethinklab.results.groups import MASKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("design", "of", "target", "seed", "params", "macs", "accuracy")
TICK_INCHES = 0.42  # that the label of a tick needs


def efficiency(frame: pd.DataFrame | Sequence[Results], width: Width = TEXT_WIDTH, *,
               fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Test accuracy (%) of networks trained from scratch against their parameters and their
    multiply-adds: a line for the architectures that pruning found and for the uniform, guided and
    transferred designs each, mean and standard deviation over seeds, and every seed as a dot.

    frame: as `rethinklab.results.efficiency.efficiency_tables` makes it. Raises ConfigError where
    a column or every accuracy is missing, or a design is another.
    Source of the form: Liu et al. (ICLR 2019), Figures 3, 5 and 6.
    """
    width = style.inches(width, fig)
    frame = table_over(frame, efficiency_tables)
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise ConfigError(f"a table of designs has the columns {', '.join(COLUMNS)}; this one "
                          f"lacks {', '.join(missing)}.")
    other = sorted(set(frame["design"]) - set(style.DESIGNS))
    if other:
        raise ConfigError(f"design {other[0]!r} must be one of {', '.join(style.DESIGNS)}.")
    if not frame["accuracy"].notna().any():
        raise ConfigError("the table of designs has no row with an accuracy; run the studies with "
                          "the regime scratch-e.")
    given = frame.assign(settings=frame["settings"].fillna("") if "settings" in frame else "",
                         of=frame["of"].fillna(""), accuracy=frame["accuracy"] * 100)
    numbers = design_table(given)
    series = list(dict.fromkeys(zip(numbers["design"], numbers["settings"], strict=True)))
    sparse = set(given["of"]) & set(MASKING)
    with style.paper_style():
        names = {pair: title(*pair, series, numbers) for pair in series}
        columns = max(1, int(width / (0.45 + 0.065 * max(map(len, names.values())))))
        rows = math.ceil(len(names) / columns)
        figure = style.paper_figure(width, 2.1 + 0.17 * rows, fig, note)
        grid = figure.subplots(1, 2, sharey=True)
        sides = {"params": "Parameters not zero" if sparse else "Parameters", "macs": "MACs"}
        for axes, (column, name) in zip(grid, sides.items(), strict=True):
            for design, settings in series:
                line, dots = (table[(table["design"] == design) & (table["settings"] == settings)]
                              for table in (numbers, given))
                look = series_style(design, settings, series)
                axes.scatter(dots[column], dots["accuracy"], s=5, color=look["color"],
                             marker=look["marker"], linewidths=0.3, edgecolors="white", zorder=3)
                axes.errorbar(line[column], line["accuracy"], yerr=line["sd"], capsize=2,
                              elinewidth=0.8, label=names[design, settings], **look)
            ticks_of_counts(axes, given[column], (width - 0.7) / 2)
            axes.set_xlabel(name)
            style.light_grid(axes, "both")
        grid[0].set_ylabel("Test accuracy (%)")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", handlelength=2.6,
                      ncols=math.ceil(len(names) / rows))
        return style.finish(figure, numbers, caption(numbers), frame,
                            "Trained from scratch for as many epochs as the large network. " +
                            spread_remark(numbers["sd"]))


def design_table(given: pd.DataFrame) -> pd.DataFrame:
    """A row a target of each design: n, mean params and macs, mean and sd of the accuracy (%), in
    the order of the designs and of their size."""
    keys = ["design", "settings", "of", "target"]
    groups = given.groupby(keys, sort=False)
    table = pd.DataFrame({"n": groups["accuracy"].count(), "params": groups["params"].mean(),
                          "macs": groups["macs"].mean(), "accuracy": groups["accuracy"].mean(),
                          "sd": groups["accuracy"].std()}).reset_index()
    table["order"] = table["design"].map(list(style.DESIGNS).index)
    return table.sort_values(["order", "settings", "params"]).drop(columns="order").reset_index(
        drop=True)


def series_style(design: str, settings: str, series: list[tuple[str, str]]) -> dict[str, Any]:
    """The look of the design, open marks for the first of its settings and full ones after."""
    first = next(own for name, own in series if name == design)
    look = style.design_look(design)
    return {**look, "markerfacecolor": "white" if settings == first else look["color"]}


def title(design: str, settings: str, series: list[tuple[str, str]],
          numbers: pd.DataFrame) -> str:
    """What the legend calls a design."""
    several = sum(name == design for name, _ in series) > 1
    if design == "found":
        methods = " and ".join(sorted(set(numbers.loc[numbers["design"] == "found", "of"])))
        return f"Found by {methods}"
    return design.capitalize() + (f", {settings}" if several and settings else "")


def ticks_of_counts(axes: Axes, values: pd.Series, room: float) -> None:
    """A logarithmic x axis over counts, with as many labelled ticks as fit in `room` inches."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    low, high = float(values.min()), float(values.max())
    pad = max(1.12, (high / low) ** 0.06)
    low, high = low / pad, high * pad
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    most = max(2, int(room / TICK_INCHES))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(math.floor(math.log10(low)),
                                                       math.ceil(math.log10(high)))
                 for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= most:
            break
    ticks = ticks[:: max(1, -(-len(ticks) // most))]
    if len(ticks) < 2:
        ticks = [tick for tick in MaxNLocator(most - 1).tick_values(low, high)
                 if low <= tick <= high]
    axes.set_xticks(ticks, [short_count(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for design, rows in numbers.dropna(subset="accuracy").groupby("design", sort=False):
        least, most = rows.loc[rows["params"].idxmin()], rows.loc[rows["params"].idxmax()]
        span = (f"{most['accuracy']:.2f} % at {most['params']:,.0f} parameters"
                if len(rows) == 1 else
                f"{least['accuracy']:.2f} % at {least['params']:,.0f} parameters to "
                f"{most['accuracy']:.2f} % at {most['params']:,.0f}")
        parts.append(f"{design} {span}")
    return f"Mean test accuracy from scratch by architecture: {'; '.join(parts)}."
