"""Gradual magnitude pruning during training (Zhu & Gupta, 2017, arXiv 1710.01878)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rethinklab.data import ImageData
from rethinklab.pruners.cutting.masks import conv_weights
from rethinklab.pruners.densities import layer_masks
from rethinklab.pruners.layer_magnitude import LayerMagnitude
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.trainers.masks import HoldMasks
from rethinklab.values import number, settle


class GradualMasks(HoldMasks):
    """Masks the smallest weights after every epoch, ever more of them, and holds them at zero."""

    def __init__(self, pruner: Gradual) -> None:
        super().__init__({})
        self.pruner = pruner

    def prepare(self, model: nn.Module) -> None:
        self.masks = {name: torch.ones_like(w) for name, w in conv_weights(model).items()}
        super().prepare(model)
        for place, (_, mask) in enumerate(self.pairs):  # buffers, for checkpoints to hold
            model.register_buffer(f"gradual_mask_{place}", mask)

    def before_test(self, state: TrainState) -> None:
        done = (state.epoch + 1 - state.epochs.start) / len(state.epochs)
        found = layer_masks({str(place): weight.detach().abs()
                             for place, (weight, _) in enumerate(self.pairs)},
                            self.pruner.densities, self.pruner.share_at(done))
        for (_, mask), living in zip(self.pairs, found.values(), strict=True):
            mask.copy_(living)
        self.after_update(state)

    def finish(self, model: nn.Module) -> None:
        for place in range(len(self.pairs)):
            delattr(model, f"gradual_mask_{place}")


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
        return [GradualMasks(self)]

    def share_at(self, done: float) -> float:
        """The share removed when `done` of the training is over: target * (1 - (1 - done /
        end)^3), the cubic of the paper for a network that is dense at the start."""
        return self.target * (1 - (1 - min(1.0, done / self.end)) ** 3)
