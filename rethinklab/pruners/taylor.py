"""First-order Taylor pruning of filters (Molchanov et al., CVPR 2019, arXiv 1906.10771)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context


class Taylor(ChannelPruner):
    """Removes the filters without which the loss should change least, to first order.

    Score of filter j: the square of the sum over its weights of weight times gradient of the loss,
    here of one batch of calibration images, where the paper averages over those of an epoch.
    """

    name: ClassVar[str] = "taylor"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return (layer.weight * context.weight_gradient).flatten(1).sum(1).square()
