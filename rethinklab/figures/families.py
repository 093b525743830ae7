"""A family of comparisons at once: new weights against inherited ones, a row a method or recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rethinklab.analysis.statistics import compare_family
from rethinklab.errors import ConfigError
from rethinklab.figures import style
from rethinklab.figures.inputs import expect
from rethinklab.figures.lines import legend_above
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.results.groups import joint_label, of_studies
from rethinklab.results.results import Results, paired
from rethinklab.trainers.regimes import find_regime, prunes, regime_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("row", "regime", "against", "seed", "difference", "mean", "low", "high", "n",
           "margin", "family", "verdict")
COMPARISON = ["row", "regime", "against"]
NEW = ("scratch-e", "scratch-b")
REMEDY = "method_family and recipe_family of rethinklab.figures.families make it from results"
ROW, FRAME = 0.3, 0.62  # inches
REACH = 0.64  # of a row, that its marks take up
EDGE = 0.04  # of the span of dots and band, left free at either side


def families(frame: pd.DataFrame, width: Width = TEXT_WIDTH, *, ax: OnAxes = None,
             note: bool = True) -> PaperFigure:
    """Paired differences in test accuracy (percentage points) of a family of comparisons: a row a
    method or a recipe, a mark a regime with new weights with its t interval, seeds as small dots,
    the band of equivalence, and filled marks where the verdict over the whole family is decided.

    frame: as `method_family` or `recipe_family` makes it. Raises ConfigError where a column is
    missing or there are no rows.
    """
    width = style.inches(width, ax)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].reset_index(drop=True)
    names = list(dict.fromkeys(numbers["row"]))
    regimes = list(dict.fromkeys(numbers["regime"]))
    margin = float(numbers["margin"].max())
    tall = ROW * max(1.0, len(regimes) / 2)
    with style.paper_style():
        figure = style.paper_figure(width, FRAME + tall * (len(names) + 0.4), ax, note)
        axes = figure.add_subplot()
        axes.axvspan(-margin, margin, color="0.92", zorder=0, linewidth=0)
        axes.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        for place, regime in enumerate(regimes):
            _marks(axes, numbers[numbers["regime"] == regime], regime, names,
                   REACH * ((place + 0.5) / len(regimes) - 0.5))
        cut = _limit(axes, numbers, margin)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"Test accuracy minus {_other(numbers)} (points)")
        style.light_grid(axes, "x")
        legend_above(figure, axes)
        return style.finish(figure, numbers, caption(numbers), frame,
                            _remark(numbers, margin, cut))


def method_family(studies: Mapping[str, Results], against: str = "finetune",
                  new: Sequence[str] = NEW, margin: float | None = None) -> pd.DataFrame:
    """New weights against one regime with inherited weights in several studies: a row for each
    seed of each comparison, with the columns row (what the study is called), regime, against,
    seed, difference, and of the comparison mean, sd, low, high, n, p_signflip, p_t, p_t_holm,
    p_equivalence, p_equivalence_holm, margin, family and verdict.

    studies: results by the name that their row gets. All comparisons are one family, adjusted by
    Holm's rule; studies that lack the regimes are passed over. margin: of equivalence; without one
    that of the first study. Raises ConfigError where no study can be compared.
    """
    return _family([(name, regime, against, results) for name, results in studies.items()
                    for regime in new], margin)


def recipe_family(results: Results, new: Sequence[str] = NEW,
                  margin: float | None = None) -> pd.DataFrame:
    """New weights against every recipe that trains inherited ones, in one study: as
    `method_family`, a row a recipe."""
    recipes = [regime for regime in results.regimes if prunes(regime) and regime != "pruned"
               and find_regime(regime).start != "new"]
    return _family([(regime_title(recipe), regime, recipe, results) for recipe in recipes
                    for regime in new], margin)


def _family(cells: Sequence[tuple[str, str, str, Results]],
            margin: float | None) -> pd.DataFrame:
    cells = [(row, a, b, results) for row, a, b, results in cells if {a, b} <= set(results.regimes)]
    if not cells:
        raise ConfigError("no study here has both a regime with new weights and the one with "
                          "inherited weights that it is to be compared with.")
    pairs = [(row, a, *paired(results.accuracies(a), results.accuracies(b), a, b))
             for row, a, b, results in cells]
    found = compare_family(pairs, margin=cells[0][3].margin if margin is None else margin)
    parts = []
    for (row, a, b, results), c in zip(cells, found, strict=True):
        gaps = (results.accuracies(a) - results.accuracies(b)).dropna()
        parts.append(pd.DataFrame({
            "row": row, "regime": a, "against": b, "seed": gaps.index,
            "difference": gaps.to_numpy(), "mean": c.mean, "sd": c.sd, "low": c.low,
            "high": c.high, "n": c.n, "p_signflip": c.p_signflip, "p_t": c.p_t,
            "p_t_holm": c.p_t_holm, "p_equivalence": c.p_equivalence,
            "p_equivalence_holm": c.p_equivalence_holm, "margin": c.margin, "family": c.family,
            "verdict": c.verdict}))
    used = list({id(results): results for *_, results in cells}.values())
    return of_studies(pd.concat(parts, ignore_index=True), joint_label(used), used)


def verdict_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of a family, one a row, with rounded text for reading. "Holm p" is that of
    the verdict: of the t test, or of equivalence where that is the verdict."""
    rows = frame.drop_duplicates(COMPARISON)
    equivalent = rows["verdict"] == "equivalent"
    p_holm = rows["p_equivalence_holm"].where(equivalent, rows["p_t_holm"])
    return pd.DataFrame({
        "row": rows["row"].to_list(),
        "comparison": [f"{regime_title(a)} − {regime_title(b)}"
                       for a, b in zip(rows["regime"], rows["against"], strict=True)],
        "n": rows["n"].to_list(),
        "points": [f"{mean:+.2f}" for mean in rows["mean"]],
        "95 % interval": [_interval(low, high)
                          for low, high in zip(rows["low"], rows["high"], strict=True)],
        "t test p": [_p(p) for p in rows["p_t"]],
        "Holm p": [_p(p) for p in p_holm],
        "verdict": [f"{verdict} within {margin:g}" if verdict == "equivalent" else verdict
                    for verdict, margin in zip(rows["verdict"], rows["margin"], strict=True)]})


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    rows = numbers.drop_duplicates(COMPARISON)
    parts = []
    for name, own in rows.groupby("row", sort=False):
        told = ", ".join(f"{regime_title(regime)} {mean:+.2f} ({verdict})" for regime, mean, verdict
                         in zip(own["regime"], own["mean"], own["verdict"], strict=True))
        parts.append(f"{name}: {told}")
    return f"Mean test accuracy minus that of {_other(rows)}, in points: {'; '.join(parts)}."


def _marks(axes: Axes, numbers: pd.DataFrame, regime: str, names: list[str],
           shift: float) -> None:
    """The marks of one regime, named once for the legend."""
    look: dict[str, Any] = style.regime_look(regime)
    axes.plot([], [], linestyle="", label=regime_title(regime), **look)
    for name, own in numbers.groupby("row", sort=False):
        row, c = names.index(str(name)) + shift, own.iloc[0]
        axes.scatter(own["difference"], [row] * len(own), s=7, color=look["color"], alpha=0.6,
                     linewidths=0, zorder=2)
        reach = None if math.isnan(c["low"]) else [[c["mean"] - c["low"]], [c["high"] - c["mean"]]]
        face = "white" if c["verdict"] == "not decided" else look["color"]
        axes.errorbar([c["mean"]], [row], xerr=reach, fmt=look["marker"], color=look["color"],
                      markerfacecolor=face, capsize=2, elinewidth=0.8, zorder=3)


def _limit(axes: Axes, numbers: pd.DataFrame, margin: float) -> bool:
    """Limits from dots and band, so that a wide interval, as of two seeds, does not squeeze all
    else; whether an interval goes on beyond them."""
    near = min(numbers["difference"].min(), -margin)
    far = max(numbers["difference"].max(), margin)
    span = far - near
    low = max(near - span, min(near, numbers["low"].min())) - EDGE * span
    high = min(far + span, max(far, numbers["high"].max())) + EDGE * span
    axes.set_xlim(low, high)
    return bool((numbers["low"] < low).any() or (numbers["high"] > high).any())


def _other(numbers: pd.DataFrame) -> str:
    """What all are compared with."""
    against = set(numbers["against"])
    return regime_title(against.pop()) if len(against) == 1 else "the recipe of the row"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _interval(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def _remark(numbers: pd.DataFrame, margin: float, cut: bool) -> str:
    family = int(numbers["family"].max())
    held = f" by Holm's rule over {family} comparisons" if family > 1 else ""
    return (f"Dots: seeds. Marks: mean with 95 % t interval of one comparison"
            f"{' (cut at the frame)' if cut else ''}; filled: decided{held}, open: not decided. "
            f"Band: equivalence, ±{margin:g} points.")
