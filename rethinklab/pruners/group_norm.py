"""Group norms: a channel with all that goes with it (DepGraph, Fang et al., CVPR 2023, arXiv
2301.12900)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context
from rethinklab.pruners.cutting.layers import LAYERS, out_width
from rethinklab.pruners.cutting.norms import NORMS

WEIGHED = (*LAYERS, NORMS, nn.LayerNorm)


class GroupNorm(ChannelPruner):
    """Removes the channels of smallest norm over all layers that lose weights with them.

    Score of channel j: the Euclidean norm of its filter, of its normalisation scale and of the
    weights by which later layers read it, taken together. Which those are says Torch-Pruning's
    dependency graph. Biases and shifts are not counted, nor is any layer weighted.
    """

    name: ClassVar[str] = "group-norm"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        total = torch.zeros(out_width(layer), device=layer.weight.device)
        for member in context.group:
            if isinstance(member.node.module, WEIGHED) and member.node.module.weight is not None:
                squares = channel_squares(member.node.module, member.is_output)
                roots = torch.tensor(member.roots, device=total.device)
                total.index_add_(0, roots, squares[member.channels])
        return total.sqrt()


def channel_squares(module: nn.Module, outputs: bool) -> Tensor:
    """The sum of squares of a layer's weights for each of its output or input channels, (C,)."""
    assert isinstance(module.weight, Tensor)
    squares = module.weight.detach().square()
    if squares.ndim == 1:  # a normalisation
        return squares
    if outputs != getattr(module, "transposed", False):
        return squares.flatten(1).sum(1)
    groups = getattr(module, "groups", 1)  # (N, C / groups, ...), the inputs of each group apart
    return squares.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2).sum(2).flatten()
