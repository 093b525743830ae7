"""Weight-level pruning by magnitude (Han et al., NeurIPS 2015, arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.pruners.context import Context
from rethinklab.pruners.weight_pruner import WeightPruner


class WeightLevel(WeightPruner):
    """Removes single weights of convolutions, the smallest in magnitude of the whole network.

    Source: section 4.3 of Liu et al. (ICLR 2019) and its released code, whose rule is
    followed to the weight: one threshold at place int(share * number) of the sorted magnitudes,
    and what is not above it goes. On a network that holds zeros already the rule is that of the
    released script for lottery tickets, a share of the weights that are not zero; the script for
    weight-level pruning counts zeros as well, so that a share below theirs removes nothing.
    """

    name: ClassVar[str] = "weight-level"

    def score(self, layer: nn.Module, context: Context | None = None) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return layer.weight.detach().abs()

    def masks(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        return magnitude_masks(self.scores(model, data), self.target)


def magnitude_masks(weights: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that remove `share` of the weights that are not zero yet, the smallest first.

    Of T weights of which Z are not zero, the threshold is the magnitude at place
    T - Z + int(Z * share) in ascending order, and only what is above it stays. Source: the released
    script for lottery tickets; without zeros (Z = T), that for weight-level pruning too.
    """
    together = torch.cat([weight.abs().flatten() for weight in weights.values()])
    living = int(torch.count_nonzero(together))
    place = len(together) - living + int(living * share)
    threshold = together.sort().values[min(place, len(together) - 1)]
    return {name: weight.abs() > threshold for name, weight in weights.items()}
