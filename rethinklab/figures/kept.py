"""Which channels several plans keep of the same network, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import nn

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.layer_errors import method_looks
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.pruners import Plan
from rethinklab.pruners.scores import channel_l1

COLUMNS = 2  # of panels
ROW, FRAME = 0.11, 0.24  # inches: of a plan, and around a panel


def kept(model: nn.Module, plans: Mapping[str, Plan], width: Width = TEXT_WIDTH, *,
         fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """A panel for each layer that a plan cuts, a row in it for each plan: the channels that stay
    in colour, those that go white, from the largest L1-norm of their filters to the smallest.

    model: the unpruned network that the plans were made from. plans: by the name to print.
    Raises ConfigError where nothing is cut, or the plans are for different networks.
    """
    width = style.inches(width, fig)
    numbers = kept_table(model, plans)
    layers = list(dict.fromkeys(numbers["layer"]))
    columns = min(COLUMNS, len(layers))
    rows = math.ceil(len(layers) / columns)
    with style.paper_style():
        figure = style.paper_figure(width, 0.1 + rows * (FRAME + ROW * len(plans)), fig, note)
        grid = figure.subplots(rows, columns, squeeze=False)
        looks = method_looks(list(plans))
        for axes, name in zip(grid.flat, layers, strict=False):
            own = numbers[numbers["layer"] == name]
            picture = np.ones((len(plans), int(own["rank"].max()), 3))
            for row, method in enumerate(plans):
                stay = own.loc[(own["method"] == method) & own["kept"], "rank"] - 1
                picture[row, stay] = looks[method]["color"]
            axes.pcolormesh(picture, edgecolors="0.75", linewidth=0.3)
            axes.set_yticks(np.arange(len(plans)) + 0.5, list(plans), fontsize=7)
            axes.set_xticks([])
            axes.tick_params(length=0)
            axes.invert_yaxis()
            axes.set_title(f"{name}: {picture.shape[1]} channels", fontsize=7, pad=2)
        for axes in list(grid.flat)[len(layers):]:
            axes.set_axis_off()
        targets = ", ".join(dict.fromkeys(str(plan.target) for plan in plans.values()))
        return style.finish(figure, numbers, caption(numbers), f"target {targets}",
                      "Coloured: kept. Channels stand from the largest L1-norm of their filters "
                      "(left) to the smallest.")


def kept_table(model: nn.Module, plans: Mapping[str, Plan]) -> pd.DataFrame:
    """A row for each channel of a layer that is cut, and each plan: layer, channel (index), rank
    (1 the largest L1-norm), method (the plan's name here), kept."""
    widths = [dict(plan.widths) for plan in plans.values()]
    cut = [name for name, width in (widths[0].items() if widths else ())
           if any(len(plan.keep.get(name, ())) < width for plan in plans.values())]
    if not cut or any(other != widths[0] for other in widths):
        raise ConfigError("the channels kept can be drawn of plans that cut channels, all for the "
                          "same layers of one network; give {name: plan}.")
    parts = []
    for name in cut:
        norms = channel_l1(model.get_submodule(name)).cpu()
        order = norms.argsort(descending=True, stable=True).tolist()
        parts += [pd.DataFrame({"layer": name, "channel": order, "rank": range(1, len(order) + 1),
                                "method": method,
                                "kept": [index in set(plan.keep[name]) for index in order]})
                  for method, plan in plans.items()]
    return pd.concat(parts, ignore_index=True)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    wide = numbers.pivot(index=["layer", "channel"], columns="method", values="kept")
    first, *others = dict.fromkeys(numbers["method"])
    total = int(wide[first].sum())
    parts = [f"{method} keeps {int((wide[first] & wide[method]).sum()):,}" for method in others]
    shared = f"; of these {', '.join(parts)}" if parts else ""
    return (f"Of {len(wide):,} channels in {numbers['layer'].nunique()} layers {first} keeps "
            f"{total:,}{shared}.")
