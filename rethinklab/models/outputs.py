"""What a network says of its images, whatever else its forward pass gives, and however it wants
to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import ConfigError

NAMES = ("out", "logits")  # torchvision's and transformers' names for it


def logits(output: Any) -> Tensor:
    """The class scores (N, classes) in what a forward pass gave.

    A tensor is taken as it is. Of a tuple or list, also of GoogLeNet's and Inception's named ones
    with auxiliary heads in training mode, it is the first entry; of a dictionary the entry "out"
    or "logits", or the only one. Raises ConfigError for anything else.
    """
    found = output
    if isinstance(output, Mapping):
        named = [output[name] for name in NAMES if name in output]
        found = named[0] if named else next(iter(output.values())) if len(output) == 1 else None
    elif isinstance(output, (tuple, list)):
        found = output[0] if output else None
    if not isinstance(found, Tensor):
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise ConfigError(
            f"the network gives a {type(output).__name__}{keys}, in which the class scores cannot "
            "be told; let forward() give a tensor, a tuple or list that begins with it, or a "
            f"dictionary that holds it as {' or '.join(map(repr, NAMES))}.")
    return found


class Reading:
    """The class scores (N, classes) of a network in evaluation mode for batches (N, C, H, W).

    Batches are channels-last in memory. A network that cannot read them so (`view` after a
    convolution) is given them contiguous from the first refusal on.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.contiguous = model, False

    def __call__(self, images: Tensor) -> Tensor:
        if not self.contiguous:
            try:
                return logits(self.model(images))
            except RuntimeError:
                if images.is_contiguous():
                    raise
                self.contiguous = True
        return logits(self.model(images.contiguous()))


@torch.no_grad()
def readable(model: nn.Module, images: Tensor) -> Tensor:
    """`images` (N, C, H, W) in a memory layout in which `model` can read them; their device may be
    another. The model is left as it was."""
    modes = {module: module.training for module in model.modules()}
    device = next((p.device for p in model.parameters()), images.device)
    read = Reading(model.eval())
    try:
        read(images[:2].to(device))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return images.contiguous() if read.contiguous else images
