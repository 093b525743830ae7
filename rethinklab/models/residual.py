"""Residual branches: where they are in a network, what their shortcut computes, how to remove one.

Knows the blocks of the kit's ResNet and PreResNet, and torchvision's BasicBlock and Bottleneck.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from rethinklab.errors import PlanError, unknown_name
from rethinklab.models.preresnet import PreActBottleneck
from rethinklab.models.resnet import BasicBlock


@dataclass(frozen=True)
class Branch:
    """The residual branch of one block, by names as in `model.named_modules()`.

    block: the block. first, last_conv: the first and the last convolution of the branch. last:
    the module whose output is added to the shortcut, a convolution or the normalisation after it.
    removable: the block occurs once in the network, so that removing its branch changes nothing
    elsewhere.
    """

    block: str
    first: str
    last_conv: str
    last: str
    removable: bool


def residual_branches(model: nn.Module) -> dict[str, Branch]:
    """The residual branches of `model` in order, by the name of their block; empty if none."""
    blocks = [(name, module) for name, module in model.named_modules(remove_duplicate=False)
              if is_residual(module)]
    occurrences = Counter(id(module) for _, module in blocks)
    branches = {}
    for name, block in blocks:
        prefix = f"{name}." if name else ""
        number = 3 if hasattr(block, "conv3") else 2
        last_conv = f"{prefix}conv{number}"
        last = last_conv if isinstance(block, PreActBottleneck) else f"{prefix}bn{number}"
        removable = bool(name) and occurrences[id(block)] == 1
        branches[name] = Branch(name, f"{prefix}conv1", last_conv, last, removable)
    return branches


def is_residual(module: nn.Module) -> bool:
    """Whether `module` is a block of a kind that this module knows."""
    known: tuple[type, ...] = (BasicBlock, PreActBottleneck)
    torchvision = sys.modules.get("torchvision.models.resnet")  # not loaded, then not used
    if torchvision is not None:
        known += (torchvision.BasicBlock, torchvision.Bottleneck)
    return isinstance(module, known)


def remove_branch(model: nn.Module, name: str) -> None:
    """Remove the residual branch of the block `name`, in place.

    What stays at that name is the shortcut and what follows the addition; the output of the
    network is the one with the branch's output zero, and other modules keep their names.
    Raises PlanError for a name that is no residual block or a block that occurs several times.
    """
    branches = residual_branches(model)
    if name not in branches:
        raise unknown_name("residual block", name, branches, PlanError)
    if not branches[name].removable:
        raise PlanError(f"the branch of {name or 'the network itself'} cannot be removed: the "
                        "block is not part of a network, or occurs in it more than once.")
    block = model.get_submodule(name)
    parent, _, child = name.rpartition(".")
    rest = shortcut_module(block)
    rest.train(block.training)
    setattr(model.get_submodule(parent), child, rest)


def shortcut_of(block: nn.Module, x: Tensor) -> Tensor:
    """The shortcut of a residual `block` for its input `x`, (N, C, H, W), before the addition.

    In training mode normalisations on the shortcut count `x` into their statistics, as a forward
    pass does. Raises PlanError for a module that is no such block.
    """
    if not is_residual(block):
        raise PlanError(f"a {type(block).__name__} is not a residual block that the kit knows.")
    if _projects_activated(block):
        x = nn.functional.relu(block.bn1(x))  # type: ignore[operator]
    return x if block.downsample is None else block.downsample(x)  # type: ignore[operator]


def shortcut_module(block: nn.Module) -> nn.Module:
    """What is left of a residual `block` whose branch puts out zero, of the block's own modules."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if _projects_activated(block):
        parts["bn1"], parts["relu"] = block.bn1, nn.ReLU()  # type: ignore[assignment]
    if block.downsample is not None:
        parts["downsample"] = block.downsample  # type: ignore[assignment]
    if not isinstance(block, PreActBottleneck):
        parts["relu"] = nn.ReLU()  # not in place: it may read what an earlier layer keeps
    return nn.Sequential(parts) if parts else nn.Identity()


def _projects_activated(block: nn.Module) -> bool:
    return (isinstance(block, PreActBottleneck) and block.project_activated
            and block.downsample is not None)
