"""HRank: channels by the rank of their feature maps (Lin et al., CVPR 2020, arXiv 2002.10179)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context


class HRank(ChannelPruner):
    """Removes the channels whose feature maps, taken as matrices, have the lowest rank.

    Score of channel j: the rank of its map, averaged over calibration images, as the next layer
    reads it. It takes a singular value decomposition of every map, on a processor some seconds a
    network; maps of a single position can only have rank 0 or 1.
    """

    name: ClassVar[str] = "hrank"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        return torch.linalg.matrix_rank(context.feature_maps.float()).float().mean(0)
