"""Stages: the convolutions whose feature maps have one size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.pruners.graph import Shape


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
             if isinstance(module, nn.modules.conv._ConvNd)]
    try:
        with evaluating(model) as device:
            model(torch.zeros(1, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sides
