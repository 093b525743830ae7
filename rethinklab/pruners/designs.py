"""Designs: architectures by a simple rule, at about the cost of one that pruning found.

uniform: one share for all layers. guided: in every layer of a stage the stage's average share.
transferred: the averages of one network in the stages of another. A stage is the layers whose
feature maps have one size. Which filters a design keeps does not matter where it is trained from
scratch, but is fixed: the largest by L1-norm, or draws from the seed for inputs and weights.
Source: Liu et al. (ICLR 2019), section 5 and Figures 3, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import ConfigError, PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.budget import KINDS, CostModel, nearest_even
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import Shape, in_width, usual_layers
from rethinklab.pruners.cutting.masks import conv_weights, untouched
from rethinklab.pruners.cutting.norms import scaled_channels
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.scores import channel_l1, highest
from rethinklab.pruners.shares import (
    CHANNELS,
    READ,
    Layout,
    Pattern,
    Shares,
    check_masks,
    check_shares,
    kernel_size,
    layer_of,
    stage_shares,
)
from rethinklab.pruners.stages import by_side, layer_sides
from rethinklab.seeds import generator

CHOICES = ("largest", "random")
READS = "inputs of "  # in front of the name of a layer that reads a selection
MOST_OFF = 0.05  # of the cost that a uniform design is to have


@dataclass(frozen=True)
class Design:
    """What a rule keeps of a network, as fields of a `Plan`: output channels, channels that layers
    go on reading, weights; and the layers that it has no rule for, with reasons."""

    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    read: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    left_alone: Mapping[str, str] = field(default_factory=dict)


def uniform(plan: Pattern, model: nn.Module, at: str = "params", choose: str = "random",
            seed: int = 0) -> Design:
    """The same share of every layer, at the cost that `plan` leaves.

    at: "params" or "macs", which of the two is equal, to the nearest channel: of the layers that
    the plan narrows, and of the inputs of those that read a selection. Of a plan with masks there
    are as many weights in all, and choose says which: "random" places, as in the study, or the
    "largest" of each layer. Raises ConfigError for other words, and PlanError for masks that are
    not of single weights.
    """
    check_uniform(at, choose)
    if plan.masks:
        check_masks(plan, "uniform")
        return Design(masks=_even_masks(plan, model, choose, seed))
    readers = {name: in_width(model.get_submodule(name)) for name in plan.read}
    widths = dict(plan.widths) if plan.keep or readers else channel_widths(model, plan)
    cost = CostModel(model, plan.input_shape, widths)
    assert plan.after is not None
    goal = getattr(plan.after, at)

    def split(kept: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        return ({name: kept.get(name, width) for name, width in widths.items()},
                {name: kept.get(READS + name, width) for name, width in readers.items()})

    kept = nearest_even({**widths, **{READS + name: width for name, width in readers.items()}},
                        lambda kept: cost(*split(kept))[at], goal)
    counts, read = split(kept)
    return Design(largest_filters(model, counts), {
        name: _drawn(name, count, readers[name], seed) for name, count in read.items()})


def check_cost(got: int, goal: int, at: str, method: str) -> None:
    """Raises PlanError where a uniform design of `got` parameters or multiply-adds is more than
    5 % away from the `goal`, what the plan of `method` leaves."""
    if abs(got - goal) > MOST_OFF * goal:
        raise PlanError(f"one share for all layers comes to {got:,} {at} at the nearest, and "
                        f"{method} leaves {goal:,}; take a wider network, or a target that "
                        "leaves more.")


def guided(plan: Pattern, model: nn.Module, seed: int = 0) -> Design:
    """In every layer of a stage the average share that `plan` keeps of that stage.

    Of channels and of channels read the mean over layers; masks are drawn with the probability at
    which the stage keeps a weight, of 3x3 kernels at each of the nine positions. Raises PlanError
    for a plan that removes branches or masks whole channels.
    """
    layout = Layout.of(plan, model, "guided")
    return _by_stage(stage_shares(plan, model), layout, model, plan.input_shape, seed)


def transferred(stages: Any, model: nn.Module, input_shape: Shape, seed: int = 0) -> Design:
    """The shares of the stages of another network, as `stage_shares` gives them, in `model`,
    largest feature map first.

    Raises PlanError where `model` has another number of stages, or lacks what the shares are of.
    """
    shares = check_shares(stages)
    return _by_stage(shares, _settled_by(shares, model, input_shape), model, input_shape, seed)


def check_uniform(at: Any, choose: Any) -> None:
    """Raises ConfigError unless the options of `uniform` are words that it knows."""
    for name, value, known in (("at", at, KINDS), ("choose", choose, CHOICES)):
        if value not in known:
            raise ConfigError(f"{name} {value!r} must be {' or '.join(known)}.")


def _settled_by(shares: Shares, model: nn.Module, input_shape: Shape) -> Layout:
    """What `model` has of the kind that the shares are of."""
    if not {CHANNELS, READ} & shares.keys():
        shapes = {name: tuple(weight.shape) for name, weight in conv_weights(model).items()}
        return Layout(masked=shapes, left_alone=untouched(model))
    found = survey(model, input_shape)
    widths = {name: layer.width for name, layer in found.prunable.items()}
    readers: dict[str, int] = {}
    if READ in shares:  # what reads a selection cannot lose inputs as well
        scaled = scaled_channels(ChannelGraph(duplicate(model), input_shape))[0]
        readers = {reader: in_width(model.get_submodule(reader))
                   for channels in scaled for reader in channels.readers}
        producers = {channels.producer for channels in scaled}
        widths = {name: width for name, width in widths.items() if name in producers}
        if not readers:
            raise PlanError(f"the design says which share of a stream layers read, and no "
                            f"layer of {type(model).__name__} can read a selection.")
    if CHANNELS not in shares:
        widths = {}
    sides = layer_sides(model, input_shape)
    if len(by_side(widths, sides)) > len(shares.get(CHANNELS, ())):
        widths = {name: width for name, width in widths.items() if name in sides}
    reasons = {name: "the design has no share for it" for name in found.prunable
               if name not in widths}
    return Layout(widths, readers, {}, {**found.left_alone, **reasons})


def channel_widths(model: nn.Module, plan: Pattern) -> dict[str, int]:
    """Every layer that can lose channels and that the plan, or the network, lets lose some: those
    of the plan, or all convolutions where it only selects inputs."""
    if plan.keep:
        return dict(plan.widths)
    found = survey(model, plan.input_shape).prunable
    widths = {name: width for name, width in
              usual_layers(model, {name: layer.width for name, layer in found.items()}).items()
              if width > 1}
    if not widths:
        raise PlanError(f"{type(model).__name__} has no layer that can lose channels.")
    return widths


def largest_filters(model: nn.Module, counts: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The filters of largest L1-norm of each layer, in the numbers given."""
    return {name: highest(channel_l1(model.get_submodule(name)), count, name)
            for name, count in counts.items()}


def _by_stage(shares: Shares, layout: Layout, model: nn.Module, input_shape: Shape,
              seed: int) -> Design:
    """Of every layer what the share of its stage says."""
    sides = layer_sides(model, input_shape)
    counts = _counts(shares, CHANNELS, layout.widths, sides, model)
    read = {name: _drawn(name, count, layout.readers[name], seed) for name, count in
            _counts(shares, READ, layout.readers, sides, model).items()}
    masks = {}
    stages = by_side([layer_of(name) for name in layout.masked], sides)
    for place, (side, stage) in enumerate(stages.items()):
        for layer in stage:
            shape = layout.masked[f"{layer}.weight"]
            size = kernel_size(shape)
            _check_stages(shares.get(size, ()), stages, size, model, some=size in shares)
            share = shares[size][place] if size in shares else None
            if share is None:
                raise PlanError(f"{layer} has {size} kernels on feature maps of side {side}, for "
                                "which the design has no share.")
            masks[f"{layer}.weight"] = _mask(torch.tensor(share), shape, seed, layer)
    return Design(largest_filters(model, counts), read, masks, layout.left_alone)


def _counts(shares: Shares, part: str, widths: Mapping[str, int], sides: Mapping[str, int],
            model: nn.Module) -> dict[str, int]:
    stages = by_side(widths, sides)
    if not stages and part not in shares:
        return {}
    _check_stages(shares.get(part, ()), stages, part, model)
    counts = {name: max(1, round(widths[name] * share)) for share, stage in
              zip(shares[part], stages.values(), strict=True) for name in stage}
    return {name: counts[name] for name in widths}


def _check_stages(listed: Sequence[Any], stages: Mapping[int, Sequence[str]], part: str,
                  model: nn.Module, some: bool = True) -> None:
    if some and len(listed) != len(stages):
        raise PlanError(f"the design has shares ({part}) for {len(listed)} stages, and "
                        f"{type(model).__name__} has {len(stages)}, by the side of their feature "
                        f"maps {', '.join(str(side) if side else 'none' for side in stages)}; "
                        "transfer between networks with as many stages.")


def _mask(probability: Tensor, shape: Sequence[int], seed: int, layer: str) -> Tensor:
    """Places drawn with the probability of each position, at least one."""
    draws = torch.rand(tuple(shape), generator=generator(seed, "design", layer)) - probability
    mask = draws < 0
    if not mask.any():
        mask.view(-1)[draws.argmin()] = True
    return mask


def _drawn(name: str, count: int, width: int, seed: int) -> tuple[int, ...]:
    order = torch.randperm(width, generator=generator(seed, "design", name, "read"))
    return tuple(sorted(order[:count].tolist()))


def _even_masks(plan: Pattern, model: nn.Module, choose: str, seed: int) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    total = sum(mask.numel() for mask in plan.masks.values())
    density = sum(int(mask.sum()) for mask in plan.masks.values()) / total
    masks = {}
    for name, mask in plan.masks.items():
        count = round(mask.numel() * density)
        if choose == "largest":
            size = parameters[name].detach().abs().flatten().cpu()
            order = size.argsort(descending=True, stable=True)
        else:
            count = max(1, count)
            order = torch.randperm(mask.numel(), generator=generator(seed, "uniform", name))
        chosen = torch.zeros(mask.numel(), dtype=torch.bool)
        chosen[order[:count]] = True
        masks[name] = chosen.view(mask.shape)
    return masks
