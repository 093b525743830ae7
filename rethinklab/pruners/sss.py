"""Sparse structure selection (Huang & Wang, ECCV 2018, arXiv 1707.01213)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rethinklab.data import ImageData
from rethinklab.errors import PlanError, unknown_name
from rethinklab.models.copying import duplicate
from rethinklab.models.residual import residual_branches
from rethinklab.pruners.base import Origin, Pruner
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.groups import group_masks, grouped_layers
from rethinklab.pruners.cutting.layers import Shape
from rethinklab.pruners.cutting.norms import own_norms
from rethinklab.pruners.cutting.probe import prove, survey
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.values import number, settle

STRUCTURES = ("channels", "branches", "both", "groups")
ZERO = "zero"


def soft_threshold(values: Tensor, amount: float) -> Tensor:
    """sign(v) max(|v| - amount, 0): the proximal step of `amount` times the L1-norm."""
    return values.sign() * (values.abs() - amount).clamp(min=0)


class StructureScale(nn.Module):
    """One scale for every structure of a layer, multiplied into its weights and biases.

    group: int64 (N,), to which structure each output channel belongs. In training the layer sees
    the look-ahead point `ahead`, of which the gradient is taken; in evaluation the scales. No
    optimiser knows them: they are buffers.
    """

    ahead: Tensor
    scale: Tensor
    momentum: Tensor
    group: Tensor

    def __init__(self, group: Tensor) -> None:
        super().__init__()
        ones = torch.ones(int(group.max()) + 1, device=group.device)
        self.register_buffer("ahead", ones.clone().requires_grad_(True))
        self.register_buffer("scale", ones.clone())
        self.register_buffer("momentum", torch.zeros_like(ones))
        self.register_buffer("group", group)

    def forward(self, value: Tensor) -> Tensor:
        each = (self.ahead if self.training else self.scale)[self.group]
        return value * each.view(-1, *[1] * (value.ndim - 1))

    @torch.no_grad()
    def step(self, lr: float, strength: float, momentum: float) -> None:
        """One step of accelerated proximal gradient in its momentum form, in place:
        z = scale + mu v - lr grad, scale' = soft(z, lr strength), v' = scale' - scale."""
        assert self.ahead.grad is not None
        point = self.scale + momentum * self.momentum - lr * self.ahead.grad
        new = soft_threshold(point, lr * strength)
        self.momentum.copy_(new - self.scale)
        self.scale.copy_(new)
        self.ahead.copy_(new + momentum * self.momentum)
        self.ahead.grad.zero_()


class SparseScales(Callback):
    """Trains a scale for every structure beside the weights, under `strength` times their L1-norm,
    by accelerated proximal gradient; at the end they are multiplied into the weights, so that a
    structure whose scale is zero has weights that are exactly zero."""

    def __init__(self, strength: float, structures: str, input_shape: Shape) -> None:
        self.strength, self.structures, self.input_shape = strength, structures, input_shape
        self.scales: list[StructureScale] = []
        self.parts: list[tuple[nn.Module, str]] = []

    def prepare(self, model: nn.Module) -> None:
        self.scales, self.parts = [], []
        for structure in find_structures(model, self.structures, self.input_shape):
            layer = model.get_submodule(structure.scaled)
            assert isinstance(layer.weight, Tensor)
            each = torch.arange(len(layer.weight), device=layer.weight.device)
            shared = len(each) if structure.branch else len(each) // structure.groups
            scale = StructureScale(each // shared if structure.layer is None else each)
            self.scales.append(scale)
            for part in ("weight", "bias"):
                if isinstance(getattr(layer, part, None), nn.Parameter):
                    parametrize.register_parametrization(layer, part, scale)
                    self.parts.append((layer, part))

    def after_update(self, state: TrainState) -> None:
        group = state.optimizer.param_groups[0]
        for scale in self.scales:
            scale.step(float(group["lr"]), self.strength, group["momentum"])

    def finish(self, model: nn.Module) -> None:
        training = model.training
        model.eval()  # the scales, not the look-ahead point, are what stays
        for layer, part in self.parts:
            parametrize.remove_parametrizations(layer, part)
        model.train(training)


@dataclass(frozen=True)
class Structure:
    """What a scale can remove: the channels of a layer, a branch, or the groups of a layer.

    scaled: the module whose weights are multiplied, the layer itself or the normalisation that
    follows it. layer: whose channels go. branch: the residual block that loses its branch.
    groups: number of those of a grouped convolution.
    """

    scaled: str
    layer: str | None = None
    branch: str | None = None
    groups: int = 1


def find_structures(model: nn.Module, kind: str, input_shape: Shape) -> list[Structure]:
    """The structures of `model` that can have a scale.

    kind: "channels", "branches", "both", or "groups". Raises PlanError where there are none.
    """
    if kind == "groups":
        grouped = grouped_layers(ChannelGraph(duplicate(model), input_shape))
        if not grouped:
            raise PlanError(f"{type(model).__name__} has no grouped convolution, other than "
                            "depthwise, whose groups could be removed; sparse structure selection "
                            "can take its channels (structures='channels').")
        return [Structure(layer.scaled, groups=layer.groups) for layer in grouped]
    found = []
    branches = {name: branch for name, branch in residual_branches(model).items()
                if branch.removable}
    if kind != "channels":
        if not branches:
            raise PlanError(f"{type(model).__name__} has no residual branch that could be removed; "
                            "sparse structure selection can take its channels "
                            "(structures='channels').")
        found += [Structure(branch.last, branch=name) for name, branch in branches.items()]
    if kind != "branches":
        graph = ChannelGraph(duplicate(model), input_shape)
        survey = prove(graph)
        norms = {s.producer: s.norm for s in own_norms(graph, survey).values()}
        layers = [Structure(norms.get(name, name), layer=name) for name in survey.prunable
                  if name in norms or not refilled(graph, name)]
        if not layers:
            raise PlanError(f"{type(model).__name__} has no layer that alone produces its "
                            "channels and whose channels stay zero, so none of them can have a "
                            "scale.")
        found += layers
    return found


def refilled(graph: ChannelGraph, name: str) -> bool:
    """Whether a channel that is zero after the layer `name` is something else when it is read:
    a normalisation or a depthwise convolution on the way adds to it."""
    layer = graph.model.get_submodule(name)
    return any(is_output and node.module is not layer
               and getattr(node.module, "bias", None) is not None
               for node, _, is_output in graph.members(layer, [0]))


@dataclass(frozen=True)
class SparseSelection(Pruner):
    """Removes the structures, channels or whole residual branches, whose scales training drives
    to zero; the network's output does not change.

    target: "zero", all of them. How many that are follows from `strength`, of the penalty on the
    scales while the large network trains. structures: "channels", "branches" (residual networks
    only), "both", or "groups" (of grouped convolutions, as in ResNeXt; these are masked, not cut
    out). A layer whose channels are all zero keeps one of them.
    Source: sections 3.2 to 3.4 of the paper. Nesterov momentum for the weights, as there, is a
    matter of the recipe.
    """

    target: Any = ZERO
    strength: float = 5e-4
    structures: str = "channels"
    name: ClassVar[str] = "sss"
    example: ClassVar[tuple[str, Any]] = ("vgg11", ZERO)
    usual: ClassVar[Any] = ZERO
    regimes: ClassVar[tuple[str, ...]] = ("pruned", "scratch-e", "scratch-b")
    trained_with: ClassVar[tuple[str, ...] | None] = ("strength", "structures")

    def __post_init__(self) -> None:
        if self.target != ZERO:
            raise PlanError(f"method {self.name} removes what training drove to zero, so its only "
                            f"target is {ZERO!r}, not {self.target!r}; strength says how much "
                            "that will be.")
        if self.structures not in STRUCTURES:
            raise unknown_name("kind of structure", self.structures, STRUCTURES)
        settle(self, strength=number("strength", self.strength, above=0))

    def during(self, data: ImageData) -> list[Callback]:
        return [SparseScales(self.strength, self.structures, data.input_shape)]

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        plan = self.rehearse(model, data)
        uncut = all(len(plan.keep[name]) == width for name, width in plan.widths.items())
        if uncut and not plan.branches and not plan.masks:
            raise PlanError(f"no structure of this {type(model).__name__} is exactly zero, so "
                            "there is nothing to remove. Train it with the method's scales "
                            "(during), for longer, or with more than strength "
                            f"{self.strength:g}.")
        return plan

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        if self.structures == "groups":
            return self._without_groups(model, data)
        found = find_structures(model, self.structures, data.input_shape)
        keep, branches = {}, []
        for structure in found:
            alive = living_channels(model.get_submodule(structure.scaled))
            if structure.branch and not alive:
                branches.append(structure.branch)
            elif structure.layer:
                keep[structure.layer] = alive or (0,)
        lost = tuple(f"{name}." for name in branches)
        keep = {name: kept for name, kept in keep.items() if not name.startswith(lost or ("\n",))}
        left_alone = {}
        if self.structures != "branches":
            seen = survey(model, data.input_shape)
            scaled = {structure.layer for structure in found}
            left_alone = seen.left_alone | {
                name: "a normalisation that others share follows, so that a zero would not stay one"
                for name in seen.prunable if name not in scaled}
        return make_plan(model, self.name, self.target, data.input_shape, keep, {}, left_alone,
                         branches=tuple(branches))


    def _without_groups(self, model: nn.Module, data: ImageData) -> Plan:
        masks: dict[str, Tensor] = {}
        for layer in grouped_layers(ChannelGraph(duplicate(model), data.input_shape)):
            alive = living_channels(model.get_submodule(layer.scaled))
            width = len(model.get_submodule(layer.scaled).weight)  # type: ignore[arg-type]
            dead = set(range(layer.groups)) - {c * layer.groups // width for c in alive}
            masks |= group_masks(model, layer, dead)
        if not masks:
            find_structures(model, self.structures, data.input_shape)  # says where there are none
        return make_plan(model, self.name, self.target, data.input_shape, {}, {},
                         {}, masks=masks)


def living_channels(layer: nn.Module) -> tuple[int, ...]:
    """The output channels of a layer whose weights and bias are not all exactly zero."""
    assert isinstance(layer.weight, Tensor)
    alive = layer.weight.detach().flatten(1).any(1) if layer.weight.ndim > 1 else layer.weight != 0
    if isinstance(layer.bias, Tensor):
        alive = alive | (layer.bias.detach() != 0)
    return tuple(alive.nonzero().flatten().tolist())
