"""GraSP: keep the gradient flowing (Wang, Zhang & Grosse, ICLR 2020, arXiv 2002.07376)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import ImageData
from rethinklab.models.outputs import logits
from rethinklab.pruners.base import FROM_THE_START
from rethinklab.pruners.cutting.masks import conv_weights
from rethinklab.pruners.weight_pruner import WeightPruner
from rethinklab.values import number, settle


@dataclass(frozen=True)
class GraSP(WeightPruner):
    """Removes, before training, the weights whose removal costs the gradient's norm least.

    Score of a weight: weight times the Hessian's product with the gradient, H g; to first order
    its removal takes twice that from g'g, the decrease of the loss in one step, so that negative
    scores go first. Gradients are by the convolutions' weights, on one batch. temperature: by
    which the class scores are divided, 200 in the released code.
    """

    temperature: float = 200.0
    name: ClassVar[str] = "grasp"
    before_training: ClassVar[bool] = True
    regimes: ClassVar[tuple[str, ...]] = FROM_THE_START

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, temperature=number("temperature", self.temperature, above=0))

    def scores(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        names = list(conv_weights(model))
        copy, images, labels = self.calibration(model, data).ready()
        weights = [copy.get_parameter(name) for name in names]
        with torch.inference_mode(False), torch.enable_grad():
            loss = cross_entropy(logits(copy(images)).float() / self.temperature, labels)
            products = hessian_gradient(loss, weights)
        return {name: weight.detach() * product
                for name, weight, product in zip(names, weights, products, strict=True)}


def hessian_gradient(loss: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The Hessian of `loss` by `weights` times its gradient, shaped as these."""
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    flow = torch.stack([(gradient * gradient.detach()).sum() for gradient in gradients]).sum()
    return torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
