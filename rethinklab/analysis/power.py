"""Power of the paired t tests, and the pairs that a study needs; exact under a normal law.

All integrate over the law of the estimated standard deviation: given that, the mean is normal and
each test asks for it to lie in a region whose bounds are proportional to the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rethinklab.analysis.claims import check_level, check_margin
from rethinklab.analysis.paired_tests import ALPHA
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.values import number, whole

MOST_PAIRS = 10_000
NEGLIGIBLE = 1e-15


def power_t(n: int, difference: float, sd: float, alpha: float = ALPHA) -> float:
    """Probability that the two-sided paired t test of n pairs finds p < alpha.

    difference: the true mean difference; sd: true standard deviation of the differences, in the
    same unit. Raises ConfigError for n below 2, an sd not above 0, or an alpha outside 0 to 0.5.
    Equals one minus the noncentral t law between the critical values.
    Source: Johnson and Welch (Biometrika 1940).
    """
    n, difference, sd, alpha = _checked(n, difference, sd, alpha)
    shift, critical = difference * math.sqrt(n) / sd, _critical(n, alpha / 2)
    return _average(n - 1, lambda s: _normal(shift - critical * s) + _normal(-shift - critical * s),
                    [abs(shift) / critical])


def power_noninferiority(n: int, difference: float, sd: float, margin: float,
                         alpha: float = ALPHA) -> float:
    """Probability that the one-sided t test of n pairs shows a mean above -margin.

    Arguments and errors as for `power_t`; the margin, in the same unit, must be above 0.
    """
    n, difference, sd, alpha = _checked(n, difference, sd, alpha)
    margin = check_margin(margin)
    shift, critical = (margin + difference) * math.sqrt(n) / sd, _critical(n, alpha)
    return _average(n - 1, lambda s: _normal(shift - critical * s), [shift / critical])


def power_equivalence(n: int, difference: float, sd: float, margin: float,
                      alpha: float = ALPHA) -> float:
    """Probability that both one-sided t tests of n pairs show a mean within +-margin.

    Arguments and errors as for `power_t`; the margin, in the same unit, must be above 0.
    Sources: Schuirmann (1987); exact power: Phillips (J. Pharmacokinet. Biopharm. 1990).
    """
    n, difference, sd, alpha = _checked(n, difference, sd, alpha)
    margin = check_margin(margin)
    unit = math.sqrt(n) / sd
    shift, reach, critical = difference * unit, margin * unit, _critical(n, alpha)

    def within(s: float) -> float:
        half = reach - critical * s
        return _normal(half - shift) - _normal(-half - shift) if half > 0 else 0.0

    return _average(n - 1, within, [reach / critical, (reach - abs(shift)) / critical])


POWERS: dict[str, Callable[..., float]] = {
    "difference": power_t, "equivalence": power_equivalence,
    "non-inferiority": power_noninferiority}


def pairs_for(power: float, difference: float, sd: float, alpha: float = ALPHA,
              margin: float | None = None, most: int = MOST_PAIRS, *,
              claim: str | None = None) -> int:
    """The least number of pairs with which a paired t test has that power.

    difference, sd: true mean and standard deviation of the differences. claim: "difference",
    "equivalence" or "non-inferiority"; without one, equivalence where a margin is given and a
    difference where none is. Raises ConfigError where no number of pairs, or none up to `most`,
    gives that power.
    """
    claim = claim or ("difference" if margin is None else "equivalence")
    if claim not in POWERS:
        raise unknown_name("claim", claim, POWERS)
    _, difference, sd, alpha = _checked(2, difference, sd, alpha)
    most = whole("most", most, 2)
    power = number("power", power, above=alpha, below=1,
                   rule=f"between alpha ({alpha:g}) and 1; 0.8 is usual")
    if claim == "difference":
        _check_possible(claim, difference, difference != 0, "must not be 0")
        return _least(lambda n: power_t(n, difference, sd, alpha), power, most)
    if margin is None:
        raise ConfigError(f"pairs for {claim} need a margin; pass margin=, in the unit of the "
                          "difference.")
    margin = check_margin(margin)
    if claim == "equivalence":
        _check_possible(claim, difference, abs(difference) < margin,
                        f"must be smaller in size than the margin of {margin:g}")
    else:
        _check_possible(claim, difference, difference > -margin, f"must be above {-margin:g}")
    return _least(lambda n: POWERS[claim](n, difference, sd, margin, alpha), power, most)


def _check_possible(claim: str, difference: float, possible: bool, rule: str) -> None:
    if not possible:
        raise ConfigError(f"no number of pairs shows {claim} at a true difference of "
                          f"{difference:g}, which {rule}.")


def _least(reached: Callable[[int], float], power: float, most: int) -> int:
    """The least n from 2 to `most` at which the growing function `reached` attains `power`."""
    below, enough = 1, 2
    while enough < most and reached(enough) < power:
        below, enough = enough, min(2 * enough, most)
    if enough > most or (enough == most and reached(most) < power):
        raise ConfigError(f"more than {most:,} pairs are needed for a power of {power:g}; ask for "
                          "less power or a larger effect, or raise `most`.")
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if reached(middle) >= power else (middle, enough)
    return enough


def _average(degrees: int, value: Callable[[float], float], bends: Sequence[float]) -> float:
    """Mean of value(s) over s, the estimate of a standard deviation of 1 with those degrees of
    freedom. bends: where `value` turns, which the integration must not step over."""
    from scipy import integrate, stats

    law = stats.chi2(degrees)
    low, high = (math.sqrt(x / degrees) for x in (law.ppf(NEGLIGIBLE), law.isf(NEGLIGIBLE)))
    constant = (math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2))

    def weighted(s: float) -> float:
        density = math.exp(constant + (degrees - 1) * math.log(s) - degrees * s * s / 2)
        return density * value(s)

    inside = sorted({bend for bend in [1.0, *bends] if low < bend < high})
    found, _ = integrate.quad(weighted, low, high, points=inside, limit=500, epsabs=1e-11,
                              epsrel=1e-9)
    return min(1.0, max(0.0, found))


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return math.erfc(-z / math.sqrt(2)) / 2


def _critical(n: int, tail: float) -> float:
    from scipy import stats

    return float(stats.t.isf(tail, n - 1))


def _checked(n: int, difference: float, sd: float,
             alpha: float) -> tuple[int, float, float, float]:
    alpha = check_level(alpha)
    n = whole("n", n, 2, floats=True,
              rule="a whole number of at least 2 pairs: one pair has no spread")
    sd = number("sd", sd, above=0, rule="a number above 0, in the unit of the difference")
    return n, number("difference", difference, rule="a finite number"), sd, alpha
