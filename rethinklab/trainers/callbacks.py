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
    """A run in progress. epochs: those that the run goes through, a window of the recipe's
    schedule. epoch: the one under way, counted from 0. history: a row per epoch."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    steps_per_epoch: int
    epochs: range
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.epochs) * self.steps_per_epoch

    @property
    def steps_done(self) -> int:
        """Steps of the epochs before the one under way."""
        return (self.epoch - self.epochs.start) * self.steps_per_epoch


class Callback:
    """Override what you need.

    `after_backward` and `after_update` may only be tensor operations on the model: they must not
    read a value back (`item`, `nonzero`, `if tensor`), nor count in Python, nor put a new tensor
    where the old one was. On a GPU they may be recorded once and replayed, with what they read
    from Python as it was then. Tensors that they write belong into the model's buffers: there
    they are stored in checkpoints, and set back after rehearsals.
    A run that is to resume exactly must not hide state elsewhere.
    """

    def prepare(self, model: nn.Module) -> None:
        """The run's own copy of the network, on its device, before there is an optimiser and
        before a checkpoint is read. May add what training needs: parametrisations, buffers."""

    def on_start(self, state: TrainState) -> None:
        """Before the first epoch, also of a resumed run, whose weights are restored by now."""

    def after_backward(self, state: TrainState) -> None:
        """Gradients are there, the optimiser has not moved. Tensor operations only."""

    def after_update(self, state: TrainState) -> None:
        """The optimiser has moved. Tensor operations only."""

    def after_step(self, state: TrainState) -> None:
        """After each step, in Python: for displays and counters. On a GPU the step may still be
        under way."""

    def before_test(self, state: TrainState) -> None:
        """The steps of the epoch are done, the network has not been tested yet."""

    def after_epoch(self, state: TrainState) -> None:
        """The epoch's row is in the history."""

    def on_end(self, state: TrainState) -> None:
        """Also when training stops with an error."""

    def finish(self, model: nn.Module) -> None:
        """The counterpart of `prepare`, when training ended well: folds in what was added there,
        so that the network returned is a plain one that computes the same."""
