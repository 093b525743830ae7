"""`channel_pictures`: the filters and the activation maps that a plan keeps and cuts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.data import ImageData
from rethinklab.data.batches import test_batches
from rethinklab.errors import ConfigError
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    palette,
    paper_figure,
    paper_style,
)
from rethinklab.models.outputs import Reading, readable
from rethinklab.notebook.widgets.explorer import Explorer, choice, number
from rethinklab.pruners import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = 20  # to choose from
MOST = 72  # channels of a layer that are drawn
COLUMNS = 12
SIDE = 24  # pixels that a channel has at least in the mosaic
GAP = 0.14  # of a channel's side
TILE = 0.38  # inches of a channel and the gap behind it
STEPS = {nn.BatchNorm2d: "batch normalisation", nn.ReLU: "ReLU"}  # that follow a convolution


@dataclass(frozen=True)
class Response:
    """What one image does in a network. image: (H, W, 3) or (H, W), 0 to 1. maps: (C, h, w), of
    the layer chosen. steps: what it went through behind the layer. filters: (C, in, h, w), of the
    first layer. classes: names of the true one, and of what unpruned and pruned network say."""

    image: np.ndarray
    maps: np.ndarray
    steps: tuple[str, ...]
    filters: np.ndarray
    classes: tuple[str, str, str]


def channel_pictures(model: nn.Module, plan: Plan, data: ImageData) -> Explorer:
    """Choose a layer and an image: the filters of the first layer as small pictures, and what the
    channels of the layer make of the image; what the plan cuts is crossed out.

    model: the unpruned network that the plan was made from. data: its first test images are the
    choice. Raises ConfigError where the plan cuts no channels of a convolution.
    """
    layers = {f"{name} ({len(plan.keep[name])} of {width} kept)": name
              for name, width in plan.widths.items()
              if isinstance(model.get_submodule(name), nn.Conv2d)}
    if not layers:
        raise ConfigError(f"the plan by {plan.method} cuts no channels of convolutions, which "
                          "these pictures are of; make one with L1Norm, say.")
    some = replace(data, test=data.test.take(torch.arange(min(IMAGES, len(data.test)))))
    images = next(iter(test_batches(some, next(model.parameters()).device)))[0]
    first = next(name for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    guesses = [_guesses(network, images) for network in (model, plan.silence(model))]
    label = f"{plan.method}, target {plan.target}; data {data.name}, test part"

    def view(layer: str, image: int) -> PaperFigure:
        maps, steps = activation_maps(model, layer, images[image : image + 1])
        filters = model.get_parameter(f"{first}.weight").detach().cpu().numpy()
        named = [int(some.test.labels[image]), *(guess[image] for guess in guesses)]
        response = Response(_pixels(some.test.pixels[image]), maps, steps, filters,
                    tuple(data.classes[one] for one in named))  # type: ignore[arg-type]
        return channels_figure(response, plan, layer, first, image, label)

    return Explorer(view, {"layer": choice("Layer", layers),
                           "image": number("Image", 0, len(some.test) - 1)})


def channels_figure(response: Response, plan: Plan, layer: str, first: str, image: int,
                    label: str = "") -> PaperFigure:
    """An image, the filters of the first layer on one scale, about grey, and the maps of a layer
    on another; what is cut has a cross."""
    kept = _kept(plan, layer, len(response.maps))
    numbers = pd.DataFrame({
        "layer": layer, "channel": range(len(response.maps)), "kept": kept,
        "mean": response.maps.mean((1, 2)), "largest": response.maps.max((1, 2))})
    filters, maps = (_spread(len(pictures)) for pictures in (response.filters, response.maps))
    rows = [math.ceil(len(drawn) / COLUMNS) for drawn in (filters, maps)]
    low, high = min(0.0, float(response.maps.min())), float(response.maps.max())
    shades = _shades(low, high)
    with paper_style():
        figure = paper_figure(TEXT_WIDTH, max(1.75, 0.5 + TILE * sum(rows)))
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 4.4),
                                   height_ratios=[count + 0.4 for count in rows])
        beside = figure.add_subplot(grid[:, 0])
        beside.imshow(response.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        beside.set_title(f"image {image}", loc="left", fontsize=8, pad=3)
        beside.text(0, 1.08 * len(response.image), "class {}\nunpruned: {}\npruned: {}".format(
            *response.classes), fontsize=8, va="top")
        beside.set_anchor("NW")
        beside.set_axis_off()
        above, below = (figure.add_subplot(grid[row, 1]) for row in range(2))
        largest = float(np.abs(response.filters).max())
        _mosaic(above, [_coloured(one, largest) for one in response.filters[filters]],
                _kept(plan, first, len(response.filters))[filters])
        above.set_title(f"filters of {first}, the first layer", loc="left", fontsize=8, pad=3)
        _mosaic(below, [shades(one) for one in response.maps[maps]], kept[maps])
        below.set_title(f"activation maps of {layer}: dark {low:.2g}, bright {high:.2g}",
                        loc="left", fontsize=8, pad=3)
        hidden = len(response.maps) - len(maps)
        more = f" {hidden} of {len(response.maps)} maps are not shown." if hidden else ""
        return finish(figure, numbers, caption(numbers, response, layer, image), label,
                      "Framed: kept. Crossed out: cut. Grey in a filter: a weight near zero."
                      + more)


def caption(numbers: pd.DataFrame, response: Response, layer: str, image: int) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    kept, cut = (numbers.loc[numbers["kept"] == side, "mean"] for side in (True, False))
    parts = [f"the {len(kept)} channels kept of {layer} have a mean activation of "
             f"{kept.mean():.2g}"]
    if len(cut):
        parts.append(f"the {len(cut)} cut of {cut.mean():.2g}")
    behind = f", after {' and '.join(response.steps)}" if response.steps else ""
    truth, large, small = response.classes
    return (f"Image {image}, class {truth}, which the unpruned network takes for {large} and the "
            f"pruned one for {small}: {', '.join(parts)}{behind}.")


def activation_maps(model: nn.Module, layer: str, images: Tensor) -> tuple[np.ndarray,
                                                                           tuple[str, ...]]:
    """The maps (C, h, w) that a convolution makes of the first image, after the batch
    normalisation and ReLU that directly follow, as far as they are modules; and their names."""
    chosen = model.get_submodule(layer)
    last: dict[str, Any] = {"seen": None, "value": None}
    steps: list[str] = []

    def follow(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        follows = last["seen"] is not None and bool(given) and given[0] is last["seen"]
        if module is chosen or (follows and type(module) in STEPS):
            last.update(seen=output, value=output.detach().clone())  # others may write into it
            if module is not chosen:
                steps.append(STEPS[type(module)])

    images = readable(model, images)
    with evaluating(model):
        hooks = [part.register_forward_hook(follow) for part in model.modules()
                 if not any(part.children())]
        try:
            model(images)
        finally:
            for hook in hooks:
                hook.remove()
    return last["value"][0].float().cpu().numpy(), tuple(steps)


def _guesses(model: nn.Module, images: Tensor) -> list[int]:
    with evaluating(model):
        return [int(one) for one in Reading(model)(images).argmax(1)]


def _kept(plan: Plan, layer: str, width: int) -> np.ndarray:
    kept = np.ones(width, dtype=bool)
    if layer in plan.keep:
        kept[:] = False
        kept[list(plan.keep[layer])] = True
    return kept


def _spread(count: int) -> np.ndarray:
    """The channels that are drawn, evenly spread where there are too many."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))


def _pixels(pixels: Tensor) -> np.ndarray:
    picture = pixels.cpu().movedim(0, -1).numpy() / 255
    return picture if picture.shape[-1] == 3 else picture[..., 0]


def _coloured(weight: np.ndarray, largest: float) -> np.ndarray:
    """A filter (in, h, w) as a colour picture, or in grey where it does not read three colours."""
    shown = weight if len(weight) == 3 else np.repeat(weight.mean(0, keepdims=True), 3, 0)
    return np.clip(0.5 + shown.transpose(1, 2, 0) / (2 * largest or 1), 0, 1)


def _mosaic(axes: Axes, tiles: Sequence[np.ndarray], kept: np.ndarray) -> None:
    """Small colour pictures in rows: a frame about those that are kept, a cross through the
    others."""
    from matplotlib.collections import LineCollection

    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / COLUMNS)
    times = max(1, -(-SIDE // max(height, width)))
    gap = max(2, round(GAP * times * height))
    down, across = times * height + gap, times * width + gap
    picture = np.ones((rows * down, COLUMNS * across, 3))
    frames, crosses = [], []
    for place, (tile, stays) in enumerate(zip(tiles, kept, strict=True)):
        y, x = (place // COLUMNS) * down, (place % COLUMNS) * across
        large = tile.repeat(times, 0).repeat(times, 1)
        bottom, right = y + len(large), x + large.shape[1]
        picture[y:bottom, x:right] = large
        x0, x1, y0, y1 = x - 0.5, right - 0.5, y - 0.5, bottom - 0.5
        if stays:
            frames.append([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
        else:
            crosses += [[(x0, y0), (x1, y1)], [(x0, y1), (x1, y0)]]
    axes.imshow(picture, interpolation="nearest")
    for lines, colour, thickness in ((frames, "0.1", 1.3), (crosses, "white", 2),
                                     (crosses, palette()[3], 1)):
        axes.add_collection(LineCollection(lines, colors=[colour], linewidths=thickness,
                                           clip_on=False), autolim=False)
    axes.set_anchor("NW")
    axes.set_axis_off()


def _shades(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """From activations to colours that are dark at `low` and bright at `high`."""
    from matplotlib import colormaps

    span = high - low if high > low else 1.0
    return lambda values: colormaps["cividis"]((values - low) / span)[..., :3]
