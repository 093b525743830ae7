"""What goes with a filter: its row in one layer, and a column in the layer that reads it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import nn

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.pruners import Plan

HEIGHT = 2.9  # inches
MOST_CHANNELS = 128  # that are drawn one by one


def surgery(model: nn.Module, plan: Plan, layers: tuple[str, str] | None = None,
            width: Width = TEXT_WIDTH, *, fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Two layers as matrices, a square for each kernel, the darker the larger its L1-norm: a filter
    that goes is a row of the first, and with it goes the column of the second that reads it.

    model: the unpruned network. layers: names of two convolutions of which the second reads the
    first; by default the first two that the plan has. Raises ConfigError for others.
    """
    width = style.inches(width, fig)
    names = layers or tuple(plan.widths)[:2]
    matrices = _matrices(model, plan, names)
    keep = [set(plan.keep.get(name, range(plan.widths[name]))) for name in names]
    gone = [[i for i in range(plan.widths[name]) if i not in kept]
            for name, kept in zip(names, keep, strict=True)]
    numbers = _numbers(names, matrices, gone)
    with style.paper_style():
        figure = style.paper_figure(width, HEIGHT, fig, note)
        panels = figure.subplots(1, 2, width_ratios=[max(3, m.shape[1]) for m in matrices])
        cut, following = style.palette()[3], style.palette()[0]
        for axes, name, norms in zip(panels, names, matrices, strict=True):
            axes.pcolormesh(norms, cmap="Greys", edgecolors="white", linewidth=0.2)
            axes.set(xlabel="channels that are read", ylabel="filters", xticks=[], yticks=[],
                     title=f"{name}: {len(norms)} filters")
            axes.set_aspect("equal", anchor="N")
            axes.invert_yaxis()
        for axes, norms, rows in zip(panels, matrices, gone, strict=True):
            _cross_out(axes, [((0, row), norms.shape[1], 1) for row in rows], cut)
        _cross_out(panels[1], [((column, 0), 1, len(matrices[1])) for column in gone[0]], following)
        for index in gone[0][:1]:  # one arrow stands for all
            panels[1].add_artist(ConnectionPatch(
                (matrices[0].shape[1], index + 0.5), (index + 0.5, 0), "data", "data",
                axesA=panels[0], axesB=panels[1], arrowstyle="-|>", color=following, linewidth=1,
                shrinkA=2, shrinkB=2))
        shares = [left / all_ for left, all_ in zip(
            numbers["kernels_after"], numbers["kernels_before"], strict=True)]
        return style.finish(figure, numbers, (
            f"{len(gone[0])} of {len(matrices[0])} filters of {names[0]} go, and the columns of "
            f"{names[1]} that read them: {shares[0]:.0%} of the weights of {names[0]} stay, and "
            f"{shares[1]:.0%} of those of {names[1]}, which loses {len(gone[1])} of "
            f"{len(matrices[1])} filters itself."), f"{plan.method}, target {plan.target}",
            "Orange: filters that are cut. Blue: columns that go with them. Darker: a "
            "kernel with a larger L1-norm.")


def _matrices(model: nn.Module, plan: Plan, names: tuple[str, ...]) -> list[Any]:
    """L1-norms of the kernels of both layers, (filters, channels)."""
    modules = dict(model.named_modules())
    for name in names:
        if not isinstance(modules.get(name), nn.Conv2d) or name not in plan.widths:
            raise ConfigError(f"{name!r} is no convolution of the plan; it has "
                              f"{', '.join(plan.widths)}.")
    matrices = [modules[name].weight.detach().abs().sum((2, 3)).cpu().numpy() for name in names]
    if len(matrices) != 2 or matrices[1].shape[1] != matrices[0].shape[0]:
        raise ConfigError(f"of the layers {', '.join(names)} the second does not read the first; "
                          "name two that follow each other.")
    if max(map(max, (matrix.shape for matrix in matrices))) > MOST_CHANNELS:
        raise ConfigError(f"the layers {' and '.join(names)} have more than {MOST_CHANNELS} "
                          "channels, too many to draw one by one; take narrower ones.")
    return matrices


def _cross_out(axes: Axes, boxes: list[tuple[tuple[int, int], int, int]],
               colour: tuple[float, float, float]) -> None:
    for corner, wide, high in boxes:
        axes.add_patch(Rectangle(corner, wide, high, facecolor=(*colour, 0.45), edgecolor=colour,
                                 linewidth=0.5))


def _numbers(names: tuple[str, ...], matrices: list[Any], gone: list[list[int]]) -> pd.DataFrame:
    """A row a layer: layer, filters, filters_gone, channels, channels_gone, and the kernels before
    and after."""
    rows = []
    for name, matrix, cut, read in zip(names, matrices, gone, ([], gone[0]), strict=True):
        filters, channels = matrix.shape
        rows.append({"layer": name, "filters": filters, "filters_gone": len(cut),
                     "channels": channels, "channels_gone": len(read),
                     "kernels_before": filters * channels,
                     "kernels_after": (filters - len(cut)) * (channels - len(read))})
    return pd.DataFrame(rows)
