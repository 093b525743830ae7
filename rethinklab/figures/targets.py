"""Who decides how wide each layer is: predefined against automatic target widths."""

from __future__ import annotations

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.layer_widths import check_widths, room_for
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width

KINDS = {"predefined": ("by the user", 7), "automatic": ("by the method", 0)}
MOST_NUMBERS = 4  # layers in an inch, above which percentages fit side by side
MOST_BARS = 9  # in an inch, that have room for whiskers and dots


def targets(frame: pd.DataFrame, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
            note: bool = True) -> PaperFigure:
    """Share kept (%) of each layer, a row of bars for each way to decide it: predefined, where the
    user says it, and automatic, where the method finds it; mean, standard deviation and seeds.

    frame: tables of widths (`Results.table("widths")`) together, with a
    column kind, "predefined" or "automatic", and of several studies a column study.
    Raises ConfigError where a column or every width is missing, or a kind is another.
    Source of the form: Liu et al. (ICLR 2019), Figure 2.
    """
    width = style.inches(width, fig)
    from matplotlib.ticker import MaxNLocator

    check_widths(frame, ("kind",))
    other = sorted(set(frame["kind"].astype(str)) - set(KINDS))
    if other:
        raise ConfigError(f"kind {other[0]!r} of a target must be {' or '.join(KINDS)}.")
    given = frame.assign(share=frame["after"] / frame["before"],
                         study=frame.get("study", ""))
    numbers, layers = share_table(given), layer_order(given)
    groups = [(kind, study) for kind in KINDS
              for study in dict.fromkeys(given.loc[given["kind"] == kind, "study"])]
    few, some = (len(layers) <= most * width for most in (MOST_NUMBERS, MOST_BARS))
    with style.paper_style():
        figure = style.paper_figure(width, 0.5 + 1.15 * len(groups), fig, note)
        grid = figure.subplots(len(groups), 1, squeeze=False, sharex=True, sharey=True)
        for axes, (kind, study) in zip(grid.flat, groups, strict=True):
            row = numbers[(numbers["kind"] == kind) & (numbers["study"] == study)]
            own = given[(given["kind"] == kind) & (given["study"] == study)]
            places = row["layer"].map(layers)
            meaning, colour = KINDS[kind]
            axes.bar(places, 100, 0.8, color="white", edgecolor="0.6",
                     linewidth=0.5 if some else 0)
            axes.bar(places, row["mean"] * 100, 0.8, color=style.palette()[colour],
                     hatch="////" if kind == "predefined" and some else "", edgecolor="white",
                     linewidth=0)
            if some and row["sd"].fillna(0).gt(0).any():
                axes.errorbar(places, row["mean"] * 100, yerr=row["sd"] * 100, fmt="none",
                              ecolor="0.1", elinewidth=0.8, capsize=2)
                axes.scatter(own["layer"].map(layers) + 0.22, own["share"] * 100, s=5,
                             color="white", edgecolors="0.1", linewidths=0.5, zorder=3)
            if few:
                for place, mean in zip(places, row["mean"], strict=True):
                    if pd.notna(mean):
                        axes.annotate(f"{mean * 100:.0f}", (place, 100), (0, 2.5),
                                      textcoords="offset points", ha="center", fontsize=7)
            named = f"{kind.capitalize()}: {meaning}" + (f" ({study})" if study else "")
            axes.set_title(named, fontsize=8, loc="left", pad=12 if few else 4)
            style.light_grid(axes)
        grid[0, 0].set(ylim=(0, 103), yticks=[0, 50, 100], xlim=room_for(len(layers)))
        grid[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        grid.flat[-1].set_xlabel("Layer, by number in the order of the forward pass")
        if len(groups) == 1:
            grid[0, 0].set_ylabel("Kept (%)")
        else:
            figure.supylabel("Kept of the layer (%)", fontsize=9)
        return style.finish(figure, numbers, caption(numbers), frame,
                      ("Outlines: the whole layer. " if some else "") + "Bars: mean share kept"
                      + (" ± sd, dots: seeds." if numbers["sd"].fillna(0).gt(0).any() and some
                         else ".") + (" Numbers: the mean." if few else ""))


def share_table(given: pd.DataFrame) -> pd.DataFrame:
    """A row a layer of each study: kind, study, layer, and mean and sd over seeds of the share."""
    groups = given.groupby(["kind", "study", "place", "layer"], sort=True)["share"]
    table = pd.DataFrame({"mean": groups.mean(), "sd": groups.std()}).reset_index()
    return table.sort_values("kind", key=lambda column: column.map(list(KINDS).index),
                             kind="stable").drop(columns="place").reset_index(drop=True)


def layer_order(given: pd.DataFrame) -> dict[str, int]:
    """The number of each layer that any of the studies has, from 1."""
    ordered = given.sort_values("place", kind="stable")["layer"]
    return {name: number for number, name in enumerate(dict.fromkeys(ordered), 1)}


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for (kind, study), row in numbers.dropna(subset="mean").groupby(["kind", "study"],
                                                                    sort=False):
        named = f"{kind}{f' ({study})' if study else ''}"
        values = row["mean"].round(2)
        span = (f"{values.min():.0%} in" if values.nunique() == 1 else
                f"{values.min():.0%} to {values.max():.0%}, {values.nunique()} different shares in")
        parts.append(f"{named} {span} {len(row)} {'layer' if len(row) == 1 else 'layers'}")
    return f"Share kept of each layer: {'; '.join(parts)}."
