"""First-order saliency of single weights (Mozer & Smolensky, NeurIPS 1988)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.context import Context
from rethinklab.pruners.weight_pruner import WeightPruner


class Saliency(WeightPruner):
    """Removes the weights without which the loss should change least, to first order.

    Score of a weight: |weight times gradient of the loss| on one batch of calibration images.
    """

    name: ClassVar[str] = "saliency"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return (layer.weight * context.weight_gradient).abs()
