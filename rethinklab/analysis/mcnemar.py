"""Two networks on the same images: McNemar's test, and an interval of the accuracy difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rethinklab.analysis.claims import check_level
from rethinklab.analysis.paired_tests import ALPHA, are_numbers, as_array
from rethinklab.errors import ConfigError

OFF_THE_ESTIMATE = 1e-9  # of a proportion; a limit lies further out


@dataclass(frozen=True)
class McNemar:
    """A minus B on n images that both classified.

    both, only_a, only_b, neither: counts of images that are classified correctly by these.
    p: exact and two-sided. difference: of the accuracies, in percentage points; low, high: its
    score interval at 1 - alpha. They concern these two networks: what another seed of training
    would give is the question of `compare_paired`. str() says it in words.
    """

    a: str
    b: str
    both: int
    only_a: int
    only_b: int
    neither: int
    p: float
    difference: float
    low: float
    high: float
    alpha: float

    @property
    def n(self) -> int:
        """The number of images."""
        return self.both + self.only_a + self.only_b + self.neither

    def __str__(self) -> str:
        return (f"{self.a} minus {self.b}: {self.difference:+.2f} points of accuracy on "
                f"{self.n:,} images ({100 * (1 - self.alpha):g} % score interval {self.low:+.2f} "
                f"to {self.high:+.2f}). Only {self.a} is right on {self.only_a:,}, only {self.b} "
                f"on {self.only_b:,}: exact McNemar p = {self.p:.3g}, for these two networks.")


def mcnemar(correct_a: Sequence[bool] | NDArray[np.bool_],
            correct_b: Sequence[bool] | NDArray[np.bool_], *,
            names: tuple[str, str] = ("A", "B"), alpha: float = ALPHA) -> McNemar:
    """Compare two networks by which of the same images (n,) each classifies correctly.

    Only images on which one is right and the other wrong tell them apart; without a difference
    each is as likely as the other, so p is that of a fair coin. Raises ConfigError for arrays that
    are empty, differ in length, or hold other values than true and false (or 1 and 0).
    Sources: McNemar (Psychometrika 1947); interval: Tango (Statistics in Medicine 1998).
    """
    from scipy import stats

    alpha = check_level(alpha)
    a, b = (_as_booleans(*pair) for pair in zip((correct_a, correct_b), names, strict=True))
    if len(a) != len(b) or len(a) == 0:
        raise ConfigError(f"McNemar's test needs as many images of {names[0]} ({len(a):,}) as of "
                          f"{names[1]} ({len(b):,}), and at least one: pass both networks' hits "
                          "on the same images.")
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    both, neither = int(np.count_nonzero(a & b)), int(np.count_nonzero(~a & ~b))
    apart = only_a + only_b
    p = min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), apart, 0.5)))
    low, high = tango_interval(only_a, only_b, len(a), alpha)
    return McNemar(*names, both, only_a, only_b, neither, p, 100 * (only_a - only_b) / len(a),
                   100 * low, 100 * high, alpha)


def tango_interval(only_a: int, only_b: int, n: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Score interval of a difference of paired proportions, (only_a - only_b) / n, as proportions.

    It holds the differences that the score test does not reject at alpha, so it stays within
    -1 to 1 and has a width even where the two never disagree. Source: Tango (1998), section 3.
    """
    return -_upper_limit(only_b, only_a, n, alpha), _upper_limit(only_a, only_b, n, alpha)


def _upper_limit(only_a: int, only_b: int, n: int, alpha: float) -> float:
    from scipy import optimize, stats

    z = float(stats.norm.isf(alpha / 2))
    estimate = (only_a - only_b) / n
    if only_a == n:
        return 1.0

    def beyond(delta: float) -> float:
        """Squared score minus its critical value, times the variance; above 0 is rejected."""
        # the likelihood's maximum over P(only B is right), where P(only A) is that plus delta
        linear = (2 * n - only_a + only_b) * delta - only_a - only_b
        product = only_b * delta * (1 - delta)
        root = math.sqrt(max(0.0, linear * linear + 8 * n * product))
        # the larger root of 2n q^2 + linear q - product, written so that no digits cancel
        q = (root - linear) / (4 * n) if linear <= 0 else 2 * product / (linear + root)
        variance = n * (2 * q + delta * (1 - delta))
        return (only_a - only_b - n * delta) ** 2 - z * z * variance

    return float(optimize.brentq(beyond, estimate + OFF_THE_ESTIMATE, 1.0, xtol=1e-14))


def _as_booleans(values: Any, name: str) -> NDArray[np.bool_]:
    array = as_array(values)
    if not are_numbers(array) or not np.isin(array, (0, 1)).all():
        raise ConfigError(f"the hits of {name} (shape {array.shape}, type {array.dtype}) must be a "
                          "list of true and false, one for each image; compare predictions with "
                          "labels first.")
    return array.astype(bool)
