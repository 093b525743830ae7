"""SynFlow: no layer may run dry (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import logits
from rethinklab.pruners.base import FROM_THE_START
from rethinklab.pruners.cutting.masks import apply_masks, conv_weights
from rethinklab.pruners.weight_pruner import WeightPruner, highest_weights
from rethinklab.values import settle, whole


@dataclass(frozen=True)
class SynFlow(WeightPruner):
    """Removes, before training and without images, the weights of least synaptic flow, in rounds.

    Score of a weight: weight times the derivative by it of the sum of all outputs for an image of
    ones, of the network with the magnitudes of its weights and scales, without biases and
    statistics. What flows into a layer flows out of it, and a layer of few weights has much flow
    in each: so none is emptied. rounds: each leaves the same share of what is left.
    """

    rounds: int = 100
    name: ClassVar[str] = "synflow"
    before_training: ClassVar[bool] = True
    regimes: ClassVar[tuple[str, ...]] = FROM_THE_START

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, rounds=whole("rounds", self.rounds, 1))

    def scores(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        return synaptic_flow(magnitudes(model), list(conv_weights(model)), data)

    def masks(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        network, names = magnitudes(model), list(conv_weights(model))
        masks: Mapping[str, Tensor] = {}
        for round_ in range(1, self.rounds + 1):
            scores = synaptic_flow(network, names, data)
            for name, mask in masks.items():
                scores[name][~mask] = -1
            masks = highest_weights(scores, 1 - (1 - self.target) ** (round_ / self.rounds))
            apply_masks(network, masks)
        return dict(masks)


def magnitudes(model: nn.Module) -> nn.Module:
    """A copy in double precision, on the processor, whose weights and scales are |theta|."""
    copy = duplicate(model).cpu().double().eval()
    for module in copy.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    with torch.no_grad():
        for name, value in copy.named_parameters():
            value.copy_(torch.zeros_like(value) if name.endswith("bias") else value.abs())
            value.requires_grad_(True)
    return copy


def synaptic_flow(network: nn.Module, names: list[str], data: ImageData) -> dict[str, Tensor]:
    """theta times dR / d theta of the parameters `names`, R the sum of the network's outputs."""
    weights = [network.get_parameter(name) for name in names]
    with torch.inference_mode(False), torch.enable_grad():
        flow = logits(network(torch.ones(1, *data.input_shape, dtype=torch.double))).sum()
        slopes = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    return {name: weight.detach() * slope
            for name, weight, slope in zip(names, weights, slopes, strict=True)}
