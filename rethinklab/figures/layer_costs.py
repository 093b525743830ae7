"""Where the cost of a network sits: the share of parameters and multiply-adds of each layer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width

MOST_NAMES = 4.5  # layers in an inch of width, whose names fit side by side
PARTS = (("params", "Parameters", 0, ""), ("macs", "MACs", 1, "///"))


def layer_costs(costs: Mapping[str, tuple[int, int]], label: str = "", width: Width = TEXT_WIDTH,
                height: float = 2.3, *, ax: OnAxes = None, note: bool = True) -> PaperFigure:
    """Share (%) of the parameters and of the multiply-adds that each layer has, a pair of bars a
    layer, in the order given.

    costs: parameters and multiply-adds by layer, in the order of the forward pass. label: what the
    foot says about the network. Raises ConfigError where there is no layer, or no cost of a kind.
    """
    width = style.inches(width, ax)
    numbers = pd.DataFrame([(name, *pair) for name, pair in costs.items()],
                           columns=["layer", "params", "macs"])
    for column, title, _, _ in PARTS:
        total = numbers[column].sum()
        if not total > 0:
            raise ConfigError(f"the layers have no {title.lower() if column == 'params' else title}"
                              "; give {layer: (parameters, multiply-adds)} of a network's layers.")
        numbers[f"{column}_share"] = 100 * numbers[column] / total
    places = range(1, len(numbers) + 1)
    with style.paper_style():
        figure = style.paper_figure(width, height, ax, note)
        axes = figure.add_subplot()
        for column, title, colour, hatch in PARTS:
            shift = -0.2 if column == "params" else 0.2
            axes.bar([place + shift for place in places], numbers[f"{column}_share"], 0.4,
                     color=style.palette()[colour], hatch=hatch, edgecolor="white", linewidth=0.2,
                     label=title)
        if len(numbers) <= MOST_NAMES * width:
            axes.set_xticks(list(places), numbers["layer"], rotation=45, ha="right",
                            rotation_mode="anchor", fontsize=7)
            axes.set_xlabel("Layer")
        else:
            axes.set_xlabel("Layer, by number in the order of the forward pass")
        axes.set_xlim(0.4, len(numbers) + 0.6)
        axes.set_ylabel("Share of the network (%)")
        style.light_grid(axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return style.finish(figure, numbers, caption(numbers), label)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    first = numbers.iloc[: (len(numbers) + 1) // 2]
    most = {column: numbers.loc[numbers[column].idxmax()] for column in ("params", "macs")}
    return (f"Of {len(numbers)} layers the first {len(first)} have {first['macs_share'].sum():.0f} "
            f"% of the MACs and {first['params_share'].sum():.0f} % of the parameters; most MACs "
            f"are in {most['macs']['layer']} ({most['macs']['macs_share']:.0f} %), most "
            f"parameters in {most['params']['layer']} ({most['params']['params_share']:.0f} %).")
