"""What each stage of a network keeps: how far from uniform an architecture is."""

from __future__ import annotations

import pandas as pd

from rethinklab.analysis.architectures import stage_table
from rethinklab.figures import style
from rethinklab.figures.inputs import table_of
from rethinklab.figures.layer_widths import NAMES, check_widths
from rethinklab.figures.lines import spread_remark
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.results import Results

LEGEND_COLUMN = 1.7  # inches
DODGE = 0.5  # of the distance between stages, over which series are spread


def stage_ratios(frame: pd.DataFrame | Results, width: Width = TEXT_WIDTH, *, fig: OnFigure = None,
                 note: bool = True) -> PaperFigure:
    """Share kept (%) of each stage, the layers whose feature maps have one size: mean, standard
    deviation and every seed; a line a study, and a panel for channels, channels read and weights
    each, as far as there are any.

    frame: as `Results.table("widths")` makes it; of several studies
    together with a column study. Raises ConfigError where a column or every width is missing.
    Source of the form: Liu et al. (ICLR 2019), the appendix's tables of kept ratios by stage.
    """
    width = style.inches(width, fig)
    frame = table_of(frame, "widths")
    check_widths(frame)
    given = frame if "study" in frame else frame.assign(study="")
    studies = list(dict.fromkeys(given["study"]))
    numbers = pd.concat([stage_table(given[given["study"] == study]).assign(study=study)
                         for study in studies], ignore_index=True)
    seeds = pd.concat([
        stage_table(part).assign(study=study) for (study, _), part
        in given.groupby(["study", "seed"], sort=False)], ignore_index=True)
    units = [unit for unit in NAMES if unit in set(numbers["unit"])]
    with style.paper_style():
        figure = style.paper_figure(width, 0.5 + 1.9 * len(units), fig, note)
        grid = figure.subplots(len(units), 1, squeeze=False, sharey=True)
        for axes, unit in zip(grid.flat, units, strict=True):
            panel, dots = (table[table["unit"] == unit] for table in (numbers, seeds))
            places = {side: place for place, side in
                      enumerate(sorted(panel["side"].unique(), reverse=True))}
            for number, study in enumerate(studies):
                aside = DODGE * ((number + 0.5) / len(studies) - 0.5)
                look = style.series_look(number)
                line = panel[panel["study"] == study]
                own = dots[dots["study"] == study]
                axes.scatter(own["side"].map(places) + aside, own["mean"] * 100, s=4,
                             color=look["color"], marker=look["marker"], linewidths=0, zorder=3)
                axes.errorbar(line["side"].map(places) + aside, line["mean"] * 100,
                              yerr=line["sd"] * 100, capsize=2, markerfacecolor="white",
                              label=study, elinewidth=0.8, **look)
            axes.set_xticks(list(places.values()), [
                f"{side:g}×{side:g}" if side else "linear" for side in places])
            axes.set_xlim(-0.5, len(places) - 0.5)
            axes.set_ylabel(f"{NAMES[unit]} kept (%)")
            style.light_grid(axes)
        grid[0, 0].set_ylim(-4, 104)
        grid.flat[-1].set_xlabel("Stage, by the size of its feature maps (pixels)")
        if any(studies):
            handles = {label: handle for axes in grid.flat
                       for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
            longest = max(map(len, handles)) * 0.06 + 0.45
            figure.legend(list(handles.values()), list(handles), loc="outside upper left",
                          ncols=max(1, int(width / max(longest, LEGEND_COLUMN / 2))),
                          handlelength=2.6)
        return style.finish(figure, numbers[["study", "unit", "side", "layers", "mean", "sd"]],
                            caption(numbers), frame,
                            spread_remark(numbers["sd"], "Dots: seeds. Open marks:"))


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    known = numbers.dropna(subset="mean")
    parts = []
    for (study, unit), line in known.groupby(["study", "unit"], sort=False):
        least, most = line.loc[line["mean"].idxmin()], line.loc[line["mean"].idxmax()]
        name = f"{study}: " if study else ""
        to = "" if len(line) == 1 else f" to {most['mean']:.0%} in {_called(most['side'])}"
        parts.append(f"{name}{least['mean']:.0%} of the {unit} in {_called(least['side'])}{to}")
    return f"Kept by stage, {'; '.join(parts)}."


def _called(side: float) -> str:
    return f"{side:g}×{side:g} maps" if side else "linear layers"
