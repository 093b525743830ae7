"""Statistics of a paired comparison: what n differences can show, and what they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rethinklab.errors import ConfigError

ALPHA = 0.05
MOST_EXACT_PAIRS = 16
RESAMPLES = 100_000


@dataclass(frozen=True)
class PairedComparison:
    """A minus B over n pairs, in the unit of the values (percentage points for accuracies).

    mean, sd: of the differences. low, high: t interval at 1 - alpha. p_signflip: two-sided
    sign-flip test of the mean (exact up to 16 pairs), smallest_p: the least it can be with n
    pairs. p_equivalence: two one-sided t tests against +-margin. verdict: "better", "worse",
    "equivalent" or "not decided". str() says it in words.
    """

    a: str
    b: str
    n: int
    mean: float
    sd: float
    low: float
    high: float
    p_signflip: float
    smallest_p: float
    p_equivalence: float
    margin: float
    alpha: float
    verdict: str

    def __str__(self) -> str:
        return sentence(self)


def compare_paired(a: Sequence[float], b: Sequence[float], *, margin: float,
                   names: tuple[str, str] = ("A", "B"), alpha: float = ALPHA) -> PairedComparison:
    """Compare paired values a and b: t interval, sign-flip test, equivalence within `margin`.

    Equivalence is claimed where both one-sided t tests against the margin have p < alpha
    (Schuirmann 1987); else a difference where the t interval leaves out zero; else nothing.
    With one pair, or differences that are all alike, no spread can be estimated and nothing is
    claimed. Raises ConfigError for samples of unequal length, no pair, or a margin not above 0,
    or values that are not finite.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ConfigError(f"a paired comparison needs as many values of {names[0]} ({len(a)}) as "
                          f"of {names[1]} ({len(b)}), and at least one pair.")
    if not (margin > 0 and math.isfinite(margin)):
        raise ConfigError(f"margin {margin!r} must be a number above 0.")
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha {alpha!r} must lie between 0 and 1.")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if not np.isfinite(differences).all():
        raise ConfigError(f"the values of {names[0]} and {names[1]} are not all finite numbers.")
    n = len(differences)
    mean = float(differences.mean())
    sd = float(differences.std(ddof=1)) if n > 1 else math.nan
    low, high, p_equivalence = _t_results(differences, margin, alpha)
    if math.isnan(low):
        verdict = "not decided"
    elif p_equivalence < alpha:
        verdict = "equivalent"
    elif low > 0:
        verdict = "better"
    elif high < 0:
        verdict = "worse"
    else:
        verdict = "not decided"
    return PairedComparison(*names, n, mean, sd, low, high, sign_flip_p(differences),
                            min(1.0, 2.0 ** (1 - n)), p_equivalence, margin, alpha, verdict)


def _t_results(differences: np.ndarray, margin: float, alpha: float) -> tuple[float, float, float]:
    """(low, high, p of equivalence), all NaN where the spread cannot be estimated."""
    from scipy import stats

    n = len(differences)
    if n < 2 or np.ptp(differences) < 1e-12 * max(1.0, float(np.abs(differences).max())):
        return math.nan, math.nan, math.nan
    mean, error = float(differences.mean()), float(stats.sem(differences))
    reach = float(stats.t.ppf(1 - alpha / 2, n - 1)) * error
    above = stats.t.sf((mean + margin) / error, n - 1)
    below = stats.t.cdf((mean - margin) / error, n - 1)
    return mean - reach, mean + reach, float(max(above, below))


def sign_flip_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of the sign-flip test: how often random signs give a mean as far from zero.

    Exact over all 2^n signs up to 16 pairs, 100,000 seeded draws beyond (Fisher 1935).
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n == 1:
        return 1.0
    exact = n <= MOST_EXACT_PAIRS
    result = stats.permutation_test(
        (values, np.zeros(n)), lambda x, y, axis: np.mean(x - y, axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=np.inf if exact else RESAMPLES,
        rng=np.random.default_rng(0))
    return float(min(1.0, result.pvalue))


def pairs_needed(alpha: float = ALPHA) -> int:
    """The least number of pairs with which the exact sign-flip test can reach p <= alpha."""
    return math.ceil(1 - math.log2(alpha))


def sentence(c: PairedComparison) -> str:
    """The comparison in words, with what n pairs cannot show."""
    pairs = f"{c.n} pair" + ("s" if c.n != 1 else "")
    head = f"{c.a} minus {c.b}: {c.mean:+.2f} points"
    if math.isnan(c.low):
        why = ("one pair says nothing about the spread" if c.n == 1 else
               "the differences are all alike, so their spread cannot be estimated")
        return f"{head} ({pairs}). Verdict: not decided at this n; {why}."
    head += f" ({100 * (1 - c.alpha):g} % t interval {c.low:+.2f} to {c.high:+.2f}, {pairs})."
    verdict = {
        "equivalent": f"equivalent within {c.margin:g} points (two one-sided tests, "
                      f"p = {c.p_equivalence:.3f})",
        "better": f"{c.a} is better: the interval leaves out zero",
        "worse": f"{c.a} is worse: the interval leaves out zero",
        "not decided": f"not decided at this n: neither a difference nor equivalence within "
                       f"{c.margin:g} points (p = {c.p_equivalence:.2f}) is shown",
    }[c.verdict]
    kind = "Exact sign-flip" if c.n <= MOST_EXACT_PAIRS else "Sign-flip"
    text = f"{head} Verdict: {verdict}. {kind} p = {c.p_signflip:.3g}"
    if c.smallest_p > c.alpha:
        text += (f", the least that {pairs} can give being {c.smallest_p:.3g}: with fewer than "
                 f"{pairs_needed(c.alpha)} pairs this test cannot reach {c.alpha:g}, and the "
                 "verdict rests on differences that follow a normal law")
    return text + "."
