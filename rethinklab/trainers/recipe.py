"""The recipe of a training run: optimiser, schedule and length."""

from __future__ import annotations

from dataclasses import dataclass

from rethinklab.errors import ConfigError

LARGEST = 1e6  # for numbers that have no natural upper limit


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with step decay, by default as the study trains on CIFAR.

    epochs: passes over the training images. lr: initial learning rate. milestones: the learning
    rate is multiplied by `decay` at the start of epochs int(milestone * epochs), counted from 0
    (one that falls on epoch 0 is left out); none keeps it constant. weight_decay acts on every
    parameter. finetune_epochs: length of the fine-tuning derived from this recipe, a quarter of
    `epochs` where it is None.
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

    @property
    def drops(self) -> tuple[int, ...]:
        """The epochs, counted from 0, at whose start the learning rate falls."""
        return tuple(int(round(self.epochs * milestone, 9)) for milestone in self.milestones)

    @property
    def last_lr(self) -> float:
        """The lowest learning rate of the schedule."""
        return self._after(len(self.milestones))

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self._after(sum(0 < drop <= epoch for drop in self.drops))

    def _after(self, decays: int) -> float:
        return float(f"{self.lr * self.decay**decays:.10g}")  # 0.001, not 0.0010000000000000002
