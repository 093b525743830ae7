"""Checks of notebook 04."""

from __future__ import annotations

from collections.abc import Mapping
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

REFITTED, OLD = "regression", "regression, not refitted"


def refit_gain(answer: Any, accuracy: Mapping[str, float]) -> str:
    """What the refit brings in percentage points, from accuracies (fractions) by network.

    Raises Wrong for a fraction, a swapped sign, or the difference from another network.
    """
    answered(answer)
    value = number(answer)
    expected = 100 * (accuracy[REFITTED] - accuracy[OLD])
    if not close(value, expected):
        refuse(close(value * 100, expected),
               "This is a difference of fractions; a percentage point is a hundredth.")
        refuse(close(value, -expected) or close(value * 100, -expected),
               "The sign is swapped: subtract the accuracy without the refit from the one with it.")
        for name, other in accuracy.items():
            refuse(name not in (REFITTED, OLD)
                   and close(value, 100 * (accuracy[REFITTED] - other)),
                   f"This is the lead over {name}, which keeps other channels. Compare with the "
                   "same channels and their old weights.")
        refuse(True, "This is not the gain. Both networks have the channels that the regression "
                     "method chose; one has refitted weights.")
    return f"with the same channels the refit brings {expected:+.1f} points before any training."


def one_channel(answer: Any, gram: float = 4, cross: float = 3, strength: float = 1) -> str:
    """The coefficient of a single channel: argmin 1/2 gram b^2 - cross b + strength |b|.

    Raises Wrong for the coefficient without the penalty, a threshold at the wrong place, or a
    shift in the wrong direction.
    """
    answered(answer)
    value = number(answer)
    expected = max(cross - strength, 0) / gram
    if not close(value, expected):
        refuse(close(value, cross / gram), "This is the coefficient without the penalty.")
        refuse(close(value, max(cross / gram - strength, 0)),
               "The strength is subtracted too late: take it from 3 before the division by 4.")
        refuse(close(value, (cross + strength) / gram),
               "The penalty moves the coefficient towards zero, not away from it.")
        refuse(close(value, 2 * expected) or close(value, expected / 2),
               "A factor of two is wrong: the quadratic part has a half in front of it, which the "
               "derivative takes away.")
        refuse(True, "Write down the sum for a positive coefficient, without what does not depend "
                     "on it, and set its derivative to zero.")
    return (f"the coefficient is {expected:g} in place of {cross / gram:g}, and from a strength "
            f"of {cross:g} on it would be zero.")


def refit_from_grams(answer: Any) -> str:
    """A function from P^T P, P^T Y, the kept channels and the taps to the refitted weights.

    Raises Wrong for weights of the full fit, channels taken for features, another order, or
    another solution.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for draw, taps in ((0, 4), (1, 9), (2, 1)):
        patches, outputs = sample_layer(draw, taps)
        kept = [4, 0, 3]
        wanted = fit(patches, outputs, kept)
        flat = patches.flatten(1)
        found = answer(flat.T @ flat, flat.T @ outputs, list(kept), taps)
        returned(found)
        demand(isinstance(found, Tensor) and found.ndim == 2,
               f"The function must give a matrix, not {kind(found)}.")
        refuse(found.shape == wanted.T.shape != wanted.shape,
               "The answer is turned round: features are rows, and outputs are columns.")
        refuse(taps > 1 and found.shape[0] == len(kept),
               f"There is one row for each kept channel. Each channel has {taps} features, so "
               f"{len(kept)} channels have {len(kept) * taps}.")
        demand(found.shape == wanted.shape,
               f"The answer must have the shape {tuple(wanted.shape)} here, and it has "
               f"{tuple(found.shape)}.")
        if torch.allclose(found, wanted, rtol=1e-5, atol=1e-8):
            continue
        every = fit(patches, outputs, list(range(patches.shape[1])))
        full = every.view(patches.shape[1], taps, -1)[kept].flatten(0, 1)
        refuse(torch.allclose(found, full, rtol=1e-5, atol=1e-8),
               "These rows come from the fit with all channels. The kept channels must be fitted "
               "without the others: cut the matrix first, then solve.")
        refuse(torch.allclose(found, fit(patches, outputs, sorted(kept)), rtol=1e-5, atol=1e-8),
               "The weights are right but sorted by channel; give them in the order of `kept`.")
        refuse(True, "These are not the least-squares weights. Solve the normal equations with "
                     "the rows and columns of the kept channels' features.")
    return "the weights agree with least squares on the samples, for kernels of three sizes."


def proximal(answer: Any) -> str:
    """A function from gram, cross and strength to the LASSO's coefficients.

    Raises Wrong for values that grow without limit, a missing penalty, a threshold that is not
    scaled, the penalty at the end only, or another solution.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for draw in range(3):
        patches, outputs = sample_layer(draw, taps=1)
        z, y = patches[:, :, 0], outputs[:, 0]
        gram, cross = z.T @ z / len(y), z.T @ y / len(y)
        strength = 0.3 * float(cross.abs().max())
        wanted = descend(gram, cross, strength)
        found = answer(gram.clone(), cross.clone(), strength)
        returned(found)
        demand(isinstance(found, Tensor) and found.shape == cross.shape,
               f"The function must give one coefficient for each channel, shape "
               f"{tuple(cross.shape)}, not {kind(found)} of shape "
               f"{tuple(getattr(found, 'shape', ()))}.")
        if torch.allclose(found, wanted, atol=1e-4):
            continue
        refuse(not torch.isfinite(found).all() or float(found.abs().max()) > 1e3,
               "The coefficients grow without limit: the step is too large, or goes up the "
               "gradient. Its size is one over the largest eigenvalue.")
        free = torch.linalg.solve(gram, cross)
        refuse(torch.allclose(found, free, atol=1e-4),
               "These are the coefficients without the penalty: the move towards zero is missing.")
        size = float(1 / torch.linalg.eigvalsh(gram)[-1])
        refuse(torch.allclose(found, descend(gram, cross, strength / size), atol=1e-4),
               "The move towards zero must be scaled by the step size, as the step is.")
        refuse(any(torch.allclose(found, soft(free, a), atol=1e-4)
                   for a in (strength, size * strength)),
               "The move towards zero comes after all steps. It belongs into each of them, for "
               "the next gradient depends on it.")
        refuse(torch.allclose(found, -wanted, atol=1e-4), "All signs are swapped.")
        refuse(True, "These are not the coefficients of the LASSO. Check the gradient, "
                     "gram @ beta - cross, and that there are steps enough.")
    used = int(wanted.count_nonzero())
    return (f"the coefficients agree with coordinate descent; {used} of {len(wanted)} are not "
            "zero in the last case.")


def sample_layer(draw: int, taps: int, samples: int = 80, channels: int = 6,
                 outputs: int = 3) -> tuple[Tensor, Tensor]:
    """Patches (samples, channels, taps) that depend on each other, and outputs with some noise."""
    draws = torch.Generator().manual_seed(200 + draw)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    features = channels * taps
    flat = normal(samples, features) @ (torch.eye(features).double() + 0.2 * normal(
        features, features))
    made = flat @ normal(features, outputs) + 0.1 * normal(samples, outputs)
    return flat.view(samples, channels, taps), made


def fit(patches: Tensor, outputs: Tensor, kept: list[int]) -> Tensor:
    """Least-squares weights from the samples themselves."""
    return torch.linalg.lstsq(patches[:, kept].flatten(1), outputs).solution


def soft(values: Tensor, amount: float) -> Tensor:
    """`values` moved towards zero by `amount`, no further than zero."""
    return values.sign() * (values.abs() - amount).clamp(min=0)


def descend(gram: Tensor, cross: Tensor, strength: float, sweeps: int = 80) -> Tensor:
    """The LASSO's coefficients by coordinate descent."""
    beta = torch.zeros_like(cross)
    for _ in range(sweeps):
        for c in range(len(beta)):
            pull = cross[c] - gram[c] @ beta + gram[c, c] * beta[c]
            beta[c] = soft(pull, strength) / gram[c, c]
    return beta
