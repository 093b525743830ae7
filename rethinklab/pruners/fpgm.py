"""Filter pruning by the geometric median, FPGM (He et al., CVPR 2019, arXiv 1811.00250)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner


class FPGM(ChannelPruner):
    """Removes the filters nearest to all others of their layer, which those can replace.

    Score of filter j: the sum over filters k of the Euclidean distance of W[j] and W[k], smallest
    at the layer's geometric median.
    """

    name: ClassVar[str] = "fpgm"

    def score(self, layer: nn.Module) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        filters = layer.weight.flatten(1)
        exact = "donot_use_mm_for_euclid_dist"  # the other way loses digits of small distances
        return torch.cdist(filters, filters, compute_mode=exact).sum(1)
