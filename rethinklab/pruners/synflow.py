"""SynFlow: no layer may run dry (Tanaka et al., NeurIPS 2020, arXiv 2006.05467)."""

from __future__ import annotations

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
        network = duplicate(model).cpu().double().eval()  # float32 ends at 1e38
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
        for name, value in network.named_parameters():
            value.requires_grad_(True).data = value.abs() * (not name.endswith("bias"))
        weights = {name: network.get_parameter(name) for name in conv_weights(network)}
        with torch.inference_mode(False), torch.enable_grad():
            flow = logits(network(torch.ones(1, *data.input_shape, dtype=torch.double))).sum()
            slopes = torch.autograd.grad(flow, [*weights.values()], materialize_grads=True)
        return {name: weight.detach() * slope
                for (name, weight), slope in zip(weights.items(), slopes, strict=True)}

    def masks(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        network, masks = duplicate(model), {}
        for done in range(1, self.rounds + 1):
            masks = highest_weights(self.scores(network, data),
                                    1 - (1 - self.target) ** (done / self.rounds))
            apply_masks(network, masks)
        return masks
