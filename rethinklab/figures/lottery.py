"""Winning tickets against random initialisations, at large and small learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect, number_text, table_over
from rethinklab.figures.lines import legend_above, mean_line, spread_remark, with_means
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results
from rethinklab.results.comparisons import lottery_tables

COLUMNS = ("kind", "regime", "lr", "seed", "ratio", "test_accuracy")
REMEDY = "run studies by --method lottery at several targets"
KINDS = {"one-shot": "One-shot", "iterative": "Iterative"}
SERIES = {"ticket": "Winning ticket", "scratch-e": "Random init"}
NAMES = {"ticket": "winning tickets", "scratch-e": "random initialisations"}
FILLS = ("full", "none", "left", "top", "right")  # by learning rate, from the largest


def lottery(frame: pd.DataFrame | Sequence[Results], width: Width = TEXT_WIDTH,
            height: float = 2.5, *, fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Test accuracy (%) of winning tickets and of the same masks with new weights, against the
    share removed (%): a panel for one-shot and one for iterative pruning, a line for each start
    and learning rate of the large network.

    frame: columns kind, regime, lr, seed, ratio and test_accuracy (fractions) and perhaps
    removed, as `results.comparisons.lottery_tables` makes it. Raises ConfigError where a column
    is missing or there are no rows. Source of the form: Liu et al. (ICLR 2019), Figure 7.
    """
    width = style.inches(width, fig)
    frame = table_over(frame, lottery_tables)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].copy()
    numbers["accuracy"], numbers["removed"] = (100 * numbers.pop(c) for c in
                                               ("test_accuracy", "ratio"))
    numbers = with_means(numbers, ["kind", "regime", "lr", "removed"], "accuracy")
    kinds = [kind for kind in KINDS if (numbers["kind"] == kind).any()]
    rates = sorted(numbers["lr"].unique(), reverse=True)
    with style.paper_style():
        figure = style.paper_figure(width, height, fig, note)
        panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
        what = str(frame["removed"].iloc[0]) if "removed" in frame else "share"
        for axes, kind in zip(panels, kinds, strict=True):
            for regime, title in SERIES.items():
                for place, lr in enumerate(rates):
                    own = numbers[(numbers["kind"] == kind) & (numbers["regime"] == regime)
                                  & _equal(numbers["lr"], lr)]
                    look = {**style.regime_look(regime),
                            "linestyle": style.SERIES_LINES[place % len(style.SERIES_LINES)],
                            "fillstyle": FILLS[place % len(FILLS)]}
                    # Drawn where it is empty too, so that each panel has the whole legend.
                    mean_line(axes, own, "removed", look, _series(title, lr))
            axes.set_title(KINDS[kind])
            axes.set_xlabel(f"{what.capitalize()} removed (%)")
            style.light_grid(axes)
        panels[0].set_ylabel("Test accuracy (%)")
        legend_above(figure, panels[0])
        return style.finish(figure, numbers, caption(numbers), frame,
                            spread_remark(numbers["sd"]))


def _equal(values: pd.Series, lr: float) -> pd.Series:
    return values.isna() if pd.isna(lr) else values == lr


def _series(title: str, lr: float) -> str:
    return title if pd.isna(lr) else f"{title}, lr {lr:g}"


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for (kind, lr), own in numbers.groupby(["kind", "lr"], dropna=False, sort=False):
        means = own.drop_duplicates(["regime", "removed"]).pivot(
            index="removed", columns="regime", values="mean")
        if set(SERIES) <= set(means):
            gap = number_text((means["ticket"] - means["scratch-e"]).mean(), "+.2f")
            rate = "" if pd.isna(lr) else f", lr {lr:g}"
            parts.append(f"{gap} points ({KINDS[str(kind)].lower()}{rate})")
    said = (f"Winning tickets minus random initialisations, mean over the shares removed: "
            f"{', '.join(parts)}" if parts else "Test accuracy of "
            + " and ".join(NAMES[r] for r in SERIES
                           if (numbers["regime"] == r).any()) + " by the share removed")
    return f"{said}."
