"""Checks of notebook 14."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    near,
    number,
    refuse,
    returned,
)

LEVEL = 0.975  # one side of a 95 % interval


def standard_error(answer: Any, numbers: pd.DataFrame, regime: str) -> str:
    """The standard error of the mean over seeds of a regime's accuracy in `numbers`, in points.

    numbers: columns regime, seed and accuracy (%), as the figure of regimes carries them.
    Raises Wrong for a fraction, the population's formula, a standard deviation, or other rows.
    """
    value = number(answer)
    own = numbers.loc[numbers["regime"] == regime, "accuracy"]
    n = len(own)
    expected = float(own.std()) / math.sqrt(n)
    if near(value, expected):
        return f"the mean of {n} seeds has a standard error of {expected:.2f} points."
    refuse(near(value * 100, expected),
           "This is a fraction; the column accuracy is in percent, so use it as it is.")
    refuse(near(value, float(own.std())),
           "This is the standard deviation, which the figure shows; divide it by the root of the "
           "number of seeds.")
    refuse(near(value, float(own.std(ddof=0)) / math.sqrt(n)),
           "This divides the squares by n, as NumPy does by default. The spread of a sample "
           "divides by n - 1: ddof=1 in NumPy, the default in pandas.")
    refuse(near(value, float(own.std()) / n),
           "This divides by the number of seeds; divide by its root.")
    refuse(close(value, float(own.mean())), "This is the mean; the question asks for its error.")
    refuse(near(value, float(numbers["accuracy"].std()) / math.sqrt(len(numbers))),
           f"This is over all regimes together; keep only the rows of {regime}.")
    refuse(True, "This is not the standard error of that regime's accuracies in figure.numbers.")
    raise AssertionError


def printed_width(answer: Any, drawn: float, text: float, printed: float) -> str:
    """The width in inches at which text of `text` points, in a figure `drawn` inches wide, comes
    out at `printed` points.

    Raises Wrong for the inverse factor, the factor alone, or a scaling by area.
    """
    value = number(answer)
    factor = printed / text
    refuse(math.isclose(value, factor, rel_tol=1e-3),
           "This is the factor by which everything is scaled; apply it to the width.")
    refuse(math.isclose(value, drawn / factor, rel_tol=1e-3),
           "The factor is the wrong way round: smaller text needs a narrower figure.")
    refuse(math.isclose(value, drawn * factor**2, rel_tol=1e-3),
           "This scales by area; both width and text are lengths.")
    demand(math.isclose(value, drawn * factor, rel_tol=1e-3),
           "This is not the width. Text and picture are scaled by one factor, the printed size of "
           "the text over its drawn size.")
    return (f"at {value:g} in everything is {factor:.0%} of its drawn size, and {text:g} points "
            f"become {printed:g}.")


def paired_interval(answer: Any, samples: int = 3) -> str:
    """A function of two paired samples that gives the 95 % t interval of their mean difference.

    Tried on fresh samples. Raises Wrong for an interval that forgets the pairs, takes the normal
    law for the t distribution, divides by n, or is of single differences instead of their mean.
    """
    from scipy import stats

    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    random = np.random.default_rng(5)
    for _ in range(samples):
        n = int(random.integers(3, 8))
        base = random.normal(90, 3, n)
        a, b = base + random.normal(1, 0.5, n), base + random.normal(0, 0.5, n)
        low, high = _ends(answer(a.copy(), b.copy()))
        difference = a - b
        mean, error = difference.mean(), difference.std(ddof=1) / math.sqrt(n)
        quantile = float(stats.t.ppf(LEVEL, n - 1))
        middle, reach = (low + high) / 2, (high - low) / 2
        refuse(math.isclose(low, mean + quantile * error) and math.isclose(high, mean - quantile *
                                                                           error),
               "The ends are swapped: the lower one comes first.")
        refuse(math.isclose(middle, -mean, rel_tol=1e-6),
               "The sign is swapped: the interval is of a minus b.")
        demand(math.isclose(middle, mean, rel_tol=1e-6),
               "The middle of the interval is not the mean of a minus b.")
        unpaired = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
        refuse(any(math.isclose(reach, float(stats.t.ppf(LEVEL, df)) * unpaired, rel_tol=1e-6)
                   for df in (n - 1, 2 * n - 2)),
               "This takes the spread of the two samples apart and forgets that they are paired; "
               "subtract first and take the spread of the differences.")
        refuse(math.isclose(reach, 1.96 * error, rel_tol=2e-3),
               "1.96 is of the normal law, which is right for a known spread. With n pairs the "
               "quantile is that of the t distribution with n - 1 degrees of freedom.")
        refuse(math.isclose(reach, quantile * error * math.sqrt((n - 1) / n), rel_tol=1e-6),
               "The standard deviation here divides by n; use ddof=1.")
        refuse(math.isclose(reach, quantile * error * math.sqrt(n), rel_tol=1e-6),
               "The standard deviation is of single differences; the mean of n of them has that "
               "divided by the square root of n.")
        refuse(math.isclose(reach, float(stats.t.ppf(0.95, n - 1)) * error, rel_tol=1e-6),
               "This is a 90 % interval: 5 % are left on each side, and it should be 2.5 %.")
        refuse(math.isclose(reach, float(stats.t.ppf(LEVEL, n)) * error, rel_tol=1e-6),
               "n differences leave n - 1 degrees of freedom.")
        demand(math.isclose(reach, quantile * error, rel_tol=1e-6),
               "The interval has the right middle and the wrong length: it reaches the t quantile "
               "times the standard error to each side.")
    return f"the interval agrees with the paired t interval on {samples} fresh samples."


def _ends(answer: Any) -> tuple[float, float]:
    """The two ends of an interval that a function gave."""
    returned(answer)
    demand(hasattr(answer, "__len__") and len(answer) == 2,
           f"The function must give back two numbers, low and high, not {kind(answer)}.")
    low, high = answer
    return number(low), number(high)


