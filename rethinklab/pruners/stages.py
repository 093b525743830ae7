"""Stages: the convolutions whose feature maps have one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.pruners.cutting.layers import Shape, is_convolution


def layer_sides(model: nn.Module, input_shape: Shape) -> dict[str, int]:
    """The side in pixels of each convolution's output feature map, the longer one where it is not
    square: of the convolutions that run, by name, in the order in which they run.

    input_shape: (C, H, W) of one image. A convolution that runs twice counts when it first does.
    The model is not changed. Layers of equal side are a stage, the unit of the guided designs of
    Liu et al. (ICLR 2019), section 5.
    """
    names = {module: name for name, module in model.named_modules()}
    sides: dict[str, int] = {}

    def record(module: nn.Module, _: Any, output: Tensor) -> None:
        sides.setdefault(names[module], max(output.shape[2:]))

    hooks = [module.register_forward_hook(record) for module in model.modules()
             if is_convolution(module)]
    try:
        with evaluating(model) as device:
            model(torch.zeros(1, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sides


def by_side(names: Mapping[str, Any] | Sequence[str],
            sides: Mapping[str, int]) -> dict[int, list[str]]:
    """The layers of each stage by the side of its feature maps, largest first; 0 for layers that
    have none, as linear ones."""
    stages: dict[int, list[str]] = {}
    for name in names:
        stages.setdefault(sides.get(name, 0), []).append(name)
    return dict(sorted(stages.items(), reverse=True))
