"""The size of a paired difference: standardised, and with an interval that assumes no law."""

from __future__ import annotations

import math
import warnings

import numpy as np

from rethinklab.analysis.paired_tests import Floats

RESAMPLES = 9999
MOST_DRAWN_AT_ONCE = 10**6


def bca_interval(differences: Floats, alpha: float) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean of differences (n,), seeded.

    At 1 - alpha, from 9,999 resamples. NaN with fewer than three differences, or where all are
    alike. With fewer than about ten pairs it is narrower than it should be and covers the mean
    too seldom. Source: Efron (JASA 1987).
    """
    from scipy import stats

    n = len(differences)
    if n < 3:
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method="BCa",
                                confidence_level=1 - alpha, batch=max(1, MOST_DRAWN_AT_ONCE // n),
                                rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def hedges_correction(degrees: int) -> float:
    """The factor that makes a standardised mean with that many degrees of freedom unbiased.

    NaN below 2 degrees, where a standardised mean has no expectation. Exact, by gamma functions.
    Source: Hedges (J. Educ. Stat. 1981).
    """
    if degrees < 2:
        return math.nan
    return math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)
                    - math.log(degrees / 2) / 2)
