"""LAMP: magnitudes made comparable between layers (Lee et al., ICLR 2021, arXiv 2010.07611)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.weight_pruner import WeightPruner


class LAMP(WeightPruner):
    """Removes the weights of lowest layer-adaptive magnitude score, by one threshold for all.

    Score of a weight: its square over the sum of the squares of its layer's weights that are not
    smaller. A layer's largest weight has score 1, so none loses all before all others have.
    """

    name: ClassVar[str] = "lamp"

    def score(self, layer: nn.Module) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        squares = layer.weight.detach().square().flatten().double()
        falling, order = squares.sort(descending=True, stable=True)
        scores = falling / falling.cumsum(0).clamp(min=1e-300)
        return squares.scatter(0, order, scores).view_as(layer.weight)
