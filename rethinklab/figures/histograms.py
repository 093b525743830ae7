"""Histograms of weights: of whole networks side by side, and of single layers over one another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rethinklab.analysis.thin import thin
from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.lines import legend_above, regime_lines
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("network", "layer", "place", "lower", "upper", "share")
REMEDY = "`rethinklab record STUDY` makes it from the networks of a stored study"
MOST_PANELS = 20
SPIKE = 8  # highest bin over one of the ten in a hundred below it: a spike that hides the rest
SPIKY = 0.25  # of the histograms, from which on the axis is logarithmic
FLOOR = 1e-3  # percent: the least that a logarithmic axis shows
PANEL = 1.05  # inches that a panel takes at least
NEAR = 0.1  # of the axis: what captions call near zero


def weights(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
            note: bool = True) -> PaperFigure:
    """Histograms of all convolution weights that live, a panel a network (unpruned, fine-tuned,
    from scratch), on common bins; a diamond marks weights that are exactly zero without a mask.

    frame: columns network (a regime), layer, place, lower, upper, share (a fraction) and perhaps
    live, as `Results.table("weights")` makes it; the rows of layer "all" are drawn. The
    vertical axis is logarithmic where a spike at zero would hide the rest. Raises ConfigError
    where a column or those rows are missing.
    Source of the form: Liu et al. (ICLR 2019), Figure 8.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "weights")
    expect(frame, COLUMNS, REMEDY)
    numbers = in_percent(frame[frame["layer"] == ALL])
    if numbers.empty:
        raise ConfigError("the table of weights has no rows whose layer is 'all', the whole "
                          f"network; {REMEDY}.")
    looks = regime_lines(numbers["network"])
    with style.paper_style():
        rows = math.ceil(len(looks) / max(1, int(width / PANEL)))
        columns = math.ceil(len(looks) / rows)
        figure = style.paper_figure(width, 0.5 + 1.5 * rows, fig, note)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        bottom = scale_shares(grid[0, 0], numbers)
        for axes, (network, look) in zip(grid.flat, looks.items(), strict=False):
            panel = numbers[numbers["network"] == network]
            _fill(axes, panel, look["color"], bottom)
            title = regime_title(network)
            if "live" in panel and not (panel["live"] >= 99.95).all():
                title += f"\n{number_text(panel['live'].iloc[0], '.3g')} % live"
            axes.set_title(title, fontsize=8, pad=3)
            style.light_grid(axes)
        zero_ticks(grid[0, 0], numbers)
        name_axes(figure, grid, len(looks), "Weight", "Share of live weights (%)")
        return style.finish(figure, numbers, weights_caption(numbers), frame,
                            weights_remark(numbers))


def weight_layers(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *,
                  fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Histograms of the convolution weights that live, a panel a layer and a line a network, of at
    most 20 layers spread evenly; each panel has its own horizontal axis.

    frame: as that of `weights`; the rows of single layers are drawn. Raises ConfigError where a
    column or those rows are missing.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "weights")
    expect(frame, COLUMNS, REMEDY)
    numbers = single_layers(frame)
    looks = {network: (regime_title(network),
                       look | {"linestyle": style.SERIES_LINES[place % len(style.SERIES_LINES)]})
             for place, (network, look) in enumerate(regime_lines(numbers["network"]).items())}
    with style.paper_style():
        figure = layer_panels(numbers, looks, width, "Weight", "Share of live weights (%)", fig,
                              note)
        return style.finish(figure, numbers, layers_caption(numbers, count_layers(frame)),
                            frame, "Each panel has its own horizontal axis."
                            + zeros_remark(numbers))


def in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with shares, and shares that live, in percent."""
    shares = [name for name in ("share", "live") if name in frame]
    return frame.assign(**{name: frame[name] * 100 for name in shares})


def single_layers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of at most 20 single layers in their order, in percent. Raises ConfigError where
    there are none."""
    rows = frame[frame["layer"] != ALL].sort_values("place", kind="stable")
    layers = list(dict.fromkeys(rows["layer"]))
    if not layers:
        raise ConfigError(f"the table of this figure has no rows of single layers; {REMEDY}.")
    chosen = thin(layers, MOST_PANELS)
    return in_percent(rows[rows["layer"].isin(chosen)]).reset_index(drop=True)


def count_layers(frame: pd.DataFrame) -> int:
    """Of the networks, those that the table leaves out included."""
    return int(frame["place"].max())


def layer_panels(numbers: pd.DataFrame, looks: Mapping[str, tuple[str, dict[str, Any]]],
                 width: float, x_name: str, y_name: str, fig: OnFigure, note: bool) -> PaperFigure:
    """A panel a layer in which each network is a line over its bins. looks: the name and the look
    of each network, in the order of the legend."""
    layers = list(dict.fromkeys(numbers["layer"]))
    columns = min(len(layers), max(1, int(width / PANEL)))
    rows = math.ceil(len(layers) / columns)
    figure = style.paper_figure(width, 0.6 + 0.95 * rows + 0.5 * (rows == 1), fig, note)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    scale_shares(grid[0, 0], numbers)
    for axes, layer in zip(grid.flat, layers, strict=False):
        panel = numbers[numbers["layer"] == layer]
        for network, (name, look) in looks.items():
            edges, shares, zero = parts(panel[panel["network"] == network])
            if len(shares):
                axes.stairs(shares, edges, baseline=None, color=look["color"], linewidth=0.9,
                            linestyle=look["linestyle"], label=name)
            mark_zero(axes, zero, look["color"])
        axes.set_title(layer if len(layer) <= 16 else f"…{layer[-15:]}", fontsize=7, pad=3)
        axes.tick_params(labelsize=7)
        zero_ticks(axes, panel)
        style.light_grid(axes)
    name_axes(figure, grid, len(layers), x_name, y_name)
    first = grid[0, 0]
    for name, look in looks.values():  # also of networks that lack the first layer
        if name not in first.get_legend_handles_labels()[1]:
            first.plot([], [], color=look["color"], linestyle=look["linestyle"], label=name)
    legend_above(figure, first)
    return figure


def parts(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, float]:
    """Edges and shares of the bins of one histogram, and the share that is exactly zero (NaN where
    that is not in the table)."""
    ordered = rows.sort_values("lower")
    exact = ordered[(ordered["lower"] == 0) & (ordered["upper"] == 0)]
    bins = ordered[np.isfinite(ordered["lower"]) & np.isfinite(ordered["upper"])
                   & (ordered["upper"] > ordered["lower"])]
    edges = np.append(bins["lower"].to_numpy(float), bins["upper"].to_numpy(float)[-1:])
    return edges, bins["share"].to_numpy(float), (float(exact["share"].iloc[0]) if len(exact)
                                                  else math.nan)


def scale_shares(axes: Axes, numbers: pd.DataFrame) -> float:
    """Set the vertical axis that panels share, logarithmic where a spike would hide the rest; its
    lower end."""
    drawn = numbers[np.isfinite(numbers["lower"]) & np.isfinite(numbers["upper"])
                    & (numbers["share"] > 0)]
    top = float(drawn["share"].max()) if len(drawn) else 1.0
    shares = drawn.groupby(["network", "layer"])["share"]
    if (shares.max() > SPIKE * shares.quantile(0.9)).mean() >= SPIKY:
        bottom = max(FLOOR, 10.0 ** math.floor(math.log10(drawn["share"].min())))
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(bottom, top * 2)
        return bottom
    axes.set_ylim(0, top * 1.08)
    return 0.0


def mark_zero(axes: Axes, share: float, colour: Any) -> None:
    """A diamond on a stem at the share of the values that are exactly zero, where there are any."""
    if share > 0:
        axes.plot([0, 0], [axes.get_ylim()[0], share], marker="d", markevery=[1], markersize=3.5,
                  color=colour, markeredgecolor="0.1", markeredgewidth=0.4, linewidth=0.6,
                  zorder=4, clip_on=False)


def zero_ticks(axes: Axes, numbers: pd.DataFrame) -> None:
    """Limits at the ends of the bins, and three ticks: zero and a round number on both sides, or
    on one."""
    finite = numbers[np.isfinite(numbers["lower"]) & np.isfinite(numbers["upper"])]
    low, high = float(finite["lower"].min()), float(finite["upper"].max())
    if not high > low:
        return
    unit = 10.0 ** math.floor(math.log10(0.85 * high))
    tick = float(f"{math.floor(0.85 * high / unit) * unit:.1g}")
    ticks = [-tick, 0.0, tick] if low < 0 else [0.0, tick]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{value:g}".replace("-", "−") for value in ticks])


def name_axes(figure: PaperFigure, grid: np.ndarray, count: int, x_name: str,
              y_name: str) -> None:
    """Hide all but the first `count` panels, number the lowest of each column, and name the
    horizontal axis under the last row, the vertical one once."""
    for axes in list(grid.flat)[count:]:
        axes.set_axis_off()
    for axes in list(grid.flat)[:count][-grid.shape[1]:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(x_name, fontsize=8)
    if grid.size == 1:
        grid[0, 0].set_ylabel(y_name)
    else:
        figure.supylabel(y_name, fontsize=9)


def _fill(axes: Axes, panel: pd.DataFrame, colour: Any, bottom: float) -> None:
    edges, shares, zero = parts(panel)
    if not np.isfinite(shares).any():
        axes.text(0.5, 0.5, "not finite", transform=axes.transAxes, ha="center", fontsize=7)
        return
    shown = np.where(np.isfinite(shares), np.maximum(shares, bottom), np.nan)
    axes.stairs(shown, edges, baseline=bottom, fill=True, color=colour, linewidth=0)
    mark_zero(axes, zero, colour)


def near_zero(rows: pd.DataFrame) -> tuple[float, float]:
    """A magnitude, of a tenth of the axis as far as bins allow, and the share of values within
    it, exact zeros included; NaN where shares are."""
    finite = rows[np.isfinite(rows["lower"]) & np.isfinite(rows["upper"])]
    limit = NEAR * finite["upper"].max()
    inside = finite[(finite["upper"] <= limit * (1 + 1e-9))
                    & (finite["lower"] >= -limit * (1 + 1e-9))]
    return float(inside["upper"].max()), float(inside["share"].sum(skipna=False))


def weights_caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for network in regime_lines(numbers["network"]):
        limit, share = near_zero(numbers[numbers["network"] == network])
        parts.append(f"{regime_title(network)} {number_text(share, '.1f')} %")
    return (f"Share of the live convolution weights that are within {limit:.2g} of zero: "
            f"{', '.join(parts)}.")


def weights_remark(numbers: pd.DataFrame) -> str:
    """How to read the marks, and what the axis leaves out."""
    far = numbers[~np.isfinite(numbers["lower"] + numbers["upper"])]
    beyond = far.groupby("network")["share"].sum(min_count=1).max()
    masked = "live" in numbers and not (numbers["live"] >= 99.95).all()
    text = "Live: not held at zero by a mask. " if masked else ""
    if not math.isnan(beyond):
        text += f"At most {beyond:.1f} % of the weights of a network lie beyond the axis."
    return text.strip() + zeros_remark(numbers)


def zeros_remark(numbers: pd.DataFrame) -> str:
    """What a diamond means, where there is one."""
    exact = numbers[(numbers["lower"] == 0) & (numbers["upper"] == 0)]
    return " Diamonds: exactly zero." if (exact["share"] > 0).any() else ""


def layers_caption(numbers: pd.DataFrame, count: int) -> str:
    """What the figure of layers shows, in a sentence made from its numbers."""
    shares = {key: near_zero(rows)[1] for key, rows
              in numbers.groupby(["layer", "network"], sort=False)}
    known = {key: share for key, share in shares.items() if not math.isnan(share)}
    layers = numbers["layer"].nunique()
    text = f"Histograms of live weights in {layers} of {count} layer{'s' * (count != 1)}"
    if not known:
        return f"{text}, none of them finite."
    (most, one), (least, other) = max(known, key=known.__getitem__), min(known,
                                                                         key=known.__getitem__)
    return (f"{text}: in the tenth of the axis next to zero lie at most {known[most, one]:.1f} % "
            f"({most}, {regime_title(one)}) and at least {known[least, other]:.1f} % "
            f"({least}, {regime_title(other)}).")
