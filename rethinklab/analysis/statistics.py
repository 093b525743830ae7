"""Statistics of a paired comparison: what n differences can show, and what they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from rethinklab.analysis.claims import CLAIMS, adjust, check_level, check_margin, decide, holm
from rethinklab.analysis.effect import bca_interval, hedges_correction
from rethinklab.analysis.paired_tests import (
    ALPHA,
    MOST_EXACT_PAIRS,
    Floats,
    TTests,
    as_numbers,
    pairs_needed,
    sign_flip_p,
    t_tests,
)
from rethinklab.analysis.power import MOST_PAIRS, pairs_for
from rethinklab.errors import ConfigError, unknown_name

__all__ = ["PairedComparison", "compare_family", "compare_paired", "holm", "pairs_needed",
           "sentence", "sign_flip_p"]

PLANNED_POWER = 0.8


@dataclass(frozen=True)
class PairedComparison:
    """A minus B over n pairs, in the unit of the values (percentage points for accuracies).

    mean, sd: of the differences. low, high: t interval at 1 - alpha. p_signflip: two-sided
    sign-flip test of the mean (exact up to 16 pairs), smallest_p: the least it can be with n
    pairs. p_equivalence: two one-sided t tests against +-margin. verdict: "better", "worse",
    "equivalent" or "not decided"; for the claim of non-inferiority "not inferior" or "not
    decided". str() says it in words.

    p_t: two-sided t test. p_noninferiority: one-sided t test against -margin. bca_low, bca_high:
    bootstrap interval of the mean. d_z: mean in standard deviations of the differences (Lakens,
    Frontiers in Psychology 2013); hedges_g: the same without its small-sample bias. family: the
    comparisons declared together; p_t_holm, p_equivalence_holm, p_noninferiority_holm: adjusted
    over these. The verdict rests on the adjusted p; the intervals are those of one comparison.
    Numbers that the pairs cannot give are NaN.
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
    claim: str
    p_t: float
    p_noninferiority: float
    bca_low: float
    bca_high: float
    d_z: float
    hedges_g: float
    family: int
    p_t_holm: float
    p_equivalence_holm: float
    p_noninferiority_holm: float

    def __str__(self) -> str:
        return sentence(self)


def compare_paired(a: Sequence[float], b: Sequence[float], *, margin: float,
                   names: tuple[str, str] = ("A", "B"), alpha: float = ALPHA,
                   claim: str = "difference") -> PairedComparison:
    """Compare paired values a and b, of which larger ones are better.

    claim "difference": equivalence is claimed where both one-sided t tests against the margin
    have p < alpha (Schuirmann 1987); else a difference where the t interval leaves out zero; else
    nothing. "non-inferiority": that a is not worse by the margin is claimed where the one-sided t
    test has p < alpha. With one pair, or differences that are all alike, no spread can be
    estimated and nothing is claimed. For several comparisons in one study use `compare_family`.
    Raises ConfigError for samples of unequal length, no pair, values that are no numbers or
    not finite, a margin not above 0, an alpha outside 0 to 0.5, or an unknown claim.
    """
    return compare_family([(*names, a, b)], margin=margin, alpha=alpha, claim=claim)[0]


def compare_family(pairs: Sequence[tuple[str, str, Sequence[float], Sequence[float]]], *,
                   margin: float, alpha: float = ALPHA,
                   claim: str = "difference") -> list[PairedComparison]:
    """Compare as `compare_paired`, for a family of comparisons that were declared together.

    pairs: (name of a, name of b, values of a, values of b) of each. The p-values of each kind
    are adjusted over the family (Holm 1979), so that the chance of any false difference in it is
    at most alpha, and so is that of any false equivalence or non-inferiority. Raises ConfigError
    as `compare_paired`, and for a family without comparisons.
    """
    if claim not in CLAIMS:
        raise unknown_name("claim", claim, CLAIMS)
    alpha, margin = check_level(alpha), check_margin(margin)
    if not isinstance(pairs, Sequence) or not pairs or not all(
            isinstance(pair, Sequence) and len(pair) == 4 for pair in pairs):
        raise ConfigError("a family of comparisons needs at least one; pass a list with (name, "
                          "name, values, values) for each.")
    differences = list(starmap(_differences, pairs))
    tests = TTests(*map(np.stack, zip(*(t_tests(d, margin) for d in differences), strict=True)))
    adjusted = adjust(tests)
    verdicts = decide(adjusted, alpha, claim)
    return [_comparison(pair[0], pair[1], differences[i], _one_test(tests, i),
                        _one_test(adjusted, i), len(pairs), str(verdicts[i]), margin, alpha, claim)
            for i, pair in enumerate(pairs)]


def _differences(a: str, b: str, values_a: Sequence[float], values_b: Sequence[float]) -> Floats:
    first = as_numbers(values_a, f"the values of {a}")
    second = as_numbers(values_b, f"the values of {b}")
    if len(first) != len(second) or len(first) == 0:
        raise ConfigError(f"a paired comparison needs as many values of {a} ({len(first)}) as "
                          f"of {b} ({len(second)}), and at least one pair.")
    differences = first - second
    if not np.isfinite(differences).all():
        raise ConfigError(f"the values of {a} and {b} are not all finite numbers.")
    return differences


def _one_test(tests: TTests, i: int) -> TTests:
    return TTests(*(float(field[i]) for field in tests))


def _comparison(a: str, b: str, differences: Floats, tests: TTests, adjusted: TTests, family: int,
                verdict: str, margin: float, alpha: float, claim: str) -> PairedComparison:
    from scipy import stats

    n = len(differences)
    sd = float(differences.std(ddof=1)) if n > 1 else math.nan
    reach = float(stats.t.isf(alpha / 2, n - 1)) * tests.error
    if math.isnan(tests.error):
        bca_low = bca_high = d_z = math.nan
    else:
        bca_low, bca_high = bca_interval(differences, alpha)
        d_z = tests.mean / sd
    return PairedComparison(
        a=a, b=b, n=n, mean=tests.mean, sd=sd, low=tests.mean - reach, high=tests.mean + reach,
        p_signflip=sign_flip_p(differences), smallest_p=min(1.0, 2.0 ** (1 - n)),
        p_equivalence=tests.p_equivalence, margin=margin, alpha=alpha, verdict=verdict,
        claim=claim, p_t=tests.p_t, p_noninferiority=tests.p_noninferiority,
        bca_low=bca_low, bca_high=bca_high, d_z=d_z, hedges_g=d_z * hedges_correction(n - 1),
        family=family, p_t_holm=adjusted.p_t, p_equivalence_holm=adjusted.p_equivalence,
        p_noninferiority_holm=adjusted.p_noninferiority)


def sentence(c: PairedComparison) -> str:
    """The comparison in words, with what n pairs cannot show."""
    head = f"{c.a} minus {c.b}: {c.mean:+.2f} points"
    if math.isnan(c.low):
        why = ("one pair says nothing about the spread" if c.n == 1 else
               "the differences are all alike, so their spread cannot be estimated")
        return f"{head} (n = {c.n}). Verdict: not decided at n = {c.n}; {why}."
    kind = "exact sign-flip" if c.n <= MOST_EXACT_PAIRS else "sign-flip"
    few = c.smallest_p > c.alpha
    bound = f", never below {c.smallest_p:.3g} at this n" if few else ""
    alone, family = (("unadjusted ", f" (Holm over {c.family} comparisons)") if c.family > 1 else
                     ("", ""))
    head += (f" ({alone}{100 * (1 - c.alpha):g} % t interval {c.low:+.2f} to {c.high:+.2f}, "
             f"n = {c.n}, {kind} p = {c.p_signflip:.3g}{bound}).")
    if c.verdict == "not decided":
        return f"{head} Verdict: not decided at n = {c.n}{family}; {_pairs_wanted(c)}."
    verdict, test, p = {
        "equivalent": (f"equivalent within {_points(c.margin)}", "two one-sided t tests",
                       c.p_equivalence_holm),
        "better": (f"{c.a} is better", "t test", c.p_t_holm),
        "worse": (f"{c.a} is worse", "t test", c.p_t_holm),
        "not inferior": (f"{c.a} is not inferior by {_points(c.margin)} or more",
                         "one-sided t test", c.p_noninferiority_holm),
    }[c.verdict]
    trust = ("; with so few pairs this rests on differences that follow a normal law" if few
             else "")
    return f"{head} Verdict: {verdict}, {test} p = {p:.2g}{family}{trust}."


def _pairs_wanted(c: PairedComparison) -> str:
    """What the planned power takes at the observed spread; in a family at alpha / family, the
    strictest step of Holm."""
    truth, aim = ((0.0, "to show non-inferiority where there is no difference")
                  if c.claim == "non-inferiority" else
                  (c.margin, f"for a true difference of {_points(c.margin)}"))
    try:
        pairs = pairs_for(PLANNED_POWER, truth, c.sd, c.alpha / c.family, c.margin,
                          claim=c.claim)
        wanted = f"about {pairs:,} pairs"
    except ConfigError:  # the arguments hold, so none of the numbers up to the most is enough
        wanted = f"more than {MOST_PAIRS:,} pairs"
    return f"{100 * PLANNED_POWER:g} % power {aim} takes {wanted} at this spread"


def _points(value: float) -> str:
    return f"{value:g} point" + ("" if value == 1 else "s")
