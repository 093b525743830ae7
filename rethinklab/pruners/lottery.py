"""The lottery ticket (Frankle & Carbin, ICLR 2019, arXiv 1803.03635)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.pruners.base import ChannelPruner, Origin, Pruner, expect_ratio, require_origin
from rethinklab.pruners.cutting.masks import conv_weights, untouched
from rethinklab.pruners.l1 import L1Norm
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.targets import kept_count
from rethinklab.pruners.weight_level import magnitude_masks
from rethinklab.trainers.loop import train
from rethinklab.values import flag, settle, whole


@dataclass(frozen=True)
class Lottery(Pruner):
    """Finds the mask of a winning ticket: prune the trained network by magnitude, set what is left
    back to its weights before training, train it again; once (one-shot) or in rounds.

    target: the share of the living convolution weights that each round removes, so that
    (1 - target) ** rounds are left; with `structured`, what L1-norm filter pruning takes as
    target (a ratio, where there are several rounds). rounds: each but the first trains the ticket
    anew, which needs an `origin`. rewind: epochs of the large network's training after which the
    weights are taken to which tickets are set back; 0 is before training.
    The regime "ticket" trains the winning ticket; "scratch-e" is the same mask with new weights.
    Structured tickets are really narrower here; the study masks whole filters at full width, and
    draws the random arm for that width. Rounds run within one stage: one that is stopped begins
    with the first round again.
    Source: section 2 of the paper; Liu et al. (ICLR 2019), section 5; for rewinding Frankle et
    al. (2019, arXiv 1903.01611).
    """

    rounds: int = 1
    structured: bool = False
    rewind: int = 0
    name: ClassVar[str] = "lottery"
    cuts: ClassVar[str] = "weights"
    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.8)
    regimes: ClassVar[tuple[str, ...]] = ("ticket", "scratch-e")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.structured or self.rounds != 1:
            expect_ratio(self.name, self.target)
        settle(self, rounds=whole("rounds", self.rounds, 1),
               rewind=whole("rewind", self.rewind, 0),
               structured=flag("structured", self.structured))

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        plan = self._first(model, data)
        if self.rounds == 1:
            return plan
        origin = require_origin(origin, self.name, "trains a ticket in every round after the first")
        if origin.initial is None:
            raise PlanError("method lottery sets weights back, for which the origin must hold "
                            "initial, the network before training.")
        if self.rewind >= origin.recipe.epochs:
            raise PlanError(f"rewind {self.rewind} is not before the end of the "
                            f"{origin.recipe.epochs} epochs of training.")
        start = rewound(origin.initial, data, origin, self.rewind)
        for number in range(2, self.rounds + 1):
            ticket = train(plan.ticket(start), data, origin.recipe, seed=origin.seed,
                           device=origin.device, precision=origin.precision, progress=False,
                           callbacks=plan.callbacks(), first_epoch=self.rewind).model.cpu()
            plan = self._next(model, data, plan, ticket, number)
        return plan

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        """Of the untrained network, at the density of the last round."""
        total = self.target if self.rounds == 1 else 1 - (1 - self.target) ** self.rounds
        return replace(self, target=total, rounds=1).fit(model, data)

    def _first(self, model: nn.Module, data: ImageData) -> Plan:
        if self.structured:
            plan = L1Norm(self._total(1)).fit(model, data)
            return replace(plan, method=self.name, target=self.target, rewind=self.rewind)
        return self._masked(model, data, magnitude_masks(conv_weights(model), self.target))

    def _next(self, model: nn.Module, data: ImageData, plan: Plan, ticket: nn.Module,
              number: int) -> Plan:
        """The plan of the next round, from the trained ticket of the last."""
        if not self.structured:
            return self._masked(model, data, magnitude_masks(conv_weights(ticket), self.target))
        pruner: ChannelPruner = L1Norm(self._total(number))
        keep = {}
        for name, width in plan.widths.items():
            best = pruner.select(name, ticket.get_submodule(name),
                                 kept_count(pruner.target, width, name))
            keep[name] = tuple(plan.keep[name][index] for index in best)
        return make_plan(model, self.name, self.target, data.input_shape, keep,
                         dict.fromkeys(keep, pruner.target), plan.left_alone, rewind=self.rewind)

    def _total(self, number: int) -> Any:
        """The target after so many rounds."""
        return self.target if number == 1 else 1 - (1 - self.target) ** number

    def _masked(self, model: nn.Module, data: ImageData, masks: Mapping[str, Tensor]) -> Plan:
        return make_plan(model, self.name, self.target, data.input_shape, {}, {},
                         untouched(model), masks=masks, rewind=self.rewind)


def rewound(initial: nn.Module, data: ImageData, origin: Origin, epochs: int) -> nn.Module:
    """The network as it was after so many epochs of its training, which are run anew: on a CPU to
    the bit, since a run is determined by its seed."""
    if epochs == 0:
        return initial
    return train(initial, data, origin.recipe, seed=origin.seed, device=origin.device,
                 precision=origin.precision, progress=False, last_epoch=epochs).model.cpu()
