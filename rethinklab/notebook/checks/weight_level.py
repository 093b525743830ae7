"""Checks of notebook 08."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.results import Results
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_title

SHARES = (0.25, 0.8)


def lead(answer: Any, results: Results, over: str) -> str:
    """The mean of the best regime that inherits weights minus that of `over`, in points.

    Raises Wrong for a swapped sign, fractions, another regime, or no number.
    """
    answered(answer)
    value = number(answer)
    means = results.summary()["mean"]
    inheriting = [regime for regime in results.regimes if regime != UNPRUNED
                  and find_regime(regime).start == "inherited"]
    best = max(inheriting, key=lambda regime: float(means[regime]))
    expected, other = float(means[best] - means[over]), _title(over)
    if not close(value, expected):
        refuse(close(value, -expected), f"The sign is swapped: this is {other} minus the best.")
        refuse(close(value * 100, expected),
               "This is a difference of fractions; the summary is in percent, so use it as it is.")
        for regime in results.regimes:
            refuse(close(value, float(means[regime] - means[over])),
                   f"This is the lead of {_title(regime)}"
                   + (", and another regime that inherits has a higher mean." if regime
                      in inheriting else ", which does not inherit pruned weights."))
        refuse(True, "This is not the difference of the two means. Take the higher one of those "
                     f"that inherit, and subtract that of {other}.")
    return f"{_title(best)} leads {other} by {expected:+.2f} points on average."


def _title(regime: str) -> str:
    return "the unpruned network" if regime == UNPRUNED else regime_title(regime)


def stored_bytes(answer: Any, weights: int = 1_000_000, density: float = 0.2, value_bytes: int = 4,
                 index_bytes: int = 2) -> str:
    """The bytes of a sparse tensor that stores each living weight with an index.

    Raises Wrong where the index is left out, where dead weights are stored, or for the share.
    """
    answered(answer)
    value = number(answer)
    living = round(weights * density)
    right = living * (value_bytes + index_bytes)
    refuse(value == living * value_bytes,
           "These are the values alone. Without an index nobody knows where they belong.")
    refuse(value == weights * (value_bytes + index_bytes),
           "This stores every weight with an index. Only those that live are stored.")
    refuse(value == living * value_bytes + weights * index_bytes,
           "This stores an index for every weight. Only those that live have one.")
    refuse(value == (weights - living) * (value_bytes + index_bytes),
           "This counts the weights that were removed.")
    demand(value == right, "Multiply the number of living weights by the bytes of a value and an "
                           "index together.")
    return (f"{right:,} bytes, {right / (weights * value_bytes):.0%} of the dense tensor, where "
            f"{density:.0%} of the weights live.")


def layer_by_layer(answer: Callable[[Mapping[str, Tensor], float], Any]) -> str:
    """A function from weights by name and a share to masks that each remove that share of their
    own layer, the smallest magnitudes.

    Raises Wrong for one threshold over all layers, signed values, the complement, or masks of
    another form.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    generator = torch.Generator().manual_seed(0)
    weights = {"wide": torch.randn(8, 5, 3, 3, generator=generator) / 10,
               "narrow": torch.randn(4, 3, 3, 3, generator=generator)}
    for share in SHARES:
        masks = answer(dict(weights), share)
        returned(masks)
        demand(isinstance(masks, Mapping) and set(masks) == set(weights),
               "The function must give a dict with a mask for each name of the weights.")
        for name, weight in weights.items():
            demand(isinstance(masks[name], Tensor) and masks[name].dtype == torch.bool
                   and masks[name].shape == weight.shape,
                   f"The mask of {name!r} must be a boolean tensor of the weight's shape, "
                   f"{tuple(weight.shape)}.")
        refuse(_alike(masks, _keep_largest(weights, share, together=True)),
               "This is one threshold for all layers, as in section 1. Each layer must lose the "
               "same share of its own weights.")
        refuse(_alike(masks, {name: ~mask for name, mask in
                              _keep_largest(weights, share).items()}),
               "The masks are the wrong way round: True is for the weights that live.")
        refuse(_alike(masks, _keep_largest(weights, 1 - share)),
               f"This keeps the share {share:g}; it must remove it.")
        refuse(_alike(masks, _keep_largest(weights, share, signed=True)),
               "The magnitude is missing: large negative weights are removed as if they were "
               "small.")
        demand(_alike(masks, _keep_largest(weights, share)),
               f"At a share of {share:g} the masks must keep the largest magnitudes of each layer, "
               f"{', '.join(f'{_living(w, share)} of {w.numel()}' for w in weights.values())}.")
    return "each layer loses the same share, its own smallest weights."


def near_zero(answer: Callable[[Tensor, Tensor, float], Any]) -> str:
    """A function (weight, mask, limit) to the share of living weights of magnitude below limit.

    Raises Wrong where masked weights are counted, signs are not dropped, or the share is of all.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    generator = torch.Generator().manual_seed(1)
    limit, weight = 0.5, torch.randn(6, 4, 3, 3, generator=generator)
    mask = torch.rand(weight.shape, generator=generator) < 0.4
    weight = weight * mask
    weight[0, 0, 0, 0], mask[0, 0, 0, 0] = 0.0, True  # alive, and zero by chance
    found = answer(weight.clone(), mask.clone(), limit)
    returned(found)
    value = float(found) if isinstance(found, Tensor) and found.numel() == 1 else number(found)
    small, living = weight.abs() < limit, int(mask.sum())
    right = int((small & mask).sum())
    refuse(_near(value, right), "This is their number; divide by that of the living weights.")
    refuse(_near(value, float(small.float().mean())),
           "Masked weights are counted as well. They are zero, so they hide what is looked for.")
    refuse(_near(value, right / weight.numel()),
           "This divides by all weights, masked ones included; divide by those that live.")
    refuse(_near(value, int(((weight < limit) & mask).sum()) / living),
           "The magnitude is missing: every negative weight counts as near zero here.")
    refuse(_near(value, int((small & (weight != 0)).sum()) / int((weight != 0).sum())),
           "A living weight that is exactly zero is left out. The mask says what lives, not the "
           "values.")
    demand(_near(value, right / living), f"For one example the share must be {right / living:.3f}, "
                                         f"and the function gives {value:.3f}.")
    return "the share of living weights near zero. A network that was just pruned has none."


def _keep_largest(weights: Mapping[str, Tensor], share: float, together: bool = False,
                  signed: bool = False) -> dict[str, Tensor]:
    """Masks of all but the int(share * number) smallest: of each layer, or of all together."""
    sizes = {name: weight if signed else weight.abs() for name, weight in weights.items()}
    if not together:
        return {name: _above(size.flatten(), share).view(size.shape)
                for name, size in sizes.items()}
    whole = _above(torch.cat([size.flatten() for size in sizes.values()]), share)
    parts = whole.split([size.numel() for size in sizes.values()])
    return {name: part.view(weights[name].shape)
            for name, part in zip(weights, parts, strict=True)}


def _above(values: Tensor, share: float) -> Tensor:
    mask = torch.ones(len(values), dtype=torch.bool)
    mask[values.argsort()[: int(round(len(values) * share, 6))]] = False
    return mask


def _living(weight: Tensor, share: float) -> int:
    return weight.numel() - int(round(weight.numel() * share, 6))


def _alike(masks: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Whether the masks differ in no more than one weight a layer: how a threshold is rounded is
    left open."""
    return all(int((mask != others[name]).sum()) <= 1 for name, mask in masks.items())


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-6 * max(1.0, abs(b))
