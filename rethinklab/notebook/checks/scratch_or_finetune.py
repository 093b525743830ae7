"""Checks of notebook 10."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rethinklab.analysis.claims import holm
from rethinklab.analysis.paired_tests import ALPHA, t_tests
from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)


def count_claims(answer: Any, family: pd.DataFrame) -> str:
    """How many t tests of a family are below 0.05 as they are, and after Holm's rule.

    family: rows with comparisons (row, regime, against) and the columns p_t and p_t_holm, as
    `figures.families` makes it. Raises Wrong for a swapped pair, seeds counted as comparisons, or
    one that is neither.
    """
    answered(answer)
    demand(isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer) == 2,
           f"The answer must be two numbers, without and with Holm's rule, not {kind(answer)}.")
    values = tuple(int(number(value)) for value in answer)
    rows = family.drop_duplicates(["row", "regime", "against"])
    alone, held = (int((rows[name] < ALPHA).sum()) for name in ("p_t", "p_t_holm"))
    wanted = (alone, held)
    every = tuple(int((family[name] < ALPHA).sum()) for name in ("p_t", "p_t_holm"))
    if values != wanted:
        refuse(values == (held, alone), "The two are swapped: without Holm's rule comes first.")
        refuse(values == every, "This counts seeds. The frame has a row for each seed; count each "
                                "comparison once.")
        refuse(values[0] != alone, f"Of the t tests as they are, {values[0]} is not the number "
                                   f"below {ALPHA:g}; read the column of the t test's p.")
        refuse(True, f"With Holm's rule {values[1]} is not the number below {ALPHA:g}; read the "
                     "adjusted p.")
    return (f"of {len(rows)} comparisons {alone} would be called a difference one by one, and "
            f"{held} as a family.")


def pairs_for_family(answer: Any, comparisons: int, alpha: float = ALPHA) -> str:
    """The least n with which the exact sign-flip test can be significant as the smallest of
    `comparisons` p-values under Holm's rule.

    Raises Wrong for the n of a single comparison, a one-sided test, or one pair too few or many.
    """
    value = number(answer)
    fit = [n for n in range(1, 200) if comparisons * 2.0 ** (1 - n) <= alpha]
    expected, single = fit[0], math.ceil(1 - math.log2(alpha))
    if value != expected:
        refuse(value == single, f"{single} pairs are enough for one comparison. The smallest p of "
                                f"{comparisons} is multiplied by {comparisons}.")
        refuse(value == expected - 1, "This is the number for a one-sided test: two of the 2^n "
                                      "sums, all signs as they are and all turned round, are as "
                                      "far from zero as the observed one.")
        refuse(float(value).is_integer() and value > expected,
               f"{value:g} pairs are enough, but so is a smaller number.")
        refuse(not float(value).is_integer(), "Pairs are whole; take the least number that is "
                                              "enough.")
        refuse(True, f"With {value:g} pairs the smallest p times {comparisons} is "
                     f"{comparisons * 2.0 ** (1 - value):.2g}, above {alpha:g}.")
    return (f"with {expected} pairs the smallest p is {2.0 ** (1 - expected):.2g}, and "
            f"{comparisons} times that is still at most {alpha:g}.")


def pairing_gain(answer: Any) -> str:
    """A function of two lists of accuracies, paired by place, that gives the spread of their
    difference if they were not paired over the spread of the differences.

    Raises Wrong for the inverse, variances, a missing part, or the deviation of a population.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    random = np.random.default_rng(10)
    shared = random.normal(92, 1, 6)
    a, b = (pd.Series(shared + random.normal(0, 0.5, 6)) for _ in range(2))
    value = _called(answer, a, b)
    apart, together = math.sqrt(a.var() + b.var()), float((a - b).std())
    wanted = apart / together
    if not close(value, wanted):
        refuse(close(value, 1 / wanted), "This is the inverse: pairing that helps must give more "
                                         "than 1.")
        refuse(close(value, wanted**2), "This is the ratio of variances; take square roots.")
        refuse(close(value, (a.std() + b.std()) / together),
               "Standard deviations do not add. Of independent values the variances do.")
        refuse(close(value, math.sqrt(a.var()) / together),
               "This leaves out the spread of b.")
        refuse(close(value, math.sqrt(a.var(ddof=0) + b.var(ddof=0)) / together),
               "One deviation divides by n and the other by n - 1.")
        refuse(True, f"For two series with deviations {a.std():.2f} and {b.std():.2f}, and "
                     f"{together:.2f} of their differences, this gives {value:.3g}.")
    fresh = [pd.Series(random.normal(90, 1, 8)) for _ in range(2)]
    again = math.sqrt(fresh[0].var() + fresh[1].var()) / float((fresh[0] - fresh[1]).std())
    demand(close(_called(answer, *fresh), again), "It is right for one pair of series and not for "
                                                  "another; use the arguments alone.")
    return f"for series that share most of what moves them pairing gains a factor of {wanted:.2f}."


def equivalence_p(answer: Any) -> str:
    """A function (differences, margin) -> p of two one-sided t tests.

    Raises Wrong for the smaller of the two, a two-sided p, a doubled p, another deviation, or one
    that does not use the margin.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    from scipy import stats

    random = np.random.default_rng(11)
    for mean, margin in ((0.15, 0.6), (-0.2, 0.5), (0.9, 0.5)):
        values = random.normal(mean, 0.4, 6)
        value = _called(answer, list(values), margin)
        tests = t_tests(values, margin)
        wanted, n = float(tests.p_equivalence), len(values)
        if math.isclose(value, wanted, rel_tol=1e-3, abs_tol=1e-6):
            continue
        error = values.std(ddof=1) / math.sqrt(n)
        sides = (stats.t.sf((values.mean() + margin) / error, n - 1),
                 stats.t.cdf((values.mean() - margin) / error, n - 1))
        small = values.std() / math.sqrt(n)
        population = max(stats.t.sf((values.mean() + margin) / small, n - 1),
                         stats.t.cdf((values.mean() - margin) / small, n - 1))

        def same(other: float, value: float = value) -> bool:
            return math.isclose(value, other, rel_tol=1e-3, abs_tol=1e-6)

        refuse(same(float(tests.p_t)), "This is the test against zero. Equivalence is tested "
                                       "against the margin.")
        refuse(same(min(sides)), "Both tests must reject, so the larger of the two p counts.")
        refuse(same(2 * wanted), "Each of the two tests is one-sided; nothing is doubled.")
        refuse(same(1 - wanted) or same(1 - min(sides)),
               "A tail is the wrong way round: below the margin means to the left of it.")
        refuse(same(population), "The standard deviation must divide by n - 1.")
        refuse(same(max(stats.norm.sf((values.mean() + margin) / error),
                        stats.norm.cdf((values.mean() - margin) / error))),
               "With so few pairs the normal law is too narrow; use t with n - 1 degrees of "
               "freedom.")
        refuse(True, f"For differences with mean {values.mean():+.2f} and standard error "
                     f"{error:.2f}, at a margin of {margin:g}, this gives {value:.3g} and not "
                     f"{wanted:.3g}.")
    return "the larger of the two one-sided p, so that both bounds are shown at once."


def holm_rule(answer: Any) -> str:
    """A function from p-values to those adjusted by Holm's rule, in the order given.

    Raises Wrong for Bonferroni's rule, a sorted order, values above 1, or adjusted values that
    fall while p rises.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    cases = ([0.04, 0.001, 0.03], [0.02, 0.021, 0.55, 0.6], [0.3],
             [0.011, 0.012, 0.013, 0.9, 0.001])
    for case in cases:
        given = _listed(_applied(answer, list(case)), len(case))
        wanted = holm(case)
        if np.allclose(given, wanted, atol=1e-6):
            continue
        ranks = np.argsort(np.argsort(case))
        steps = (len(case) - ranks) * np.asarray(case)
        refuse(np.allclose(given, np.minimum(1, len(case) * np.asarray(case))),
               "This multiplies every p by the number of comparisons, which is Bonferroni's rule. "
               "Holm multiplies the smallest by n, the next by n - 1, and so on.")
        refuse(np.allclose(given, sorted(wanted)), "The adjusted values are sorted; give them in "
                                                   "the order of the p-values.")
        refuse(max(given) > 1, "A p-value cannot be above 1.")
        refuse(np.allclose(given, np.minimum(1, steps)),
               "A larger p has got a smaller adjusted one here. Each adjusted p is at least as "
               "large as those before it in the order of size.")
        refuse(True, f"For {case} this gives {[round(float(v), 4) for v in given]}, and not "
                     f"{[round(v, 4) for v in wanted]}.")
    return "the smallest p pays for all comparisons, the next for one fewer, and none falls back."


def _applied(function: Callable[..., Any], *arguments: Any) -> Any:
    return returned(function(*arguments))


def _called(function: Callable[..., Any], *arguments: Any) -> float:
    """What the function gives, as one finite number."""
    value = float(number(_applied(function, *arguments)))
    demand(math.isfinite(value), f"The function gives {value}, which is no finite number.")
    return value


def _listed(value: Any, length: int) -> list[float]:
    """What the function gives, as a list of that length."""
    demand(hasattr(value, "__len__") and len(value) == length,
           f"The function must give a list with one number for each p-value, not {kind(value)}.")
    return [float(v) for v in value]
