"""Learning curves: accuracy and loss by epoch, a line a regime."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_of
from rethinklab.figures.lines import legend_above, regime_lines
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.trainers.regimes import regime_title

COLUMNS = ("regime", "seed", "epoch", "train_loss", "test_accuracy")
REMEDY = "`rethinklab record STUDY` makes it from the histories of a stored study"
PANELS = {"accuracy": "Test accuracy (%)", "loss": "Training loss"}
MARKS = 6  # on a line


def learning_curves(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, height: float = 2.6,
                    *, fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Test accuracy (%) and training loss (cross-entropy) by epoch of each training: the mean
    over seeds with a band of its standard deviation, and thin lines for single seeds.

    frame: columns regime, seed, epoch, train_loss and test_accuracy (a fraction), as
    `Results.table("histories")` makes it. Epochs that a seed lacks have no mean. Raises
    ConfigError where a column is missing or there are no rows.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "histories")
    expect(frame, COLUMNS, REMEDY)
    numbers = curve_table(frame)
    looks = regime_lines(numbers["regime"])
    last = numbers["epoch"].max()
    room = max(0.5, 0.03 * last)
    with style.paper_style():
        figure = style.paper_figure(width, height, fig, note)
        panels = figure.subplots(1, len(PANELS))
        for axes, (value, title) in zip(panels, PANELS.items(), strict=True):
            for regime, look in looks.items():
                own = numbers[numbers["regime"] == regime].sort_values(["seed", "epoch"])
                for _, line in own.groupby("seed"):
                    axes.plot(line["epoch"], line[value], color=look["color"], linewidth=0.5,
                              alpha=0.45, linestyle=look["linestyle"])
                means = own.dropna(subset=["n"]).drop_duplicates("epoch").sort_values("epoch")
                mean, spread = means[f"{value}_mean"], means[f"{value}_sd"].fillna(0)
                axes.fill_between(means["epoch"], mean - spread, mean + spread, linewidth=0,
                                  color=look["color"], alpha=0.2)
                axes.plot(means["epoch"], mean, label=regime_title(regime), markersize=3.5,
                          markevery=max(1, len(means) // MARKS), markerfacecoloralt="white",
                          **look)
            axes.set_ylabel(title)
            axes.set_xlabel("Epoch")
            axes.set_xlim(1 - room, last + room)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            style.light_grid(axes)
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(numbers), frame,
                      "Thick: mean over seeds; band: ± sd; thin: seeds. Epochs count from the "
                      "start of each training.")


def curve_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with accuracy in percent, and of each epoch n, mean and standard deviation of
    accuracy and loss over the seeds of the regime, NaN where a seed has no such epoch."""
    numbers = frame[list(COLUMNS)].rename(columns={"train_loss": "loss"})
    numbers["accuracy"] = 100 * numbers.pop("test_accuracy")
    groups = numbers.groupby(["regime", "epoch"], sort=False)
    count = groups["seed"].transform("size")
    whole = count == numbers.groupby("regime")["seed"].transform("nunique")
    numbers["n"] = count.where(whole)
    for value in PANELS:
        mean = groups[value].transform(lambda values: values.mean(skipna=False))
        spread = groups[value].transform(lambda values: values.std(skipna=False))
        numbers[f"{value}_mean"], numbers[f"{value}_sd"] = mean.where(whole), spread.where(whole)
    return numbers


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for regime in regime_lines(numbers["regime"]):
        own = numbers[numbers["regime"] == regime].sort_values("epoch")
        ends = own.groupby("seed").tail(1)
        parts.append(f"{regime_title(regime)} {number_text(ends['accuracy'].mean(), '.2f')} % "
                     f"after {own.groupby('seed')['epoch'].max().mean():g}")
    return f"Test accuracy and training loss by epoch; at the end: {', '.join(parts)} epochs."
