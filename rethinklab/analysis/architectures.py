"""Architectures as tables: what layers and stages keep of their widths, over seeds."""

from __future__ import annotations

import pandas as pd

CHANNELS, READ, WEIGHTS = "channels", "read channels", "weights"
UNITS = (CHANNELS, READ, WEIGHTS)  # of what a width counts


def width_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a layer, in order: unit, layer, side, original (its width), and mean and sd over seeds
    of the width that pruning left; a missing sd is one of a single seed.

    frame: columns layer, place, side, seed, before, after and unit, a row a layer and seed.
    Source of the form: Liu et al. (ICLR 2019), Table 7.
    """
    groups = frame.groupby(["unit", "place", "layer"], sort=True)
    table = pd.DataFrame({
        "side": groups["side"].first(), "original": groups["before"].first(),
        "mean": groups["after"].mean(), "sd": groups["after"].std()}).reset_index()
    order = {unit: number for number, unit in enumerate(UNITS)}
    table = table.sort_values(["unit", "place"], key=lambda column: column.map(order)
                              if column.name == "unit" else column)
    return table[["unit", "layer", "side", "original", "mean", "sd"]].reset_index(drop=True)


def stage_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a stage, the layers whose feature maps have one side, largest first: unit, side,
    layers, and mean and sd over seeds of the share that it keeps (mean, sd).

    Of channels the mean share of the layers, as guided designs take it; of weights the share of
    all of the stage's. frame: as for `width_table`.
    """
    rows = []
    for (unit, side, seed), stage in frame.groupby(["unit", "side", "seed"]):
        shares = stage["after"] / stage["before"]
        share = (stage["after"].sum(skipna=False) / stage["before"].sum() if unit == WEIGHTS
                 else shares.mean())
        rows.append({"unit": unit, "side": side, "seed": seed, "layers": stage["place"].nunique(),
                     "share": share})
    groups = pd.DataFrame(rows).groupby(["unit", "side"])
    table = pd.DataFrame({"layers": groups["layers"].max(), "mean": groups["share"].mean(),
                          "sd": groups["share"].std()}).reset_index()
    order = {unit: number for number, unit in enumerate(UNITS)}
    return table.sort_values(["unit", "side"], ascending=[True, False], kind="stable", key=lambda c:
                             c.map(order) if c.name == "unit" else c).reset_index(drop=True)
