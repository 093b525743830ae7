"""Fresh weights for a network of any shape: what separates Scratch from fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn

from rethinklab.errors import PlanError
from rethinklab.seeds import global_stream


def reinitialise(model: nn.Module, seed: int,
                 init: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """A copy of `model` with all parameters drawn anew from the seed's "scratch" stream.

    Every module's own `reset_parameters` runs first (it also resets running statistics), then
    the model's `initialise` where it has one (the kit's networks do: their rule sees the pruned
    widths), then `init(model)`. Buffers that no module resets are constants and stay.
    Raises PlanError for a parameter that none of the three sets: an inherited weight left in a
    network trained "from scratch" would spoil the comparison.
    """
    fresh = deepcopy(model)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.fill_(float("nan"))  # what is still NaN in the end was not set
    with global_stream(seed, "scratch"):
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        own_rule = getattr(fresh, "initialise", None)
        if callable(own_rule):
            own_rule()
        if init is not None:
            init(fresh)
    kept = [name for name, p in fresh.named_parameters() if torch.isnan(p).any()]
    if kept:
        raise PlanError(
            f"no rule draws new values for {', '.join(kept[:3])} of {type(model).__name__}; give "
            "the model a method initialise(), or pass init=function, that sets them.")
    return fresh


def initialisation_differs(model: nn.Module, tolerance: float = 0.25) -> list[str]:
    """Layers of the untrained `model` whose weights spread otherwise after `reinitialise`.

    Compares the standard deviation of each weight of 1,000 values or more, whose estimate is
    within a few per cent, and names those that differ by more than `tolerance`.
    """
    fresh = dict(reinitialise(model, seed=0).named_parameters())
    odd = []
    for name, value in model.named_parameters():
        if value.ndim > 1 and value.numel() >= 1000:
            before, after = float(value.detach().std()), float(fresh[name].detach().std())
            if abs(after - before) > tolerance * max(before, after):
                odd.append(name)
    return odd
