"""What a training run offers to those who act during it: methods that act while training,
progress displays, checkpoints. The loop itself knows none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from rethinklab.trainers.recipe import Recipe


@dataclass
class TrainState:
    """A run in progress. epoch: the one under way, counted from 0. history: a row per epoch."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    steps_per_epoch: int
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Callback:
    """Override what you need. Gradients may be changed in `after_backward`, weights in
    `after_step`; a run that is to resume exactly must not hide state elsewhere."""

    def on_start(self, state: TrainState) -> None:
        """Before the first epoch, also of a resumed run."""

    def after_backward(self, state: TrainState) -> None:
        """Gradients are there, the optimiser has not moved."""

    def after_step(self, state: TrainState) -> None:
        """The optimiser has moved."""

    def after_epoch(self, state: TrainState) -> None:
        """The epoch's row is in the history."""

    def on_end(self, state: TrainState) -> None:
        """Also when training stops with an error."""
