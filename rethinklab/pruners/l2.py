"""L2-norm filter pruning."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner


class L2Norm(ChannelPruner):
    """Removes the filters of smallest Euclidean norm."""

    name: ClassVar[str] = "l2"

    def score(self, layer: nn.Module) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return layer.weight.flatten(1).norm(dim=1)
