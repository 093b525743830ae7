"""Designs: architectures by a simple rule, at about the cost of one that pruning found.

uniform: one share for all layers. guided: in every layer of a stage the stage's average share.
transferred: the averages of one network in the stages of another. A stage is the layers whose
feature maps have one size. Which filters a design keeps does not matter where it is trained from
scratch, but is fixed: the largest by L1-norm, or draws from the seed for inputs and weights.
Source: Liu et al. (ICLR 2019), section 5 and Figures 3, 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import ConfigError, PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.base import ChannelPruner, highest
from rethinklab.pruners.budget import KINDS, CostModel, nearest_even
from rethinklab.pruners.graph import ChannelGraph, Shape, in_width
from rethinklab.pruners.l1 import channel_l1
from rethinklab.pruners.norms import scaled_channels
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.probe import survey
from rethinklab.pruners.stages import layer_sides
from rethinklab.pruners.weight_level import conv_weights, untouched
from rethinklab.seeds import generator
from rethinklab.values import number, plain

Shares = dict[str, list[Any]]  # as JSON holds them
CHANNELS, READ, BY_POSITION = "channels", "read", "3x3"
KERNEL = re.compile(r"\d+(x\d+)*")
CHOICES = ("largest", "random")
DIGITS = 6
READS = "inputs of "  # in front of the name of a layer that reads a selection
MOST_OFF = 0.05  # of the cost that a uniform design is to have


def uniform(plan: Plan, model: nn.Module, at: str = "params", choose: str = "random",
            seed: int = 0) -> Plan:
    """The same share of every layer, at the cost that `plan` leaves.

    at: "params" or "macs", which of the two is equal, to the nearest channel: of the layers that
    the plan narrows, and of the inputs of those that read a selection. Of a plan with masks there
    are as many weights in all, and choose says which: "random" places, as in the study, or the
    "largest" of each layer. Raises ConfigError for other words, and PlanError for masks that are
    not of single weights, and where one share comes no nearer to the cost than 5 %.
    """
    check_uniform(at, choose)
    if plan.masks:
        _check_masks(plan, "uniform")
        masks = _even_masks(plan, model, choose, seed)
        return _planned(plan, model, "uniform", {}, {}, masks)
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
    even = _planned(plan, model, "uniform", largest_filters(model, counts),
                    {name: _drawn(name, count, readers[name], seed)
                     for name, count in read.items()}, {})
    got = getattr(even.after, at)
    if abs(got - goal) > MOST_OFF * goal:
        raise PlanError(f"one share for all layers comes to {got:,} {at} at the nearest, and "
                        f"{plan.method} leaves {goal:,}; take a wider network, or a target that "
                        "leaves more.")
    return even


def guided(plan: Plan, model: nn.Module, seed: int = 0) -> Plan:
    """In every layer of a stage the average share that `plan` keeps of that stage.

    Of channels and of channels read the mean over layers; masks are drawn with the probability at
    which the stage keeps a weight, of 3x3 kernels at each of the nine positions. Raises PlanError
    for a plan that removes branches or masks whole channels.
    """
    layout = Layout.of_plan(plan, model, "guided")
    keep, read, masks = _by_stage(stage_shares(plan, model), layout, model, plan.input_shape, seed)
    return _planned(plan, model, "guided", keep, read, masks)


def transferred(stages: Any, model: nn.Module, input_shape: Shape, target: Any,
                seed: int = 0) -> Plan:
    """The shares of the stages of another network, as `stage_shares` gives them, in `model`,
    largest feature map first.

    target: what the plan says was asked of the other network. Raises PlanError where `model` has
    another number of stages, or lacks what the shares are of.
    """
    shares = check_shares(stages)
    layout = Layout.for_shares(shares, model, input_shape)
    keep, read, masks = _by_stage(shares, layout, model, input_shape, seed)
    return make_plan(model, "transferred", target, input_shape, keep,
                     {name: len(kept) for name, kept in keep.items()}, layout.left_alone,
                     read=read, masks=masks)


def stage_shares(plan: Plan, model: nn.Module) -> Shares:
    """The average share that `plan` keeps of each stage of `model`, largest feature map first, as
    plain lists.

    "channels" and "read" (channels that layers go on reading): a number a stage, the mean over
    its layers; after the convolutions' stages another for linear layers, where the plan has some.
    "3x3", for a plan with masks: a 3x3 list a stage, over all its kernels; "1x1" and other sizes:
    a number a stage. None where a stage has no such kernel.
    """
    layout = Layout.of_plan(plan, model, "a table of stages")
    sides = layer_sides(model, plan.input_shape)
    shares: Shares = {}
    kept = {CHANNELS: (layout.widths, plan.keep), READ: (layout.readers, plan.read)}
    for part, (widths, left) in kept.items():
        if widths:
            shares[part] = [
                _rounded(sum(len(left[name]) / widths[name] for name in stage) / len(stage))
                for stage in by_side(widths, sides).values()]
    stages = by_side([_layer(name) for name in layout.masked], sides)
    for size in dict.fromkeys(_kernel(shape) for shape in layout.masked.values()):
        shares[size] = [_kernel_share([mask for mask in (plan.masks[f"{n}.weight"] for n in stage)
                                       if _kernel(mask.shape) == size], size)
                        for stage in stages.values()]
    return shares


def mean_shares(several: Sequence[Any]) -> Shares:
    """The mean of the shares of several plans, such as those of several seeds.

    Raises PlanError where they are not of the same stages.
    """
    checked = [check_shares(shares) for shares in several]
    if not checked:
        raise PlanError("there are no shares to average; give those of one plan or more.")

    def mean(values: Sequence[Any]) -> Any:
        if isinstance(values[0], list) and all(
                isinstance(v, list) and len(v) == len(values[0]) for v in values):
            return [mean(column) for column in zip(*values, strict=True)]
        if all(isinstance(value, float) for value in values):
            return _rounded(sum(values) / len(values))
        if any(value is not None for value in values):
            raise PlanError("the shares are not of the same stages; average those of one network "
                            "and one method.")
        return None

    if any(shares.keys() != checked[0].keys() for shares in checked):
        raise PlanError("the shares are not of the same kind: "
                        + " and ".join(sorted({", ".join(s) for s in checked}))
                        + "; average those of one network and one method.")
    return {part: mean([shares[part] for shares in checked]) for part in checked[0]}


def check_shares(stages: Any) -> Shares:
    """`stages` as `stage_shares` writes them; a bare list of numbers is of channels, one of 3x3
    lists of the kernels. Raises ConfigError for anything else."""
    stages = plain(stages)
    if isinstance(stages, Sequence) and not isinstance(stages, str) and stages:
        stages = {BY_POSITION if isinstance(stages[0], Sequence) else CHANNELS: stages}
    if not isinstance(stages, Mapping) or not stages:
        raise ConfigError(f"stages {stages!r} must be a list of the shares that the stages keep, "
                          "as rl.pruners.stage_shares(plan, model) gives them.")
    parts = {str(part) for part in stages}
    kernels = {part for part in parts if KERNEL.fullmatch(part)}
    if not (parts <= {CHANNELS, READ} or parts == kernels):
        raise ConfigError(f"stages of {', '.join(sorted(parts))} must be of channels and read, or "
                          "of sizes of kernels such as 3x3 and 1x1.")
    shares = {str(part): [_check_share(str(part), share) for share in listed]
              if isinstance(listed, Sequence) and not isinstance(listed, str) else []
              for part, listed in stages.items()}
    lengths = {len(listed) for listed in shares.values()}
    if 0 in lengths or (kernels and len(lengths) > 1):
        raise ConfigError("stages must hold lists with an entry a stage, one or more, and of all "
                          "sizes of kernels as many.")
    return shares


def check_uniform(at: Any, choose: Any) -> None:
    """Raises ConfigError unless the options of `uniform` are words that it knows."""
    for name, value, known in (("at", at, KINDS), ("choose", choose, CHOICES)):
        if value not in known:
            raise ConfigError(f"{name} {value!r} must be {' or '.join(known)}.")


@dataclass(frozen=True)
class Layout:
    """What a design has to settle of a network. widths: output channels of layers to narrow.
    readers: inputs of layers that read a selection. masked: shapes of weights by parameter.
    left_alone: the other layers, with reasons."""

    widths: Mapping[str, int] = field(default_factory=dict)
    readers: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, Sequence[int]] = field(default_factory=dict)
    left_alone: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_plan(cls, plan: Plan, model: nn.Module, what: str) -> Layout:
        """What `plan` settles. Raises PlanError for one that says more than shares can."""
        if plan.branches:
            raise PlanError(f"{what} needs a plan that removes channels or weights; this one of "
                            f"{plan.method} removes whole branches.")
        if plan.masks:
            _check_masks(plan, what)
        return cls(plan.widths, {name: in_width(model.get_submodule(name)) for name in plan.read},
                   {name: tuple(mask.shape) for name, mask in plan.masks.items()},
                   plan.left_alone)

    @classmethod
    def for_shares(cls, shares: Shares, model: nn.Module, input_shape: Shape) -> Layout:
        """What `model` has of the kind that the shares are of."""
        if not {CHANNELS, READ} & shares.keys():
            shapes = {name: tuple(weight.shape) for name, weight in conv_weights(model).items()}
            return cls(masked=shapes, left_alone=untouched(model))
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
        return cls(widths, readers, {}, {**found.left_alone, **reasons})


def by_side(names: Mapping[str, Any] | Sequence[str],
            sides: Mapping[str, int]) -> dict[int, list[str]]:
    """The layers of each stage by the side of its feature maps, largest first; 0 for layers that
    have none, as linear ones."""
    stages: dict[int, list[str]] = {}
    for name in names:
        stages.setdefault(sides.get(name, 0), []).append(name)
    return dict(sorted(stages.items(), reverse=True))


def channel_widths(model: nn.Module, plan: Plan) -> dict[str, int]:
    """Every layer that can lose channels and that the plan, or the network, lets lose some: those
    of the plan, or all convolutions where it only selects inputs."""
    if plan.keep:
        return dict(plan.widths)
    found = ChannelPruner(0.5).request(model, plan.input_shape)
    return found.widths


def largest_filters(model: nn.Module, counts: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The filters of largest L1-norm of each layer, in the numbers given."""
    return {name: highest(channel_l1(model.get_submodule(name)), count, name)
            for name, count in counts.items()}


def of_whole_filters(mask: Tensor) -> bool:
    """Whether each filter of a mask (N, C, k, k) lives or goes as a whole."""
    flat = mask.flatten(1)
    return bool((flat == flat[:, :1]).all())


def _by_stage(shares: Shares, layout: Layout, model: nn.Module, input_shape: Shape,
              seed: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]],
                                  dict[str, Tensor]]:
    """(channels kept, channels read, masks) of the layers by the shares of their stages."""
    sides = layer_sides(model, input_shape)
    counts = _counts(shares, CHANNELS, layout.widths, sides, model)
    read = {name: _drawn(name, count, layout.readers[name], seed) for name, count in
            _counts(shares, READ, layout.readers, sides, model).items()}
    masks = {}
    stages = by_side([_layer(name) for name in layout.masked], sides)
    for place, (side, stage) in enumerate(stages.items()):
        for layer in stage:
            shape = layout.masked[f"{layer}.weight"]
            size = _kernel(shape)
            _check_stages(shares.get(size, ()), stages, size, model, some=size in shares)
            share = shares[size][place] if size in shares else None
            if share is None:
                raise PlanError(f"{layer} has {size} kernels on feature maps of side {side}, for "
                                "which the design has no share.")
            masks[f"{layer}.weight"] = _mask(torch.tensor(share), shape, seed, layer)
    return largest_filters(model, counts), read, masks


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


def _even_masks(plan: Plan, model: nn.Module, choose: str, seed: int) -> dict[str, Tensor]:
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


def _planned(plan: Plan, model: nn.Module, method: str, keep: Mapping[str, tuple[int, ...]],
             read: Mapping[str, tuple[int, ...]], masks: Mapping[str, Tensor]) -> Plan:
    """A plan for the same network in place of `plan`."""
    return make_plan(model, method, plan.target, plan.input_shape, keep, plan.asked,
                     plan.left_alone, read=read, masks=masks or None, rewind=plan.rewind)


def _check_masks(plan: Plan, what: str) -> None:
    if any(mask.ndim < 3 for mask in plan.masks.values()):
        raise PlanError(f"{what} needs a plan that removes channels; make that of {plan.method} "
                        "with masked=False.")
    if all(of_whole_filters(mask) for mask in plan.masks.values()):
        raise PlanError(f"{plan.method} masks whole filters at one ratio for all layers already; "
                        "use the control random or shuffled.")


def _check_share(part: str, share: Any) -> Any:
    if part == BY_POSITION and share is not None:
        rows = share if isinstance(share, Sequence) and not isinstance(share, str) else []
        if len(rows) != 3 or any(not isinstance(row, Sequence) or len(row) != 3 for row in rows):
            raise ConfigError(f"the shares of 3x3 kernels must be 3x3 lists, got {share!r}.")
        return [[_check_number(part, value) for value in row] for row in rows]
    if share is None and KERNEL.fullmatch(part):
        return None
    return _check_number(part, share)


def _check_number(part: str, value: Any) -> float:
    return float(number("the share", value, 0, 1, of=f"{part} in stages",
                        rule="a number from 0 to 1, that which a stage keeps"))


def _kernel_share(masks: Sequence[Tensor], size: str) -> Any:
    """Over all kernels of the masks: the share kept, of 3x3 kernels at each position."""
    if not masks:
        return None
    kernels = torch.cat([mask.flatten(0, 1).double() for mask in masks])
    if size == BY_POSITION:
        return [[_rounded(value) for value in row] for row in kernels.mean(0).tolist()]
    return _rounded(float(kernels.mean()))


def _kernel(shape: Sequence[int]) -> str:
    return "x".join(str(side) for side in tuple(shape)[2:])


def _layer(parameter: str) -> str:
    return parameter.removesuffix(".weight")


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
