"""The recipe of a training run: optimiser, schedule and length."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.values import listed, number, plain, settle, whole

LARGEST = 1e6  # for numbers that have no natural upper limit
# Fields younger than the first stored results, with their defaults
ADDED: dict[str, Any] = {"step": None, "shape": "steps", "warmup": 0.0, "counted_epochs": None}
SHAPES = ("steps", "cosine", "linear")
WARM_START = 0.1  # of the learning rate, where a warm-up begins


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent, by default with the step decay that the study has on CIFAR.

    epochs: passes over the training images. lr: initial learning rate. milestones: the learning
    rate is multiplied by `decay` at the start of epochs int(milestone * epochs), counted from 0
    (one that falls on epoch 0 is left out); none keeps it constant. weight_decay acts on every
    parameter. finetune_epochs: length of the fine-tuning derived from this recipe, a quarter of
    `epochs` where it is None. step: where given, in place of milestones: the learning rate falls
    every int(step * epochs) epochs for as long as the run lasts. With 1/3, the rule for ImageNet,
    a run whose length is no multiple of 3 has a third decay for its last epochs. shape: "steps",
    or "cosine" or "linear" for a fall from lr to almost 0 over the epochs, which leaves out both
    milestones and step. warmup: share of the epochs in which the rate first rises in a line from
    a tenth of lr; with "cosine" this is a one-cycle schedule. The rate changes between epochs,
    never within one. counted_epochs: what Scratch-B counts the large network's training as, where
    that is not `epochs` (the study counts 400 for soft filter pruning from a trained network).
    Source: Liu et al. (ICLR 2019), section 4, and its released code (momentum without Nesterov).
    Milestones are those of its script for Scratch-B; the others do not truncate milestone *
    epochs, and so lose a decay that falls within an epoch. Runs of one and two epochs differ from
    that script, in which both decays fall on the same epoch and count once, of a single epoch on
    epoch 0, so that it is trained at a tenth of lr throughout. Here every run begins at lr, and
    decays that meet all count, as in torch's MultiStepLR: fine-tuning, which takes over the last
    rate, then has lr / 100 after two epochs as after any longer run.
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
    shape: str = "steps"
    warmup: float = 0.0
    counted_epochs: int | None = None

    def __post_init__(self) -> None:
        settle(self, milestones=_rising(self.milestones), nesterov=plain(self.nesterov))
        for name in ("epochs", "batch_size", "finetune_epochs", "counted_epochs"):
            value = getattr(self, name)
            if name not in ("finetune_epochs", "counted_epochs") or value is not None:
                settle(self, **{name: whole(name, value, 1)})
        for name, high in (("lr", LARGEST), ("momentum", 1.0), ("weight_decay", LARGEST),
                           ("decay", 1.0), ("warmup", 1.0)):
            value = number(name, getattr(self, name), 0, high)
            settle(self, **{name: float(value)})  # 1 and 1.0 are one recipe
        if self.counted_epochs is not None and self.counted_epochs < self.epochs:
            raise ConfigError(f"counted_epochs {self.counted_epochs} must not be below the "
                              f"{self.epochs} epochs that are trained.")
        if self.nesterov and not self.momentum:
            raise ConfigError("nesterov needs a momentum above 0.")
        if self.step is not None:
            settle(self, step=float(number("step", self.step, above=0, most=1)))
            if self.milestones:
                raise ConfigError(f"step {self.step:g} takes the place of milestones, which must "
                                  f"be (), not {self.milestones}.")
        if self.shape not in SHAPES:
            raise unknown_name("shape of the schedule", self.shape, SHAPES)
        if self.shape != "steps" and (self.milestones or self.step is not None):
            raise ConfigError(f"shape {self.shape!r} takes the place of milestones and step, which "
                              f"must be () and None, not {self.milestones} and {self.step}.")

    @property
    def drops(self) -> tuple[int, ...]:
        """The epochs, counted from 0, at whose start the learning rate falls."""
        if self.step is not None:
            period = max(1, int(round(self.epochs * self.step, 9)))
            return tuple(range(period, self.epochs, period))
        return tuple(int(round(self.epochs * milestone, 9)) for milestone in self.milestones)

    @property
    def warm_epochs(self) -> int:
        """Epochs of the warm-up, at least one where there is a warm-up at all."""
        return max(1, round(self.warmup * self.epochs)) if self.warmup else 0

    @property
    def last_lr(self) -> float:
        """The lowest learning rate of the schedule."""
        if self.shape == "steps":
            return self._after(sum(drop > 0 for drop in self.drops))
        return self.lr_at(self.epochs - 1)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        warm = self.warm_epochs
        if epoch < warm:
            return _short(self.lr * (WARM_START + (1 - WARM_START) * epoch / warm))
        if self.shape == "steps":
            return self._after(sum(0 < drop <= epoch for drop in self.drops))
        gone = (epoch - warm) / max(1, self.epochs - warm)
        left = 1 - gone if self.shape == "linear" else (1 + math.cos(math.pi * gone)) / 2
        return _short(self.lr * left)

    def changed(self, **changes: Any) -> Recipe:
        """This recipe with other values; what it counts in epochs follows their number in
        proportion. Raises ConfigError for a name that a recipe does not have."""
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                raise unknown_name("setting of a recipe", name, names)
        longer = whole("epochs", changes.get("epochs", self.epochs), 1) / self.epochs
        counts = {name: getattr(self, name) for name in ("finetune_epochs", "counted_epochs")}
        scaled = {name: max(1, round(count * longer)) for name, count in counts.items() if count}
        return replace(self, **{**scaled, **changes})

    def identity(self) -> dict[str, Any]:
        """The fields by name, for hashes: younger ones only where they are not at their default,
        so that a hash taken before they existed stays what it was."""
        return {name: value for name, value in asdict(self).items()
                if name not in ADDED or value != ADDED[name]}

    def _after(self, decays: int) -> float:
        return _short(self.lr * self.decay**decays)


def _rising(milestones: Any) -> tuple[float, ...]:
    found = listed(milestones)
    if found is None or found != sorted(m for m in found if isinstance(m, float) and 0 < m < 1):
        raise ConfigError(f"milestones {milestones} must rise between 0 and 1.")
    return tuple(found)


def _short(rate: float) -> float:
    """0.001, not 0.0010000000000000002."""
    return float(f"{rate:.10g}")
