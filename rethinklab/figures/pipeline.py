"""The question as a picture: train, prune and fine-tune, or train the pruned architecture anew."""

from __future__ import annotations

import pandas as pd
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnAxes, PaperFigure, Width
from rethinklab.trainers.regimes import UNPRUNED

HEIGHT = 1.7  # inches
SIDE, TALL = 0.27, 0.38  # of a box, as shares of the width and of the height
COLUMNS, ROWS = (0.145, 0.48, 0.855), (0.8, 0.2)  # middles, as such shares
STAGES = {  # column, row, text, and the regime whose colour it has
    "train": (0, 0, "Train a\nlarge network", UNPRUNED),
    "prune": (1, 0, "Prune it", UNPRUNED),
    "fine-tune": (2, 0, "Fine-tune the\ninherited weights", "finetune"),
    "from scratch": (2, 1, "Train the pruned\narchitecture\nfrom scratch", "scratch-e"),
}
ARROWS = {  # what is handed on
    ("train", "prune"): "weights and architecture",
    ("prune", "fine-tune"): "inherited weights, pruned architecture",
    ("prune", "from scratch"): "pruned architecture only",
    ("fine-tune", "from scratch"): "compared",
}


def pipeline(frame: pd.DataFrame | None = None, width: Width = TEXT_WIDTH, *, ax: OnAxes = None,
             note: bool = True) -> PaperFigure:
    """The three stages of pruning, and what the study sets against the last of them.

    A schematic: `frame` is not read. `numbers` lists the stages, and the arrows between them with
    what they hand on. Source of the form: Liu et al. (ICLR 2019), Figure 1.
    """
    width = style.inches(width, ax)
    size = 8 if width >= 4.5 else 7
    with style.paper_style():
        figure = style.paper_figure(width, HEIGHT, ax, note)
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        for column, row, text, regime in STAGES.values():
            middle = (COLUMNS[column], ROWS[row])
            colour = style.regime_look(regime)["color"]
            axes.add_patch(FancyBboxPatch(
                (middle[0] - SIDE / 2, middle[1] - TALL / 2), SIDE, TALL, facecolor=(*colour, 0.15),
                edgecolor=colour, linewidth=1, boxstyle="round,pad=0,rounding_size=0.03"))
            axes.text(*middle, text, ha="center", va="center", fontsize=size)
        for start, end in ARROWS:
            axes.add_patch(_arrow(start, end))
        axes.text(COLUMNS[1] + 0.015, ROWS[1] + 0.03, "architecture\nonly", style="italic",
                  va="bottom", fontsize=size - 0.5)
        axes.text(COLUMNS[2] + 0.015, sum(ROWS) / 2, "compared", style="italic", va="center",
                  fontsize=size - 0.5)
        axes.text(COLUMNS[0], ROWS[1], "Inherited weights\nor architecture?", ha="center",
                  va="center", fontsize=size, weight="bold")
        return style.finish(figure, _table(), (
            "A schematic: a large network is trained, pruned and fine-tuned; beside it the pruned "
            "architecture alone is trained from scratch, and the two are compared."),
            "Schematic after Liu et al. (ICLR 2019), Figure 1.")


def _arrow(start: str, end: str) -> FancyArrowPatch:
    """To the box on the right, to the one below (both ways), or down and round the corner."""
    (column, row), (to_column, to_row) = STAGES[start][:2], STAGES[end][:2]
    tail, tip = (COLUMNS[column], ROWS[row]), (COLUMNS[to_column], ROWS[to_row])
    style, line, bend = "-|>", "-", "arc3"
    if row == to_row:
        tail, tip = (tail[0] + SIDE / 2, tail[1]), (tip[0] - SIDE / 2, tip[1])
    elif column == to_column:
        tail, tip = (tail[0], tail[1] - TALL / 2), (tip[0], tip[1] + TALL / 2)
        style = "<|-|>"
    else:
        tail, tip = (tail[0], tail[1] - TALL / 2), (tip[0] - SIDE / 2, tip[1])
        line, bend = "--", "angle,angleA=-90,angleB=0,rad=4"
    return FancyArrowPatch(tail, tip, arrowstyle=style, mutation_scale=9, linewidth=1, shrinkA=1,
                           shrinkB=1, color="0.25", linestyle=line, connectionstyle=bend)


def _table() -> pd.DataFrame:
    stages = [{"what": "stage", "name": name, "from": "", "to": "",
               "text": text.replace("\n", " ")} for name, (_, _, text, _) in STAGES.items()]
    arrows = [{"what": "arrow", "name": "", "from": start, "to": end, "text": text}
              for (start, end), text in ARROWS.items()]
    return pd.DataFrame(stages + arrows)
