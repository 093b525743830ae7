"""`architecture_patterns`: what recorded studies keep of each layer and stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from rethinklab.analysis.architectures import stage_table, width_table
from rethinklab.errors import ConfigError
from rethinklab.figures.layer_widths import NAMES, check_widths, room_for
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    light_grid,
    palette,
    paper_figure,
    paper_style,
)
from rethinklab.figures.widths import MOST_NAMES
from rethinklab.notebook.widgets.explorer import Explorer, choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEAN = "mean"  # that stands for all seeds


def architecture_patterns(tables: Mapping[str, pd.DataFrame]) -> Explorer:
    """Choose a study, and a seed or the mean: the share that each layer keeps, and its stage.

    tables: of widths by the name of a study, as `lab.evidence("widths", name)` gives them.
    Raises ConfigError where there is none, or one lacks a column.
    """
    if not tables:
        raise ConfigError('architecture patterns need a table of widths; lab.evidence("widths", '
                          "NAME) gives that of a recorded study.")
    for table in tables.values():
        check_widths(table)
    seeds = sorted({int(seed) for table in tables.values() for seed in table["seed"].unique()})

    def view(study: str, seed: str | int) -> PaperFigure:
        return pattern_figure(tables[study], study, seed)

    return Explorer(view, {
        "study": choice("Study", list(tables)),
        "seed": choice("Network", {"mean of all seeds": MEAN}
                       | {f"seed {seed}": seed for seed in seeds})})


def pattern_figure(frame: pd.DataFrame, study: str = "", seed: str | int = MEAN) -> PaperFigure:
    """Share kept (%) of each layer as a bar, in the order of the forward pass, and of each stage
    as a line over its layers; a panel for channels, channels read and weights each, as far as
    there are any.

    frame: a table of widths. seed: of the network, or "mean", over all seeds with their standard
    deviation and dots.
    """
    check_widths(frame)
    own = frame if seed == MEAN else frame[frame["seed"] == seed]
    if own.empty:
        found = ", ".join(str(known) for known in sorted(frame["seed"].unique()))
        raise ConfigError(f"{study or 'the study'} has no seed {seed}; it has {found}.")
    layers, stages = width_table(own), stage_table(own)
    numbers = layers.assign(kept=layers["mean"] / layers["original"],
                            spread=layers["sd"] / layers["original"])
    units = list(dict.fromkeys(numbers["unit"]))
    several = own["seed"].nunique() > 1
    with paper_style():
        figure = paper_figure(TEXT_WIDTH, 0.75 + 1.5 * len(units))
        grid = figure.subplots(len(units), 1, squeeze=False)
        for axes, unit in zip(grid.flat, units, strict=True):
            _draw(axes, numbers[numbers["unit"] == unit], stages[stages["unit"] == unit],
                  own[own["unit"] == unit], several)
            axes.set_ylabel(f"{NAMES[unit]} kept (%)")
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles[::-1], names[::-1], loc="outside upper right", ncols=2)
        whose = f"mean of {own['seed'].nunique()} seeds" if seed == MEAN else f"seed {seed}"
        remark = "Bars: mean ± sd over seeds. Dots: seeds." if several else "Bars: one network."
        return finish(figure, numbers, caption(numbers, stages, study, whose),
                      str(frame.attrs.get("label", "")), f"{remark} Lines: stages, the layers "
                      "between two poolings or strides, with the size of their feature maps.")


def caption(numbers: pd.DataFrame, stages: pd.DataFrame, study: str, whose: str) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    told = []
    for unit, panel in numbers.groupby("unit", sort=False):
        low, high = (panel.loc[panel["kept"].idxmin()], panel.loc[panel["kept"].idxmax()])
        lines = ", ".join(f"{_side(row.side)} {row.mean:.0%}" for row in
                          stages[stages["unit"] == unit].itertuples())
        told.append(f"{unit} kept from {low['kept']:.0%} ({low['layer']}) to {high['kept']:.0%} "
                    f"({high['layer']}), by stage {lines}")
    return f"{study + ', ' if study else ''}{whose}: {'; '.join(told)}."


def _draw(axes: Axes, panel: pd.DataFrame, stages: pd.DataFrame, own: pd.DataFrame,
          several: bool) -> None:
    places = list(range(1, len(panel) + 1))
    at = dict(zip(panel["layer"], places, strict=True))
    axes.bar(places, 100 * panel["kept"], 0.75, color=palette()[0], label="layer",
             yerr=100 * panel["spread"] if several else None,
             error_kw={"elinewidth": 0.8, "capsize": 2, "ecolor": "0.1"})
    if several:
        axes.scatter(own["layer"].map(at) + 0.22, 100 * own["after"] / own["before"], s=4,
                     color="white", edgecolors="0.1", linewidths=0.5, zorder=3)
    for number, stage in enumerate(stages.itertuples()):
        members = [at[name] for name in panel.loc[panel["side"] == stage.side, "layer"]]
        share = 100 * stage.mean
        axes.plot([min(members) - 0.45, max(members) + 0.45], [share, share],
                  color=palette()[3], linewidth=2, zorder=4,
                  label="stage" if number == 0 else None)
        axes.annotate(_side(stage.side), ((min(members) + max(members)) / 2, 104), ha="center",
                      fontsize=7, color="0.2")
        if number:
            axes.axvline(min(members) - 0.5, color="0.8", linewidth=0.6, zorder=0)
    step = -(-len(panel) // MOST_NAMES)
    axes.set_xticks(places[::step], panel["layer"][::step], rotation=45, ha="right",
                    rotation_mode="anchor", fontsize=7)
    axes.set_xlim(*room_for(len(panel)))
    axes.set_ylim(0, 112)
    axes.set_yticks([0, 25, 50, 75, 100])
    light_grid(axes)


def _side(side: float) -> str:
    return f"{side:g}×{side:g}" if side else "linear"
