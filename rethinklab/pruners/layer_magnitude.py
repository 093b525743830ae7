"""Magnitude pruning layer by layer."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.densities import LayerwisePruner


class LayerMagnitude(LayerwisePruner):
    """Removes the smallest weights of every convolution, at uniform or ERK densities.

    What one threshold for the whole network is worth (`WeightLevel`) shows against it.
    """

    name: ClassVar[str] = "layer-magnitude"

    def score(self, layer: nn.Module) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return layer.weight.detach().abs()
