"""Fresh weights for a network of any shape: what separates Scratch from fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError, unknown_name
from rethinklab.models.copying import computed_weights, duplicate
from rethinklab.seeds import global_stream

GAMMAS = {"slimming": 0.5, "weight-level": 1.0}  # of the variants of PreResNet and DenseNet


def reinitialise(model: nn.Module, seed: int,
                 init: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """A copy of `model` with all parameters drawn anew from the seed's "scratch" stream.

    Every module's own `reset_parameters` runs first (it also resets running statistics), then
    the model's `initialise` where it has one (the kit's networks do: their rule sees the pruned
    widths), then `init(model)`. Buffers that no module resets are constants and stay.
    Raises PlanError for a parameter that none of the three sets: an inherited weight left in a
    network trained "from scratch" would spoil the comparison.
    """
    fresh = duplicate(model)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.fill_(float("nan"))  # what is still NaN in the end was not set
    with global_stream(seed, "scratch"):
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None) or getattr(
                module, "_reset_parameters", None)  # as nn.MultiheadAttention calls it
            if callable(reset):
                reset()
        own_rule = getattr(fresh, "initialise", None)
        if callable(own_rule):
            own_rule()
        if init is not None:
            init(fresh)
    kept = [name for name, p in fresh.named_parameters() if torch.isnan(p).any()]
    if kept:
        for module, how in computed_weights(model).items():
            if any(value is p for p in module.parameters() for n, value in
                   model.named_parameters() if n in kept):
                raise PlanError(f"{how}, so that new weights can be drawn for it.")
        raise PlanError(
            f"no rule draws new values for {', '.join(kept[:3])} of {type(model).__name__}; give "
            "the model a method initialise(), or pass init=function, that sets them.")
    return fresh


def gamma_of(variant: str, network: str) -> float:
    """Initial scale of the normalisations in the variant of a `network` that a method of the study
    prunes. Raises ConfigError for a name that is not known."""
    if variant not in GAMMAS:
        raise unknown_name(f"{network} variant", variant, GAMMAS)
    return GAMMAS[variant]


def draw_weights(model: nn.Module, *, fan: str = "out", gamma: float = 1.0,
                 hidden_gamma: float = 1.0, linear: str = "uniform") -> None:
    """Draw all weights of `model` anew from the global generator: the study's rules, in place.

    Convolutions: normal, std sqrt(2 / (kernel area * channels)) of the "out" or "in" channels
    that `fan` names, bias 0. Batch normalisations: scale `gamma` after a convolution and
    `hidden_gamma` after a linear layer, shift 0, fresh statistics. Linear layers: "uniform" as
    torch draws them, "small" normal with std 0.01 and bias 0, or "he" normal with std
    sqrt(2 / inputs) and bias 0.
    Source: the released code of Liu et al. (ICLR 2019) and He et al. (ICCV 2015).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels if fan == "out" else module.in_channels
            area = math.prod(module.kernel_size)
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / (area * channels)))
        elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            module.reset_parameters()
            nn.init.constant_(module.weight,
                              gamma if isinstance(module, nn.BatchNorm2d) else hidden_gamma)
        elif isinstance(module, nn.Linear) and linear == "uniform":
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            std = 0.01 if linear == "small" else math.sqrt(2.0 / module.in_features)
            nn.init.normal_(module.weight, 0.0, std)
        bias_is_zero = isinstance(module, nn.Conv2d) or (
            isinstance(module, nn.Linear) and linear != "uniform")
        if bias_is_zero and isinstance(module.bias, nn.Parameter):
            nn.init.zeros_(module.bias)


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


def sparse_initialise(model: nn.Module, masks: Mapping[str, Tensor], seed: int) -> None:
    """Draw each masked convolution of `model` anew, in place: normal with standard deviation
    sqrt(2 / n), n the living weights for each input channel.

    For a dense layer that is the usual rule sqrt(2 / (k * k * out_channels)); a sparse one starts
    larger by 1 / sqrt(density), so that its outputs have the scale of the dense layer's. Where a
    mask is a narrower layer in disguise (whole filters and whole inputs), inputs that are not read
    do not count, and the rule is that of the narrower layer.
    masks: parameter name to a boolean tensor; drawn from the seed's "sparse" stream.
    Source: Liu et al. (ICLR 2019), section 4.3 and the released code.
    """
    with torch.no_grad(), global_stream(seed, "sparse"):
        for name, module in model.named_modules():
            mask = masks.get(f"{name}.weight")
            if mask is None or not isinstance(module, nn.modules.conv._ConvNd):
                continue
            kernels = mask.flatten(2).any(2)
            filters, inputs = kernels.any(1), kernels.any(0)
            whole = filters[:, None] & inputs
            narrower = torch.equal(mask.flatten(2), whole[..., None].expand_as(mask.flatten(2)))
            read, living = int(inputs.sum()) if narrower else mask.shape[1], int(mask.sum())
            if living:
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 * read / living))
