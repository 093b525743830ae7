"""Linear mode connectivity: what lies between two trained networks."""

from __future__ import annotations

import pandas as pd

from rethinklab.analysis.connectivity import barrier as height_of
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.lines import legend_above
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results

COLUMNS = ("pair", "seed", "alpha", "loss", "error")
REMEDY = "`rethinklab record STUDY` makes it from the networks of a stored study"
PANELS = {"error": "Test error (%)", "loss": "Test loss"}


def barrier(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, height: float = 2.5, *,
            fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Test error (%) and loss (cross-entropy) along the straight line between the weights of two
    networks: the mean over seeds of each pair, and thin lines for single seeds.

    frame: columns pair, seed, alpha (0 the first network, 1 the second), loss and error (a
    fraction), as `Results.table("barrier")` makes it. Raises ConfigError where a column is
    missing, there are no rows, or a line lacks an end. Source: Frankle et al. (ICML 2020).
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "barrier")
    expect(frame, COLUMNS, REMEDY)
    numbers = barrier_table(frame)
    with style.paper_style():
        figure = style.paper_figure(width, height, fig, note)
        panels = figure.subplots(1, len(PANELS))
        for axes, (value, title) in zip(panels, PANELS.items(), strict=True):
            for place, (pair, own) in enumerate(numbers.groupby("pair", sort=False)):
                look = style.series_look(place)
                for _, line in own.groupby("seed"):
                    axes.plot(line["alpha"], line[value], linewidth=0.5, alpha=0.45,
                              color=look["color"], linestyle=look["linestyle"])
                means = own.drop_duplicates("alpha").sort_values("alpha")
                axes.plot(means["alpha"], means[f"{value}_mean"], label=pair, markersize=3.5,
                          markerfacecolor="white", **look)
            axes.set_ylabel(title)
            axes.set_xlabel(r"Place $\alpha$ on the line")
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            style.light_grid(axes)
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(numbers), frame,
                      "α = 0: the first network, 1: the second. Thick: mean over seeds; thin: "
                      "seeds.")


def barrier_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with error in percent, the mean of error and loss over seeds at each place, and
    the barrier of each line in both."""
    numbers = frame[list(COLUMNS)].sort_values(["seed", "alpha"], kind="stable")
    order = {pair: place for place, pair in enumerate(frame["pair"].drop_duplicates())}
    numbers = numbers.sort_values("pair", key=lambda names: names.map(order), kind="stable")
    numbers["error"] = 100 * numbers["error"]
    for value in PANELS:
        numbers[f"{value}_mean"] = numbers.groupby(["pair", "alpha"])[value].transform(
            lambda values: values.mean(skipna=False))
    lines = []
    for (pair, seed), line in numbers.groupby(["pair", "seed"], sort=False):
        try:
            heights = {f"{value}_barrier": height_of(list(line["alpha"]), list(line[value]))
                       for value in PANELS}
        except ConfigError as error:
            raise ConfigError(f"{pair}, seed {seed}: {error}") from error
        lines.append(line.assign(**heights))
    return pd.concat(lines)


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    heights = numbers.drop_duplicates(["pair", "seed"]).groupby("pair", sort=False)
    parts = [f"{pair} {number_text(own['error_barrier'].mean(), '.2f')} points "
             f"(n = {own['error_barrier'].count()})" for pair, own in heights]
    return f"Mean barrier of the test error between two networks: {', '.join(parts)}."
