"""Shares: how much of each stage of a network a plan keeps. A stage is the layers whose feature
maps have one size.

Source: Liu et al. (ICLR 2019), section 5 and Figures 3, 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import Cost
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners.cutting.layers import in_width
from rethinklab.pruners.cutting.masks import of_whole_filters
from rethinklab.pruners.stages import by_side, layer_sides
from rethinklab.values import number, plain

Shares = dict[str, list[Any]]  # as JSON holds them
CHANNELS, READ, BY_POSITION = "channels", "read", "3x3"
KERNEL = re.compile(r"\d+(x\d+)*")
DIGITS = 6


class Pattern(Protocol):
    """What shares and designs read of a `Plan`, under the names that it has there."""

    @property
    def method(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...
    @property
    def widths(self) -> Mapping[str, int]: ...
    @property
    def keep(self) -> Mapping[str, tuple[int, ...]]: ...
    @property
    def read(self) -> Mapping[str, tuple[int, ...]]: ...
    @property
    def branches(self) -> tuple[str, ...]: ...
    @property
    def masks(self) -> Mapping[str, Tensor]: ...
    @property
    def left_alone(self) -> Mapping[str, str]: ...
    @property
    def after(self) -> Cost | None: ...


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
    def of(cls, plan: Pattern, model: nn.Module, what: str) -> Layout:
        """What `plan` settles. Raises PlanError for one that says more than shares can."""
        if plan.branches:
            raise PlanError(f"{what} needs a plan that removes channels or weights; this one of "
                            f"{plan.method} removes whole branches.")
        if plan.masks:
            check_masks(plan, what)
        return cls(plan.widths, {name: in_width(model.get_submodule(name)) for name in plan.read},
                   {name: tuple(mask.shape) for name, mask in plan.masks.items()},
                   plan.left_alone)


def stage_shares(plan: Pattern, model: nn.Module) -> Shares:
    """The average share that `plan` keeps of each stage of `model`, largest feature map first, as
    plain lists.

    "channels" and "read" (channels that layers go on reading): a number a stage, the mean over
    its layers; after the convolutions' stages another for linear layers, where the plan has some.
    "3x3", for a plan with masks: a 3x3 list a stage, over all its kernels; "1x1" and other sizes:
    a number a stage. None where a stage has no such kernel.
    """
    layout = Layout.of(plan, model, "a table of stages")
    sides = layer_sides(model, plan.input_shape)
    shares: Shares = {}
    kept = {CHANNELS: (layout.widths, plan.keep), READ: (layout.readers, plan.read)}
    for part, (widths, left) in kept.items():
        if widths:
            shares[part] = [
                _rounded(sum(len(left[name]) / widths[name] for name in stage) / len(stage))
                for stage in by_side(widths, sides).values()]
    stages = by_side([layer_of(name) for name in layout.masked], sides)
    for size in dict.fromkeys(kernel_size(shape) for shape in layout.masked.values()):
        shares[size] = [_kernel_share([mask for mask in (plan.masks[f"{n}.weight"] for n in stage)
                                       if kernel_size(mask.shape) == size], size)
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


def kernel_size(shape: Sequence[int]) -> str:
    """Such as "3x3", of a weight of that shape."""
    return "x".join(str(side) for side in tuple(shape)[2:])


def layer_of(parameter: str) -> str:
    """The name of the layer whose weight it is."""
    return parameter.removesuffix(".weight")


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def check_masks(plan: Pattern, what: str) -> None:
    """Raises PlanError unless `plan` masks single weights of convolutions."""
    if any(mask.ndim < 3 for mask in plan.masks.values()):
        raise PlanError(f"{what} needs a plan that removes channels; make that of {plan.method} "
                        "with masked=False.")
    if all(of_whole_filters(mask) for mask in plan.masks.values()):
        raise PlanError(f"{plan.method} masks whole filters at one ratio for all layers already; "
                        "use the control random or shuffled.")
