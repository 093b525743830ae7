"""L1-norm filter pruning (Li et al., ICLR 2017, arXiv 1608.08710)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context
from rethinklab.pruners.scores import channel_l1


class L1Norm(ChannelPruner):
    """Removes the filters of smallest absolute weight sum, each layer at its own ratio, at once.

    Score of filter j: sum over inputs and kernel of |W[j]| (Li et al., section 3.1).
    """

    name: ClassVar[str] = "l1"

    def score(self, layer: nn.Module, context: Context | None = None) -> Tensor:
        return channel_l1(layer)
