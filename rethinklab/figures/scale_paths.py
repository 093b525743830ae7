"""The path of each scale through the steps of a method: do those that vanish reach zero?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from rethinklab.figures import style
from rethinklab.figures.inputs import expect
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("method", "step", "scale", "value", "solution")
REMEDY = "note the value of each scale at each step, and the solution that it should reach"


def scale_paths(frame: pd.DataFrame, width: Width = TEXT_WIDTH, height: float = 3.4, *,
                fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """The value of each scale by step, a column of panels a method: above all of them, with
    their solutions as dotted lines, and below the second half of the path of those whose solution
    is zero, enlarged; an open mark shows where a scale becomes exactly zero and stays so.

    frame: columns method, step, scale (a name), value and solution. Raises ConfigError where a
    column is missing or there are no rows.
    """
    width = style.inches(width, fig)
    expect(frame, COLUMNS, REMEDY)
    numbers = frame[list(COLUMNS)].sort_values("step", kind="stable")
    methods = list(dict.fromkeys(frame["method"]))
    vanishing = numbers[numbers["solution"] == 0]
    late = vanishing[vanishing["step"] >= numbers["step"].max() / 2]
    with style.paper_style():
        looks = {name: style.series_look(place) for place, name in enumerate(
            dict.fromkeys(frame["scale"]))}
        figure = style.paper_figure(width, height, fig, note)
        grid = figure.subplots(2, len(methods), squeeze=False, sharex="row", sharey="row")
        for (upper, lower), method in zip(grid.T, methods, strict=True):
            own = numbers[numbers["method"] == method]
            _draw(upper, own, looks)
            _draw(lower, late[late["method"] == method], looks)
            for solution in own["solution"].unique():
                upper.axhline(solution, color="0.5", linestyle=":", linewidth=0.7, zorder=1)
            upper.set_title(method, fontsize=9)
            lower.set_xlabel("Step")
        grid[0, 0].set_ylabel("Scale")
        grid[1, 0].set_ylabel("Scale, near zero")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, title="Scale with the solution", loc="outside right center",
                      title_fontsize=8)
        return style.finish(figure, numbers, caption(numbers), "",
                            "Dotted: solutions. Open marks: exactly zero from there on. Below: the "
                            "second half, scales whose solution is zero.")


def zero_from(path: pd.DataFrame) -> int | None:
    """The step from which on a scale is exactly zero; None where it is not at the end."""
    ordered = path.sort_values("step")
    other = ordered.loc[ordered["value"] != 0, "step"]
    if ordered["value"].iloc[-1] != 0:
        return None
    after = ordered["step"] if other.empty else ordered.loc[ordered["step"] > other.max(), "step"]
    return int(after.iloc[0])


def caption(numbers: pd.DataFrame) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    parts = []
    for method, own in numbers.groupby("method", sort=False):
        paths = [path for _, path in own.groupby("scale", sort=False)
                 if path["solution"].iloc[0] == 0]
        zeros = sum(zero_from(path) is not None for path in paths)
        parts.append(f"{method} leaves {zeros} of {len(paths)} exactly zero")
    return (f"Paths of {numbers['scale'].nunique()} scales over {numbers['step'].max()} steps; of "
            f"those that should vanish, {' and '.join(parts)}.")


def _draw(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, dict[str, Any]]) -> None:
    for name, path in rows.groupby("scale", sort=False):
        look, solution = looks[str(name)], path["solution"].iloc[0]
        axes.plot(path["step"], path["value"], color=look["color"], linestyle=look["linestyle"],
                  linewidth=1.0, label=f"{name}: {solution:+.2f}" if solution else f"{name}: 0")
        start = zero_from(path)
        if start is not None and start > path["step"].min():
            axes.plot([start], [0], look["marker"], color=look["color"], markerfacecolor="white",
                      zorder=4)
    style.light_grid(axes)
