"""Linear mode connectivity: networks on the straight line between two, and the barrier there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rethinklab.errors import ConfigError
from rethinklab.models.outputs import readable
from rethinklab.values import number, plain

State = Mapping[str, Tensor]


def interpolate(state_a: State, state_b: State, alpha: float) -> dict[str, Tensor]:
    """The weights at (1 - alpha) * a + alpha * b, tensor by tensor.

    state_a, state_b: weights and buffers by name, of equal shapes. alpha: 0 gives a, 1 gives b.
    Whole numbers (counters, indices) are those of the nearer network, of a at one half.
    Raises ConfigError where names or shapes differ, or alpha lies outside 0 to 1.
    """
    alpha = number("alpha", alpha, 0, 1,
                   rule="between 0, the first network, and 1, the second")
    for name in sorted(set(state_a) ^ set(state_b)):
        raise ConfigError(f"{name} is in one of the networks only; interpolate between networks "
                          "of one architecture.")
    between = {}
    for name, a in state_a.items():
        b = state_b[name]
        if a.shape != b.shape:
            raise ConfigError(f"{name} has the shapes {tuple(a.shape)} and {tuple(b.shape)}; "
                              "interpolate between networks of one architecture.")
        if a.is_floating_point():
            between[name] = (1 - alpha) * a + alpha * b
        else:
            between[name] = (a if alpha <= 0.5 else b).clone()
    return between


def barrier(alphas: Sequence[float], values: Sequence[float]) -> float:
    """The most that values on the line between two networks rise above the straight line between
    those of its ends; 0 where they never do, NaN where a value is NaN.

    alphas: places from 0 to 1, both ends among them, in any order. values: of the loss or the
    error there. Source: Entezari et al. (ICLR 2022), section 2; Frankle et al. (ICML 2020)
    subtract the mean of both ends, which is the same where these are equal.
    Raises ConfigError where an end is missing or the lengths differ.
    """
    if len(alphas) != len(values):
        raise ConfigError(f"a barrier needs as many values ({len(values)}) as alphas "
                          f"({len(alphas)}).")
    at = dict(zip(map(float, plain(alphas)), map(float, values), strict=True))
    if 0.0 not in at or 1.0 not in at:
        raise ConfigError(f"a barrier needs the values at both ends, 0 and 1; alphas are "
                          f"{', '.join(f'{alpha:g}' for alpha in sorted(at)) or 'none'}.")
    if any(map(math.isnan, at.values())):
        return math.nan
    return max(0.0, *(value - ((1 - alpha) * at[0.0] + alpha * at[1.0])
                      for alpha, value in at.items()))


def normalisations(model: nn.Module) -> list[_BatchNorm]:
    """The batch normalisations that keep statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


@torch.no_grad()
def reestimate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of batch normalisations to those of the images, the network otherwise in
    evaluation mode: mean and variance averaged over the batches, each with equal weight.

    batches: float (B, C, H, W) of more than one image each. An average of two networks' statistics
    is not what the averaged network's activations have, and without this a barrier is found where
    there may be none (Jordan et al., 2022, arXiv 2211.08403).
    """
    modes = {module: module.training for module in model.modules()}
    layers = normalisations(model)
    momenta = [layer.momentum for layer in layers]
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain average of all batches
            layer.train()
        for images in batches if layers else ():
            model(readable(model, images))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
