"""The scales of batch normalisation before and after sparsity training."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from rethinklab.analysis.thin import thin
from rethinklab.analysis.weights import ALL
from rethinklab.figures import style
from rethinklab.figures.histograms import (
    COLUMNS,
    MOST_PANELS,
    count_layers,
    in_percent,
    layer_panels,
    zeros_remark,
)
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import UNPRUNED

REMEDY = ("`rethinklab record STUDY` makes it from a stored study by a method that acts on scales, "
          "such as slimming")
AFTER = "pruned_from"
WHOLE = "all layers"


def scales(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
           note: bool = True) -> PaperFigure:
    """Histograms of the magnitudes of batch normalisation scales, of the network as a whole and a
    panel a layer: without and with the training in which the method drives scales to zero.

    frame: columns network ("unpruned" or "pruned_from"), layer, place, lower, upper and share (a
    fraction), as `Results.table("scales")` makes it. At most 20 panels, of layers spread
    evenly. Raises ConfigError where a column is missing or there are no rows.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "scales")
    expect(frame, COLUMNS, REMEDY)
    rows = frame.sort_values("place", kind="stable")
    layers = [name for name in dict.fromkeys(rows["layer"]) if name != ALL]
    chosen = [ALL, *thin(layers, MOST_PANELS - 1)] if layers else [ALL]
    rows = in_percent(rows[rows["layer"].isin(chosen)])
    numbers = rows.assign(layer=rows["layer"].replace({ALL: WHOLE})).reset_index(drop=True)
    with style.paper_style():
        looks: dict[str, tuple[str, dict[str, Any]]] = {
            UNPRUNED: ("Unpruned", {"color": style.regime_look(UNPRUNED)["color"],
                                    "linestyle": "--"}),
            AFTER: ("With sparsity training", {"color": style.palette()[3], "linestyle": "-"})}
        looks = {name: look for name, look in looks.items() if name in set(numbers["network"])}
        figure = layer_panels(numbers, looks, width, "Scale |γ|", "Share of scales (%)", fig, note)
        return style.finish(figure, numbers, caption(numbers, count_layers(frame)),
                            frame,
                            "Each panel has its own horizontal axis." + zeros_remark(numbers))


def caption(numbers: pd.DataFrame, count: int) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    whole = numbers[numbers["layer"] == WHOLE]
    text = f"Scales of batch normalisation in {count} layer{'s' * (count != 1)}"
    if whole.empty:
        return f"{text}, by layer."
    parts = [f"{number_text(middle(own), '.2g')} {name}" for network, name in
               ((UNPRUNED, "in the unpruned network"), (AFTER, "with sparsity training"))
               if len(own := whole[whole["network"] == network])]
    return f"{text}: half of them are at most {' and '.join(parts)} in magnitude."


def middle(rows: pd.DataFrame) -> float:
    """The upper end of the bin in which the median lies; NaN where shares are."""
    ordered = rows.sort_values(["upper", "lower"])
    reached = ordered[ordered["share"].cumsum(skipna=False) >= 50]
    return float(reached["upper"].iloc[0]) if len(reached) else math.nan
