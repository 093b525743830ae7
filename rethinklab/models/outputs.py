"""What a network says of its images, whatever else its forward pass gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

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
