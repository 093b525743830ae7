"""One interval over several methods that were asked the same question on the same seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rethinklab.analysis.claims import check_level
from rethinklab.analysis.paired_tests import ALPHA, as_array
from rethinklab.errors import ConfigError


@dataclass(frozen=True)
class Across:
    """A mean difference over methods and seeds, in the unit of the values.

    low, high: interval at 1 - alpha for these methods, with other seeds: a t interval of the means
    of each seed, so that methods which share networks of a seed count once. low_other, high_other:
    for other methods of this kind, of which these were drawn by chance; never the narrower one.
    sd_methods, sd_seeds, sd_rest: standard deviations of the effects of method and seed and of what
    neither explains, from the mean squares; 0 where the estimate is negative. sd_seeds tells how
    far the methods of a seed move together.
    """

    methods: int
    seeds: int
    mean: float
    low: float
    high: float
    low_other: float
    high_other: float
    sd_methods: float
    sd_seeds: float
    sd_rest: float
    alpha: float


def across_methods(differences: ArrayLike, alpha: float = ALPHA) -> Across:
    """What differences (methods, seeds) say together: two crossed random effects, one value a cell.

    With mean squares M of methods, S of seeds and E of the rest, the variance of the mean over m
    methods and s seeds is estimated by S / ms for these methods, with s - 1 degrees of freedom, and
    by (M + S - E) / ms for others of their kind, with those of Satterthwaite (Biometrics Bulletin
    1946); the same as the mixed model's where no estimate is negative.
    Raises ConfigError for fewer than two methods or seeds, or values that are not all finite.
    """
    from scipy import stats

    alpha, values = check_level(alpha), as_array(differences)
    if values.ndim != 2 or min(values.shape) < 2 or values.dtype.kind not in "biuf":
        raise ConfigError(f"differences of shape {values.shape} must be numbers (methods, seeds), "
                          "two or more of each.")
    values = values.astype(float)
    if not np.isfinite(values).all():
        raise ConfigError("the differences are not all finite numbers.")
    m, s = values.shape
    mean = float(values.mean())
    by_method, by_seed = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    rest = values - mean - by_method[:, None] - by_seed[None, :]
    freedom = np.array([m - 1, s - 1, (m - 1) * (s - 1)])
    squares = np.array([s * (by_method**2).sum(), m * (by_seed**2).sum(),
                        (rest**2).sum()]) / freedom
    methods, seeds, noise = map(float, squares)
    reach = float(stats.t.isf(alpha / 2, s - 1)) * math.sqrt(seeds / (m * s))
    wider = methods + seeds - noise
    other = reach
    if wider > 0:
        own = wider**2 / float((squares**2 / freedom).sum())
        other = max(reach, float(stats.t.isf(alpha / 2, own)) * math.sqrt(wider / (m * s)))
    return Across(m, s, mean, mean - reach, mean + reach, mean - other, mean + other,
                  math.sqrt(max(0.0, methods - noise) / s),
                  math.sqrt(max(0.0, seeds - noise) / m), math.sqrt(noise), alpha)
