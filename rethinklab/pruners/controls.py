"""Controls: plans that differ from a method's in one respect, without which a claim about what
the method chose means little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners.base import ChannelPruner, Origin, Pruner
from rethinklab.pruners.budget import CostModel, last_above
from rethinklab.pruners.cutting.layers import in_width
from rethinklab.pruners.cutting.masks import of_whole_filters
from rethinklab.pruners.designs import (
    channel_widths,
    check_uniform,
    largest_filters,
)
from rethinklab.pruners.plan import Plan, make_plan, transferred_plan
from rethinklab.pruners.scores import highest
from rethinklab.pruners.shares import check_shares
from rethinklab.pruners.weight_pruner import WeightPruner
from rethinklab.seeds import check_seed, generator
from rethinklab.trainers.callbacks import Callback
from rethinklab.values import plain, settle


@dataclass(frozen=True)
class Control(Pruner):
    """A plan made from that of another method.

    target: of that method. of: its name. options: its hyper-parameters. seed: of the draws.
    """

    of: str = "l1"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, options=plain(dict(self.options)), target=plain(self.target),
               seed=check_seed(self.seed))
        if getattr(self.base, "structures", "channels") != "channels":
            raise PlanError(f"{self.name} is a control for channels and weights; {self.of} with "
                            f"structures {self.options['structures']!r} removes others.")
        if getattr(self.base, "masked", False):
            raise PlanError(f"{self.name} needs a plan that removes channels; give {self.of} "
                            "masked=False.")

    @property
    def base(self) -> Pruner:
        """The method that this is a control for."""
        from rethinklab.pruners import CONTROLS, make_pruner

        if self.of in CONTROLS:
            raise ConfigError(f"{self.name} cannot be a control of {self.of}, another control.")
        return make_pruner(self.of, self.target, **self.options)

    def during(self, data: ImageData) -> list[Callback]:
        return self.base.during(data)

    def training_spec(self) -> dict[str, Any]:
        return self.base.training_spec()

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        return self._vary(model, data, self.base.fit(model, data, origin))

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        return self._vary(model, data, self.base.rehearse(model, data))

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        raise NotImplementedError

    def _replan(self, model: nn.Module, plan: Plan, keep: Mapping[str, tuple[int, ...]],
                read: Mapping[str, tuple[int, ...]],
                masks: Mapping[str, Tensor] | None = None) -> Plan:
        return make_plan(model, self.name, self.target, plan.input_shape, keep, plan.asked,
                         plan.left_alone, read=read, masks=masks or None, rewind=plan.rewind)


@dataclass(frozen=True)
class RandomChoice(Control):
    """Random channels, or weights, in the numbers that a method leaves to each layer.

    What the method's scores are worth shows against it. For a method that looks before training
    it is the shuffling within layers of Frankle et al. (ICLR 2021, arXiv 2009.08576) and Su et al.
    (NeurIPS 2020, arXiv 2009.11094).
    """

    name: ClassVar[str] = "random"

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        def draw(name: str, count: int, width: int) -> tuple[int, ...]:
            order = torch.randperm(width, generator=generator(self.seed, "random", name))
            return tuple(sorted(order[:count].tolist()))

        keep = {name: draw(name, len(kept), plan.widths[name])
                for name, kept in plan.keep.items()}
        read = {name: draw(f"{name}/read", len(kept), in_width(model.get_submodule(name)))
                for name, kept in plan.read.items()}
        return self._replan(model, plan, keep, read, self._random_masks(plan))

    def _random_masks(self, plan: Plan) -> dict[str, Tensor]:
        """Random places in every masked layer: whole filters where the method masks such."""
        return {name: exchanged(mask if of_whole_filters(mask) else mask.flatten(), self.seed,
                                "random", name).view(mask.shape)
                for name, mask in plan.masks.items()}


@dataclass(frozen=True)
class Shuffled(Control):
    """A method's choice with its places exchanged at random within each layer: whole channels of a
    channel plan; of masked weights whole kernels, whose inner pattern stays.

    It separates what a layer's pattern is worth from where in the layer the pattern is put.
    """

    name: ClassVar[str] = "shuffled"

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        def exchange(name: str, kept: tuple[int, ...], width: int) -> tuple[int, ...]:
            place = torch.randperm(width, generator=generator(self.seed, "shuffled", name))
            return tuple(sorted(place[list(kept)].tolist()))

        keep = {name: exchange(name, kept, plan.widths[name]) for name, kept in plan.keep.items()}
        read = {name: exchange(f"{name}/read", kept, in_width(model.get_submodule(name)))
                for name, kept in plan.read.items()}
        masks = {name: exchanged(mask if of_whole_filters(mask) else mask.flatten(0, 1), self.seed,
                                 "shuffled", name).view(mask.shape)
                 for name, mask in plan.masks.items()}
        return self._replan(model, plan, keep, read, masks)


@dataclass(frozen=True)
class Inverted(Control):
    """The channels, or weights, that a method scores lowest, in the numbers that it leaves to each
    layer.

    Scores that matter make it worse than random ones. Of a method that scores again in rounds it
    takes the first scores. Source: the ablation of that name of Frankle et al. (ICLR 2021, arXiv
    2009.08576), here within layers.
    """

    name: ClassVar[str] = "inverted"

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        base = self.base
        if isinstance(base, ChannelPruner) and not plan.read:
            scores = base.scores(model, data, list(plan.keep))
            keep = {name: highest(-scores[name], len(kept), name)
                    for name, kept in plan.keep.items()}
            return self._replan(model, plan, keep, {})
        if not isinstance(base, WeightPruner):
            raise PlanError(f"{self.name} needs a method that gives every channel or weight a "
                            f"score, and {self.of} does not; use the control random.")
        masks = {}
        for name, score in base.scores(model, data).items():
            lowest = highest(-score.flatten(), int(plan.masks[name].sum()), name)
            masks[name] = torch.zeros(score.shape, dtype=torch.bool)
            masks[name].view(-1)[list(lowest)] = True
        return self._replan(model, plan, {}, {}, masks)


@dataclass(frozen=True)
class Uniform(Control):
    """One ratio for every layer, at the cost that a method leaves: its largest filters by L1-norm;
    of masked weights random places at one density, as many in all.

    at: "params" or "macs", which cost of channels is equal. choose: of masked weights "random"
    places, the uniform sparsification of the study, or the "largest" of each layer. What the
    method's distribution over layers is worth shows against it.
    """

    at: str = "params"
    choose: str = "random"
    name: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_uniform(self.at, self.choose)

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        return plan.uniform(model, self.at, self.choose, self.seed)


@dataclass(frozen=True)
class Guided(Control):
    """A new network whose layers all keep the average share that a method leaves of their stage,
    the layers of one size of feature map; of masked weights random places with the stage's
    probability of each position in a kernel.

    It asks whether the pattern that pruning finds is a rule that a designer can use.
    Source: Liu et al. (ICLR 2019), section 5: guided pruning and guided sparsification.
    """

    name: ClassVar[str] = "guided"

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        return plan.guided(model, self.seed)


@dataclass(frozen=True)
class RandomWidths(Control):
    """Random widths at as many multiply-adds as a method leaves, within one in a hundred where the
    widths allow it; in each layer the largest filters by L1-norm.

    What it is worth to have found these widths rather than any others shows against it.
    """

    name: ClassVar[str] = "random-widths"

    def _vary(self, model: nn.Module, data: ImageData, plan: Plan) -> Plan:
        if plan.masks:
            raise PlanError(f"the plan of {self.of} masks weights and has no widths; use the "
                            "control random or uniform.")
        widths = channel_widths(model, plan)
        cost = CostModel(model, plan.input_shape, widths)
        draws = torch.rand(len(widths), generator=generator(self.seed, "random-widths"))
        counts = random_widths(widths, draws.tolist(), lambda c: cost(c)["macs"], _macs(plan))
        return self._replan(model, plan, largest_filters(model, counts), {})


# Kept of the stages of VGG-16 after slimming removed 60 % of its channels on CIFAR-10, from the
# widths 40 64 128 128 254 251 229 230 115 59 45 50 96 of a public run of the released code.
SLIM_VGG_16 = (0.8125, 1.0, 0.955729, 0.263021, 0.124349)


@dataclass(frozen=True)
class Transferred(Pruner):
    """The shares that stages kept in another network, perhaps on other images, in the stages of
    this one; nothing is pruned here.

    target: the ratio removed there, which only names it. stages: from `rl.pruners.stage_shares` of
    the other network's plan: the share kept of each stage's channels, largest feature map first,
    or, of masked weights, of each position of its kernels; by default those of a VGG-16 that
    slimming pruned by 60 % on CIFAR-10. seed: of draws.
    Source: Liu et al. (ICLR 2019), section 5: transferred guided pruning and sparsification.
    """

    stages: Any = SLIM_VGG_16
    seed: int = 0
    name: ClassVar[str] = "transferred"
    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.6)
    regimes: ClassVar[tuple[str, ...]] = ("scratch-e", "scratch-b")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, stages=check_shares(self.stages), seed=check_seed(self.seed))

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        return transferred_plan(self.stages, model, data.input_shape, self.target, self.seed)


def random_widths(widths: Mapping[str, int], draws: list[float],
                  price: Callable[[Mapping[str, int]], int], goal: int) -> dict[str, int]:
    """Widths whose shares are u ** t, u uniform in each layer and t the power that meets `goal`:
    t near 0 keeps everything, a large t next to nothing."""
    def counts(step: int) -> dict[str, int]:
        power = step / 200
        return {name: max(1, round(width * max(u, 1e-3) ** power))
                for (name, width), u in zip(widths.items(), draws, strict=True)}

    above = last_above(lambda step: price(counts(step)), 4000, goal)
    return min((counts(above), counts(above + 1)), key=lambda c: abs(price(c) - goal))


def exchanged(units: Tensor, seed: int, stream: str, name: str) -> Tensor:
    """The rows of `units` in an order drawn from the seed's stream for the layer `name`."""
    return units[torch.randperm(len(units), generator=generator(seed, stream, name))]


def _macs(plan: Plan) -> int:
    assert plan.after is not None
    return plan.after.macs

