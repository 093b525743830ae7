"""What all methods share, and what the channel pruners share besides: find the layers, score,
select, and make a checked plan.

A new criterion is a subclass of `ChannelPruner` with a `name` and a `score`: from a layer, and its
context where the weights are not enough, to one number per output channel, the smallest of which
go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners.budget import meet_budget, parse_budget
from rethinklab.pruners.context import Calibration, score_arguments
from rethinklab.pruners.cutting.layers import Shape, is_convolution, out_width, usual_layers
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.scores import highest
from rethinklab.pruners.targets import Asked, check_target, kept_count, resolve_target
from rethinklab.seeds import check_seed
from rethinklab.trainers.callbacks import Callback
from rethinklab.trainers.recipe import Recipe
from rethinklab.values import settle

RETRAINED = ("finetune", "scratch-e", "scratch-b")
FROM_THE_START = ("ticket", "scratch-e")


@dataclass(frozen=True)
class Origin:
    """How the network that is to be pruned came about, for methods that train during pruning.

    recipe, seed: of its training. initial: the network before it. device, precision: to train on.
    """

    recipe: Recipe
    seed: int = 0
    initial: nn.Module | None = None
    device: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        settle(self, seed=check_seed(self.seed))


@dataclass(frozen=True)
class Pruner:
    """A method: `Method(target, ...).fit(model, data)` gives the plan of what stays.

    Class attributes: name, as in the registry; example, a network and target for a first try;
    usual, a target that most networks can meet; regimes, the ways to train what is left that the
    method is studied with; trained_with, the hyper-parameters that matter while the large network
    trains, for methods that act then; before_training, whether the method looks at the untrained
    network, so that a study trains no large one for it; cuts, "channels" or "weights".
    """

    target: Any
    name: ClassVar[str] = ""
    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.25)
    usual: ClassVar[Any] = 0.5
    regimes: ClassVar[tuple[str, ...]] = RETRAINED
    trained_with: ClassVar[tuple[str, ...] | None] = None
    before_training: ClassVar[bool] = False
    cuts: ClassVar[str] = "channels"

    def __post_init__(self) -> None:
        settle(self, target=check_target(self.target))
        parse_budget(self.target)

    def during(self, data: ImageData) -> list[Callback]:
        """What must act while the large network trains on `data`; nothing, for most methods."""
        return []

    def training_spec(self) -> dict[str, Any]:
        """What `during` depends on, as plain values; empty where the method does not act then."""
        if self.trained_with is None:
            if type(self).during is not Pruner.during:
                raise ConfigError(f"method {self.name} acts during training but does not say what "
                                  "that depends on; give its class trained_with, a tuple of the "
                                  "names of such hyper-parameters.")
            return {}
        settings = {name: getattr(self, name) for name in self.trained_with}
        target = {"target": settings.pop("target")} if "target" in settings else {}
        return {"method": self.name, **target, "options": settings}

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        """The plan for `model`, whose weights are read and not changed.

        origin: how the model was trained; only methods that train need it.
        Raises PlanError where the target cannot be met.
        """
        raise NotImplementedError

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        """A plan for the untrained `model` with sizes as expected, before any training: what
        cannot work fails here."""
        return self.fit(model, data)


@dataclass(frozen=True)
class Request:
    """What a target means for one network, layer by layer in forward order.

    widths: of the layers in question. counts: channels that each is to keep. asked: how it was
    put, a share to remove or a width. left_alone: the other layers, with reasons.
    """

    widths: dict[str, int]
    counts: dict[str, int]
    asked: Asked
    left_alone: dict[str, str]


@dataclass(frozen=True)
class ChannelPruner(Pruner):
    """Removes the lowest-scoring output channels of each layer, all layers independently.

    target: a published name ("A"); a ratio for every convolution (the share to remove, between 0
    and 1); a budget, "macs:0.5" or "params:0.3" (the share that is left of the network), met by
    one ratio for all; or {layer: ratio or width}, where layers not named keep all channels.
    calibration_images: a class attribute, how many training images the context of a score shows.
    Raises PlanError for a target that has no such form.
    """

    calibration_images: ClassVar[int] = 64

    def score(self, layer: nn.Module, *context: Any, **_: Any) -> Tensor:
        """Importance of each output channel of a convolution or linear layer, shape (N,).

        context: a `Context`: the layer's name, the calibration images with labels, the layer's
        activations on them, gradients, and what goes with its channels. A criterion that needs
        none of it may take the layer alone.
        """
        raise NotImplementedError

    def score_of(self, name: str, layer: nn.Module,
                 calibration: Calibration | None = None) -> Tensor:
        """The scores of the layer called `name`, checked, shape (N,).

        Raises PlanError where they are not one number a channel, or need images and there is no
        calibration.
        """
        own = type(self).__name__
        context = None if calibration is None else calibration.of(name)
        with torch.no_grad():
            scores = self.score(*score_arguments(self.score, own, layer, context))
        if not isinstance(scores, Tensor) or scores.shape != (out_width(layer),):
            found = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else repr(scores)
            raise PlanError(f"{own}.score gave {found} for {name}; it must give a "
                            f"tensor with one number for each of {out_width(layer)} channels.")
        return scores

    def prunes(self, layer: nn.Module) -> bool:
        """Whether the method prunes this kind of layer without being told to by name."""
        return is_convolution(layer)

    def obstacles(self, model: nn.Module, input_shape: Shape,
                  layers: Sequence[str]) -> dict[str, str]:
        """Why the method leaves alone those of `layers` that could be cut and that it cannot
        judge, unless they are named; none, for most methods."""
        return {}

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        request = self.request(model, data.input_shape)
        calibration = Calibration(model, data, self.calibration_images)
        keep = {name: self.select(name, model.get_submodule(name), count, calibration)
                for name, count in request.counts.items()}
        return make_plan(model, self.name, self.target, data.input_shape, keep, request.asked,
                         request.left_alone, budget=parse_budget(self.target))

    def scores(self, model: nn.Module, data: ImageData,
               layers: Sequence[str]) -> dict[str, Tensor]:
        """The scores of the channels of these layers. Raises PlanError where the method chooses
        by something else."""
        if type(self).score is ChannelPruner.score:
            raise PlanError(f"method {self.name} does not choose by scores.")
        calibration = Calibration(model, data, self.calibration_images)
        return {name: self.score_of(name, model.get_submodule(name), calibration)
                for name in layers}

    def request(self, model: nn.Module, input_shape: Shape) -> Request:
        """What the target asks of each layer of `model`.

        Raises PlanError where there is nothing to prune or the target does not fit.
        """
        found = survey(model, input_shape)
        widths = {name: layer.width for name, layer in found.prunable.items()}
        default = usual_layers(model, widths, self.prunes)
        named = self.target if isinstance(self.target, Mapping) else {}
        for name in named:
            if name in found.left_alone:
                raise PlanError(f"layer {name!r} cannot be pruned: {found.left_alone[name]}.")
        odd = self.obstacles(model, input_shape, [name for name in default if name not in named])
        odd |= {name: "has a single channel" for name, width in default.items()
                if width == 1 and name not in named}
        left_alone = found.left_alone | odd
        if not default.keys() - odd.keys():
            raise PlanError(f"method {self.name} finds nothing to prune in {type(model).__name__}: "
                            + "; ".join(f"{n}: {r}" for n, r in list(left_alone.items())[:3]))
        budget = parse_budget(self.target)
        asked: Asked
        if budget is not None:
            counts = meet_budget(model, input_shape, budget, {
                name: width for name, width in default.items() if name not in odd})
            asked = dict(counts)
        else:
            architecture = getattr(model, "architecture", None)
            asked = resolve_target(self.target, self.name, architecture, widths, default)
            asked = {name: wanted for name, wanted in asked.items() if name not in odd}
            counts = {name: kept_count(wanted, widths[name], name)
                      for name, wanted in asked.items()}
        left_alone |= {name: f"{self.name} prunes convolutions unless a layer is named"
                       for name in widths if name not in counts and name not in odd}
        return Request({name: widths[name] for name in counts}, counts, asked, left_alone)

    def select(self, name: str, layer: nn.Module, count: int,
               calibration: Calibration | None = None) -> tuple[int, ...]:
        """The `count` channels of the layer that score highest, ascending."""
        return highest(self.score_of(name, layer, calibration), count, name)


def require_origin(origin: Origin | None, method: str, why: str) -> Origin:
    """`origin`, or PlanError saying what for."""
    if origin is None:
        raise PlanError(f"method {method} {why} and has to know how the network was trained; give "
                        "fit(model, data, origin=rl.Origin(recipe, seed, initial)).")
    return origin


def expect_ratio(method: str, target: Any) -> float:
    """`target` as a share to remove. Raises PlanError for any other form."""
    if not isinstance(target, float):
        raise PlanError(f"method {method} takes a ratio between 0 and 1, the share to remove, not "
                        f"{target!r}.")
    return target
