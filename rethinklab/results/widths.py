"""The widths that pruning left, layer by layer, from the plans of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import nn

from rethinklab.analysis.architectures import CHANNELS, READ, WEIGHTS
from rethinklab.errors import Missing
from rethinklab.models.residual import residual_branches
from rethinklab.pruners import Plan
from rethinklab.pruners.cutting.layers import LAYERS, in_width, out_width
from rethinklab.pruners.cutting.masks import of_whole_filters
from rethinklab.pruners.stages import layer_sides
from rethinklab.results.files import labelled
from rethinklab.results.stored import StoredStudy
from rethinklab.trainers.regimes import UNPRUNED

COLUMNS = ["layer", "place", "side", "seed", "before", "after", "unit"]


def gather_widths(stored: StoredStudy) -> pd.DataFrame:
    """A row a layer and seed: layer, place (its number in the order of the forward pass, from 1),
    side (of its feature map in pixels, 0 for linear layers), seed, before and after (how much of
    it there is) and unit, what these count.

    unit: "channels" that the layer puts out, "read channels" that it goes on reading of a stream
    that keeps its width, or "weights" of a layer with a mask. A mask of whole filters counts
    channels, and so does a removed residual branch, which leaves 0 in its layers.
    Raises Missing where no plan is stored.
    """
    seeds = stored.planned_seeds
    model = stored.beginning(UNPRUNED, seeds[0])
    sides = layer_sides(model, stored.data.input_shape)
    rows = [{**row, "seed": seed} for seed in seeds
            for row in plan_widths(stored.plan(seed), model, sides)]
    if not rows:
        raise Missing(f"the plans of {stored.name} name no layer that could lose anything.")
    return labelled(pd.DataFrame(rows)[COLUMNS], stored.label)


def plan_widths(plan: Plan, model: nn.Module, sides: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows of `gather_widths` for one plan, without seed. model: that the plan was made for.
    sides: of its convolutions' feature maps, in forward order."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    places = {name: place for place, name in enumerate([*sides, *linear], 1)}
    modules = dict(model.named_modules())
    gone = {name: block for block in plan.branches for name in _layers_in(model, block)}

    def row(unit: str, layer: str, before: int, after: int) -> dict[str, Any]:
        return {"layer": layer, "place": places[layer], "side": sides.get(layer, 0),
                "before": before, "after": 0 if layer in gone else after, "unit": unit}

    rows = [row(CHANNELS, name, width, len(plan.keep[name]))
            for name, width in plan.widths.items() if name in places]
    if plan.branches:
        rows += [row(CHANNELS, name, out_width(modules[name]), out_width(modules[name]))
                 for block in residual_branches(model) for name in _layers_in(model, block)
                 if name in places and name not in plan.widths]
    rows += [row(READ, name, in_width(modules[name]), len(channels))
             for name, channels in plan.read.items() if name in places]
    masks = {name.removesuffix(".weight"): mask for name, mask in plan.masks.items()
             if name.removesuffix(".weight") in places and mask.ndim > 1}
    if masks and all(map(of_whole_filters, masks.values())):
        rows += [row(CHANNELS, name, len(mask), int(mask.flatten(1).any(1).sum()))
                 for name, mask in masks.items()]
    else:
        rows += [row(WEIGHTS, name, mask.numel(), int(mask.sum())) for name, mask in masks.items()]
    return sorted(rows, key=lambda found: (found["unit"], found["place"]))


def _layers_in(model: nn.Module, block: str) -> list[str]:
    """The layers of a block's residual branch, without those of its shortcut."""
    return [f"{block}.{name}" for name, module in model.get_submodule(block).named_modules()
            if isinstance(module, LAYERS) and not name.startswith("downsample")]
