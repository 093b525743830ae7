"""Which filters go: the sorted scores of each layer, with those below the cut marked."""

from __future__ import annotations

import math

import pandas as pd
from torch import nn

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.pruners import ChannelPruner, Plan, make_pruner

COLUMNS = 5


def scores(model: nn.Module, plan: Plan, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
           note: bool = True) -> PaperFigure:
    """Filter scores of each planned layer by the plan's method, in falling order and divided by
    the largest of the layer; the filters that the plan cuts are crosses.

    model: the unpruned network that the plan was made from.
    Source of the form: Li et al. (ICLR 2017), Figure 2a.
    """
    width = style.inches(width, fig)
    numbers = score_table(model, plan)
    columns = min(COLUMNS, len(plan.widths))
    rows = math.ceil(len(plan.widths) / columns)
    with style.paper_style():
        figure = style.paper_figure(width, 0.55 + 1.0 * rows, fig, note)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        colours = style.palette()
        for axes, (name, layer) in zip(grid.flat, numbers.groupby("layer", sort=False),
                                       strict=False):
            share = (layer["rank"] - 0.5) / len(layer)
            cut = ~layer["kept"]
            axes.plot(share, layer["score"], color="0.8", linewidth=0.7, zorder=1)
            axes.scatter(share[~cut], layer["score"][~cut], s=7, color=colours[0], linewidths=0,
                         label="kept", zorder=2)
            axes.scatter(share[cut], layer["score"][cut], s=9, color=colours[1], marker="x",
                         linewidths=0.8, label="cut", zorder=2)
            axes.set_title(f"{name}: {len(layer)} to {int((~cut).sum())}", fontsize=7, pad=3)
            axes.tick_params(labelsize=7)
        for axes in list(grid.flat)[len(plan.widths):]:
            axes.set_axis_off()
        for axes in list(grid.flat)[:len(plan.widths)][-columns:]:
            axes.tick_params(labelbottom=True)  # the lowest panel of each column
            axes.set_xlabel("Rank / filters", fontsize=8)
        grid[0, 0].set(xlim=(0, 1), ylim=(0, 1.08), xticks=[0, 0.5, 1],
                       xticklabels=["0", "0.5", "1"], yticks=[0, 0.5, 1])
        figure.supylabel("Score / largest", fontsize=9)
        handles = {label: handle for axes in grid.flat
                   for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=2,
                      markerscale=1.6, handletextpad=0.1)
        return style.finish(figure, numbers, caption(numbers),
                            f"{plan.method}, target {plan.target}",
                            "Rank: place of the filter in its layer, from the largest score, over "
                            "the number of filters.")


def score_table(model: nn.Module, plan: Plan) -> pd.DataFrame:
    """A row a filter: layer, filter (index), rank (1 the largest), score over the layer's largest,
    and whether the plan keeps it."""
    pruner = make_pruner(plan.method, plan.target)
    if not isinstance(pruner, ChannelPruner) or type(pruner).score is ChannelPruner.score:
        raise ConfigError(f"method {plan.method} gives single layers no scores that could be "
                          "drawn; draw its plan with figures.widths.")
    parts = []
    for name, kept in plan.keep.items():
        values = pruner.score_of(name, model.get_submodule(name)).detach().cpu().double()
        order = values.argsort(descending=True, stable=True)
        parts.append(pd.DataFrame({
            "layer": name, "filter": order.tolist(), "rank": range(1, len(order) + 1),
            "score": (values[order] / values.max()).tolist(),
            "kept": [index in set(kept) for index in order.tolist()]}))
    return pd.concat(parts, ignore_index=True)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    lowest = numbers.groupby("layer", sort=False)["score"].min()
    return (f"Sorted filter scores of {len(lowest)} layers, {int((~numbers['kept']).sum()):,} of "
            f"{len(numbers):,} filters cut; the smallest score over the largest is "
            f"{lowest.max():.2f} in {lowest.idxmax()} and {lowest.min():.2f} in "
            f"{lowest.idxmin()}.")
