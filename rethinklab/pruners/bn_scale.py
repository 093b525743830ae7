"""Channels by batch normalisation scale, of a network trained as usual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.context import Context
from rethinklab.pruners.cutting.graph import ChannelGraph, Member
from rethinklab.pruners.cutting.layers import Shape
from rethinklab.pruners.cutting.norms import NORMS


class BatchNormScale(ChannelPruner):
    """Removes the channels of smallest batch normalisation scale, without having trained for it.

    Score of channel j: |scale j| of the normalisation that follows the layer. It is network
    slimming (Liu et al., ICCV 2017, arXiv 1708.06519) without the sparsity penalty, each layer at
    its own ratio: what the penalty is worth shows against it. Layers that no batch normalisation
    follows are left alone.
    """

    name: ClassVar[str] = "bn-scale"

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        scale = following_scale(context.group)
        if scale is None:
            raise PlanError(f"no batch normalisation with scales follows {context.name}; leave it "
                            "out of the target.")
        return scale.abs()

    def obstacles(self, model: nn.Module, input_shape: Shape,
                  layers: Sequence[str]) -> dict[str, str]:
        graph = ChannelGraph(duplicate(model), input_shape)
        return {name: "no batch normalisation with scales follows it" for name in layers
                if following_scale(graph.group(name)) is None}


def following_scale(group: Sequence[Member]) -> Tensor | None:
    """The scales of the first normalisation that has just the channels of the group's layer."""
    for member in group:
        norm = member.node.module
        if isinstance(norm, NORMS) and norm.weight is not None \
                and member.channels == member.roots == list(range(norm.num_features)):
            return norm.weight.detach()
    return None
