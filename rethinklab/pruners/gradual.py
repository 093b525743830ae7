"""Gradual magnitude pruning during training (Zhu & Gupta, 2017, arXiv 1710.01878)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.pruners.cutting.masks import conv_weights
from rethinklab.pruners.densities import layer_masks
from rethinklab.pruners.layer_magnitude import LayerMagnitude
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.values import number, settle


class GradualMasks(Callback):
    """Masks the smallest weights after every epoch, ever more of them, and holds them at zero."""

    def __init__(self, share: float, densities: str, end: float) -> None:
        self.share, self.densities, self.end = share, densities, end
        self.weights: dict[str, nn.Parameter] = {}
        self.masks: dict[str, Tensor] = {}

    def prepare(self, model: nn.Module) -> None:
        self.weights = {name: model.get_parameter(name) for name in conv_weights(model)}
        for name, weight in self.weights.items():  # buffers, so that checkpoints hold them
            layer = model.get_submodule(name.rpartition(".")[0])
            self.masks[name] = torch.ones_like(weight.detach())
            layer.register_buffer("gradual_mask", self.masks[name])

    def after_update(self, state: TrainState) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.mul_(self.masks[name])

    def before_test(self, state: TrainState) -> None:
        share = share_at((state.epoch + 1 - state.epochs.start) / len(state.epochs), self.share,
                         self.end)
        magnitudes = {name: weight.detach().abs() for name, weight in self.weights.items()}
        for name, mask in layer_masks(magnitudes, self.densities, share).items():
            self.masks[name].copy_(mask)
        self.after_update(state)

    def finish(self, model: nn.Module) -> None:
        for name in self.masks:
            del model.get_submodule(name.rpartition(".")[0]).gradual_mask


@dataclass(frozen=True)
class Gradual(LayerMagnitude):
    """Removes the smallest weights of every convolution while the network trains, epoch by epoch.

    end: the share of the training after which all of the target is gone; the share removed rises
    towards it by a cubic (`share_at`). The regime "pruned" takes the network as it is then.
    """

    end: float = 0.75
    name: ClassVar[str] = "gradual"
    regimes: ClassVar[tuple[str, ...]] = ("pruned", "scratch-e", "scratch-b")
    trained_with: ClassVar[tuple[str, ...] | None] = ("target", "densities", "end")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, end=number("end", self.end, above=0, most=1))

    def during(self, data: ImageData) -> list[Callback]:
        return [GradualMasks(self.target, self.densities, self.end)]


def share_at(done: float, share: float, end: float) -> float:
    """The share removed when `done` of the training is over: share * (1 - (1 - done / end)^3), the
    cubic of the paper for a network that is dense at the start."""
    return share * (1 - (1 - min(1.0, done / end)) ** 3)
