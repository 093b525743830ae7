"""The recipe of a training run: optimiser, schedule and length."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rethinklab.errors import ConfigError

LARGEST = 1e6  # for numbers that have no natural upper limit
ADDED = {"step": None}  # fields younger than the first stored results, with their defaults


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with step decay, by default as the study trains on CIFAR.

    epochs: passes over the training images. lr: initial learning rate. milestones: the learning
    rate is multiplied by `decay` at the start of epochs int(milestone * epochs), counted from 0
    (one that falls on epoch 0 is left out); none keeps it constant. weight_decay acts on every
    parameter. finetune_epochs: length of the fine-tuning derived from this recipe, a quarter of
    `epochs` where it is None. step: where given, in place of milestones: the learning rate falls
    every int(step * epochs) epochs for as long as the run lasts. With 1/3, the rule for ImageNet,
    a run whose length is no multiple of 3 has a third decay for its last epochs.
    Source: Liu et al. (ICLR 2019), section 4, and its released code (momentum without Nesterov).
    Raises ConfigError for a value out of range.
    """

    epochs: int = 160
    lr: float = 0.1
    batch_size: int = 64
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    finetune_epochs: int | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list, from JSON
        for name in ("epochs", "batch_size", "finetune_epochs"):
            value = getattr(self, name)
            if name == "finetune_epochs" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} {value!r} must be a whole number, 1 or more.")
        for name, high in (("lr", LARGEST), ("momentum", 1.0), ("weight_decay", LARGEST),
                           ("decay", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value <= high:
                raise ConfigError(f"{name} {value!r} must be a number from 0 to {high:g}.")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one recipe
        if self.nesterov and not self.momentum:
            raise ConfigError("nesterov needs a momentum above 0.")
        if list(self.milestones) != sorted(self.milestones) or not all(
                0 < m < 1 for m in self.milestones):
            raise ConfigError(f"milestones {self.milestones} must rise between 0 and 1.")
        if self.step is not None:
            if isinstance(self.step, bool) or not isinstance(self.step, (int, float)) or not (
                    0 < self.step <= 1):
                raise ConfigError(f"step {self.step!r} must be a number above 0 and at most 1.")
            if self.milestones:
                raise ConfigError(f"step {self.step:g} takes the place of milestones, which must "
                                  f"be (), not {self.milestones}.")
            object.__setattr__(self, "step", float(self.step))

    @property
    def drops(self) -> tuple[int, ...]:
        """The epochs, counted from 0, at whose start the learning rate falls."""
        if self.step is not None:
            period = max(1, int(round(self.epochs * self.step, 9)))
            return tuple(range(period, self.epochs, period))
        return tuple(int(round(self.epochs * milestone, 9)) for milestone in self.milestones)

    @property
    def last_lr(self) -> float:
        """The lowest learning rate of the schedule."""
        return self._after(len(self.drops))

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self._after(sum(0 < drop <= epoch for drop in self.drops))

    def identity(self) -> dict[str, Any]:
        """The fields by name, for hashes: younger ones only where they are not at their default,
        so that a hash taken before they existed stays what it was."""
        return {name: value for name, value in asdict(self).items()
                if name not in ADDED or value != ADDED[name]}

    def _after(self, decays: int) -> float:
        return float(f"{self.lr * self.decay**decays:.10g}")  # 0.001, not 0.0010000000000000002
