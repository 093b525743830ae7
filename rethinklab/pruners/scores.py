"""Scores of output channels, and which of them win."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError


def channel_l1(layer: nn.Module) -> Tensor:
    """Sum of |weight| over each output channel of a convolution or linear layer, shape (N,)."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().abs().flatten(1).sum(1)


def highest(scores: Tensor, count: int, name: str) -> tuple[int, ...]:
    """Indices of the `count` highest scores, ascending; of equals the later ones.

    That is the order of a stable sort, of which the last are taken. The released code takes the
    last of numpy's argsort, whose default is not stable: which of equals it keeps is not
    specified, and depends on numpy's version and the processor. Raises PlanError for scores that
    are not finite.
    """
    scores = scores.detach().cpu()
    if not torch.isfinite(scores).all():
        raise PlanError(f"the scores of {name} are not all finite numbers; the network may "
                        "have diverged in training.")
    ascending = torch.argsort(scores, stable=True)
    return tuple(sorted(ascending[len(ascending) - count :].tolist()))
