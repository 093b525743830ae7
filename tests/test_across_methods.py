"""One interval over several methods: against scipy, an independent fit, and simulated studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from rethinklab.analysis.across import across_methods
from rethinklab.errors import ConfigError


def draw(random, methods, seeds, sd_methods=0.0, sd_seeds=0.0, sd_rest=1.0, count=()):
    """Differences (..., methods, seeds) without a true mean."""
    return (random.normal(0, 1, (*count, methods, 1)) * sd_methods
            + random.normal(0, 1, (*count, 1, seeds)) * sd_seeds
            + random.normal(0, 1, (*count, methods, seeds)) * sd_rest)


def test_for_these_methods_it_is_the_t_interval_of_the_means_of_each_seed():
    values = draw(np.random.default_rng(0), 4, 6, 0.5, 0.5)
    found = across_methods(values)
    low, high = stats.ttest_1samp(values.mean(axis=0), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.methods, found.seeds, found.mean) == (4, 6, pytest.approx(values.mean()))


def test_a_copy_of_a_method_adds_no_certainty():
    """Methods that share their networks give the same differences, and count once."""
    one = np.random.default_rng(1).normal(1, 1, 6)
    twice, often = across_methods([one, one]), across_methods([one] * 9)
    assert (often.low, often.high) == pytest.approx((twice.low, twice.high))
    low, high = stats.ttest_1samp(one, 0).confidence_interval(0.95)
    assert (often.low, often.high) == pytest.approx((low, high))


def test_for_other_methods_it_is_the_mixed_model():
    """Restricted maximum likelihood of two crossed random effects, maximised by scipy."""
    values = draw(np.random.default_rng(2), 5, 7, 1.0, 0.8, 0.5) + 2
    m, s = values.shape
    of_method = np.kron(np.eye(m), np.ones((s, s)))
    of_seed = np.kron(np.ones((m, m)), np.eye(s))
    ones, y = np.ones(m * s), values.ravel()

    def variance(logs):
        a, b, e = np.exp(logs)
        return a * of_method + b * of_seed + e * np.eye(m * s)

    def loss(logs):
        inverse = np.linalg.inv(variance(logs))
        information = ones @ inverse @ ones
        rest = y - (ones @ inverse @ y) / information
        return (np.linalg.slogdet(variance(logs))[1] + np.log(information)
                + rest @ inverse @ rest)

    fit = optimize.minimize(loss, np.zeros(3), method="Nelder-Mead",
                            options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 5000})
    found = across_methods(values)
    assert (found.sd_methods, found.sd_seeds, found.sd_rest) == pytest.approx(
        np.exp(fit.x / 2), rel=1e-3)
    error = (ones @ np.linalg.inv(variance(fit.x)) @ ones) ** -0.5
    squares = s * np.exp(fit.x[0]) + m * np.exp(fit.x[1]) + np.exp(fit.x[2])
    assert error == pytest.approx((squares / (m * s)) ** 0.5)
    half = (found.high_other - found.low_other) / 2
    assert stats.norm.isf(0.025) < half / error < stats.t.isf(0.025, min(m, s) - 1)


@pytest.mark.parametrize(("sd_methods", "sd_seeds"), [(0, 0), (1, 0), (0, 1), (1, 1), (3, 1)])
def test_it_covers_the_truth_as_often_as_it_says(sd_methods, sd_seeds):
    studies = draw(np.random.default_rng(3), 5, 6, sd_methods, sd_seeds, count=(1500,))
    found = [across_methods(values) for values in studies]
    own = studies.mean(axis=2).mean(axis=1)  # of these methods and seeds
    by_chance = 3 * (0.05 * 0.95 / len(found)) ** 0.5
    other = np.mean([f.low_other <= 0 <= f.high_other for f in found])
    assert other > 0.95 - by_chance - 0.02  # Satterthwaite's freedom is an approximation
    if not sd_methods:  # else the truth for these methods is another in each study
        these = np.mean([f.low <= 0 <= f.high for f in found])
        assert abs(these - 0.95) < by_chance
    assert [f.mean for f in found] == pytest.approx(own)
    assert all(f.low_other <= f.low <= f.high <= f.high_other for f in found)


@pytest.mark.parametrize("values", [[[1, 2]], [[1], [2]], [1, 2], [[1, 2], [3]], "text",
                                    [[1, float("nan")], [2, 3]], [["a", "b"], ["c", "d"]]])
def test_what_gives_no_interval_is_refused(values):
    with pytest.raises(ConfigError):
        across_methods(values)
