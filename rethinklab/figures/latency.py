"""MACs against measured latency: does a smaller network take less time?"""

from __future__ import annotations

import math

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, table_of
from rethinklab.figures.lines import legend_above
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import UNPRUNED

COLUMNS = ("network", "seed", "batch", "macs", "latency")
REMEDY = "`rethinklab record STUDY` measures the networks of a stored study"
PANEL = 1.5  # inches
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))


def latency(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, height: float = 2.5, *,
            fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Median latency (milliseconds of a batch) against the multiply-adds of one image: each
    network a mark, a panel a batch size, and the line on which time would fall as MACs do.

    frame: columns network ("unpruned" or "pruned"), seed, batch (images), macs and latency, as
    `Results.table("latency")` makes it. Raises ConfigError where a column is missing or there
    are no rows.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "latency")
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].sort_values(["batch", "macs"]).reset_index(drop=True)
    largest = numbers["macs"].max()
    size, letter = next(((s, name) for s, name in UNITS if largest >= s), UNITS[-1])
    batches = list(numbers["batch"].unique())
    columns = max(1, min(len(batches), int(width / PANEL)))
    rows = math.ceil(len(batches) / columns)
    with style.paper_style():
        figure = style.paper_figure(width, height * rows, fig, note)
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in panels[len(batches):]:
            axes.set_axis_off()
        for axes, batch in zip(panels, batches, strict=False):
            given = numbers[numbers["batch"] == batch]
            start = given.loc[given["network"] == UNPRUNED, ["macs", "latency"]].mean()
            if start.notna().all():
                axes.plot([0, start["macs"] / size], [0, start["latency"]], color="0.5",
                          linestyle="--", linewidth=0.9, label="proportional to MACs", zorder=1)
            for network in (UNPRUNED, "pruned"):
                own = given[given["network"] == network]
                if own.empty:
                    continue
                axes.scatter(own["macs"] / size, own["latency"], s=22, linewidths=0.3, zorder=3,
                             edgecolors="white", label=network.capitalize(),
                             **style.regime_look(network))
            axes.set_xlim(0, 1.1 * largest / size)
            top = given["latency"].max()
            axes.set_ylim(0, 1.15 * top if top > 0 else 1)
            axes.set_title(images(batch))
            axes.set_xlabel(f"MACs ({letter})" if letter else "MACs")
            axes.set_ylabel("Latency (ms)")
            style.light_grid(axes, "both")
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(numbers), frame,
                            "MACs of one image. Marks: networks, median of repeated passes.")


def images(batch: int) -> str:
    """A batch size in words."""
    return f"{batch} image" if batch == 1 else f"{batch} images"


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for batch, rows in numbers.groupby("batch"):
        means = rows.groupby("network")[["macs", "latency"]].mean()
        called = images(batch)
        if means["latency"].isna().any():
            parts.append(f"not measured for {called}")
        elif {UNPRUNED, "pruned"} <= set(means.index):
            shares = means.loc["pruned"] / means.loc[UNPRUNED]
            parts.append(f"with {shares['macs']:.0%} of the MACs the pruned networks take "
                         f"{shares['latency']:.0%} of the time for {called}")
        else:
            network, only = next(means.iterrows())
            parts.append(f"the {network} network takes {only['latency']:.2f} ms for {called}")
    return f"MACs against measured latency: {'; '.join(parts)}."
