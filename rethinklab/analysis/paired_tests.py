"""Tests of the mean of paired differences: t tests, and the sign-flip test without a normal law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rethinklab.errors import ConfigError

Floats = NDArray[np.float64]

ALPHA = 0.05
MOST_EXACT_PAIRS = 16
RESAMPLES = 100_000
LONGEST = 60  # characters of a value in an error
ROUNDING = 1e-12  # differences that spread less than this are alike but for rounding


def as_array(values: Any) -> NDArray[Any]:
    """`values` as numpy has them; of no dimension where it cannot (a ragged list, say)."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # the others: a tensor that is not on the CPU
        return np.asarray(None)


def are_numbers(array: NDArray[Any]) -> bool:
    """Whether an array is a flat list of numbers, or of true and false."""
    return array.ndim == 1 and array.dtype.kind in "biuf"


def as_numbers(values: Any, what: str) -> Floats:
    """`values` as an array (n,). Raises ConfigError, naming `what`, for text, gaps (None), lists
    within lists and what else is no flat list of numbers."""
    array = as_array(values)
    if not are_numbers(array):
        raise ConfigError(f"{what} {_shortly(values)} must be a list of numbers; convert text, and "
                          "leave out what is missing.")
    return array.astype(float)


def _shortly(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


class TTests(NamedTuple):
    """t tests of mean differences; each field has the shape of the studies.

    mean: of the differences. error: its standard error. p_t: two-sided against 0.
    p_equivalence: the larger of two one-sided tests against +-margin. p_noninferiority: one-sided
    against -margin. All but the mean are NaN where no spread can be estimated.
    """

    mean: Any
    error: Any
    p_t: Any
    p_equivalence: Any
    p_noninferiority: Any


def t_tests(differences: Any, margin: float) -> TTests:
    """The t tests of differences (..., n), of which the last axis is the n pairs of a study.

    Sources: Student (Biometrika 1908); equivalence: Schuirmann (J. Pharmacokinet. Biopharm. 1987).
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        unknown = np.full_like(mean, math.nan)
        return TTests(mean, *[unknown] * 4)
    spread, largest = np.ptp(values, axis=-1), np.abs(values).max(axis=-1)
    alike = spread < ROUNDING * np.maximum(1, largest)
    error = np.where(alike, math.nan, values.std(axis=-1, ddof=1) / math.sqrt(n))
    above_lower = stats.t.sf((mean + margin) / error, n - 1)
    below_upper = stats.t.cdf((mean - margin) / error, n - 1)
    return TTests(mean, error, 2 * stats.t.sf(np.abs(mean) / error, n - 1),
                  np.maximum(above_lower, below_upper), above_lower)


def sign_flip_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p of the sign-flip test: how often random signs give a mean as far from zero.

    Exact over all 2^n signs up to 16 pairs, 100,000 seeded draws beyond. It asks of the
    differences only that under no difference each is as likely as its negative.
    Source: Fisher (The Design of Experiments, 1935, section 21).
    """
    values = as_numbers(differences, "the differences")
    far = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    if len(values) <= MOST_EXACT_PAIRS:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= far))
    random = np.random.default_rng(0)
    beyond = 0
    for block in np.array_split(np.arange(RESAMPLES), 100):
        signs = random.integers(0, 2, (len(block), len(values)), dtype=np.int8) * 2.0 - 1
        beyond += int(np.count_nonzero(np.abs(signs @ values) >= far))
    return (beyond + 1) / (RESAMPLES + 1)  # the observed signs are one of the draws


def pairs_needed(alpha: float = ALPHA) -> int:
    """The least number of pairs with which the exact sign-flip test can reach p <= alpha."""
    return math.ceil(1 - math.log2(alpha))
