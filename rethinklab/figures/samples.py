"""What the images look like: a grid of training images under their class names."""

from __future__ import annotations

import pandas as pd
import torch

from rethinklab.data import ImageData
from rethinklab.figures import style
from rethinklab.figures.style import TEXT_WIDTH, OnFigure, PaperFigure, Width
from rethinklab.seeds import generator


def samples(data: ImageData, rows: int = 2, columns: int = 10, seed: int = 0,
            width: Width = TEXT_WIDTH, *, fig: OnFigure = None, note: bool = True) -> PaperFigure:
    """Training images drawn with `seed`, the classes taking turns; `numbers` has their indices.

    With as many columns as classes, each column shows one class.
    """
    width = style.inches(width, fig)
    labels = data.train.labels.cpu()
    order = torch.randperm(len(labels), generator=generator(seed, "samples"))
    members = {label: order[labels[order] == label].tolist() for label in labels.unique().tolist()}
    present = list(members)
    numbers = []
    for place in range(rows * columns):
        turn, which = divmod(place, len(present))
        own = members[present[which]]
        numbers.append({"row": place // columns, "column": place % columns,
                        "index": own[turn % len(own)], "class": data.classes[present[which]]})
    with style.paper_style():
        figure = style.paper_figure(width, rows * (width / columns + 0.17), fig, note)
        grid = figure.subplots(rows, columns, squeeze=False)
        for cell in numbers:
            axes = grid[cell["row"], cell["column"]]
            pixels = data.train.pixels[cell["index"]].cpu().movedim(0, -1).numpy()
            axes.imshow(pixels if pixels.shape[-1] == 3 else pixels[..., 0], cmap="gray",
                        interpolation="nearest")
            axes.set_title(cell["class"], pad=2, fontsize=8)
            axes.set_axis_off()
        caption = (f"{rows * columns} training images of {data.name}, each under the name of its "
                   f"class ({data.num_classes} classes).")
        return style.finish(figure, pd.DataFrame(numbers), caption,
                            f"data {data.name}, training images")
