"""Channels by how active they are: mean activation and zeros (APoZ)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context


class MeanActivation(ChannelPruner):
    """Removes the channels whose feature maps are smallest on average.

    Score of channel j: the mean of |feature map| over calibration images and positions, as the
    next layer reads it. Source: the criterion of that name in Molchanov et al. (ICLR 2017, arXiv
    1611.06440).
    """

    name: ClassVar[str] = "mean-activation"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        return context.feature_maps.abs().mean((0, 2, 3))


class APoZ(ChannelPruner):
    """Removes the channels whose feature maps hold most zeros, by average percentage of zeros.

    Score of channel j: the share of its values that are not zero, over calibration images and
    positions, as the next layer reads them, so behind the pooling where there is any. Without a
    ReLU nothing is zero and all channels are alike. Source: Hu et al. (2016, arXiv 1607.03250).
    """

    name: ClassVar[str] = "apoz"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        return (context.feature_maps != 0).float().mean((0, 2, 3))
