"""Power and pairs against statsmodels, the noncentral t law and simulation."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from rethinklab.analysis.claims import decide
from rethinklab.analysis.paired_tests import t_tests
from rethinklab.analysis.power import (
    pairs_for,
    power_equivalence,
    power_noninferiority,
    power_t,
)
from rethinklab.errors import ConfigError

SIZES = st.integers(2, 60)
EFFECTS = st.floats(-2, 2)
LEVELS = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@given(SIZES, EFFECTS, LEVELS)
def test_power_of_the_t_test_is_statsmodels(n, effect, alpha):
    expected = TTestPower().power(effect, n, alpha)
    assume(not np.isnan(expected))  # statsmodels gives up where the power nears 1
    assert power_t(n, effect * 3, 3, alpha) == pytest.approx(expected, abs=1e-8)


@given(SIZES, EFFECTS, LEVELS)
def test_power_of_non_inferiority_is_the_noncentral_t_law(n, effect, alpha):
    expected = stats.nct.sf(stats.t.isf(alpha, n - 1), n - 1, (effect + 1) * sqrt(n))
    assume(not np.isnan(expected))
    assert power_noninferiority(n, effect * 3, 3, 3, alpha) == pytest.approx(expected, abs=1e-8)


@given(st.integers(10, 60), st.floats(-0.5, 0.5))
def test_power_of_equivalence_is_two_noncentral_t_laws_where_one_test_always_holds(n, effect):
    """With a margin of 4 standard deviations the two tests never fail together, so the power is
    the sum of theirs minus one."""
    critical = stats.t.isf(0.05, n - 1)
    above, below = (stats.nct.sf(critical, n - 1, (4 + sign * effect) * sqrt(n))
                    for sign in (1, -1))
    assert power_equivalence(n, effect, 1, 4) == pytest.approx(above + below - 1, abs=1e-7)


@pytest.mark.parametrize(("n", "difference", "margin", "alpha"), [
    (2, 0.0, 3.0, 0.05), (3, 0.0, 1.0, 0.05), (5, 0.2, 1.0, 0.05), (6, -0.5, 1.0, 0.1),
    (10, 0.0, 0.5, 0.05), (40, 0.2, 0.5, 0.01)])
def test_power_is_the_share_of_simulated_studies_that_claim(n, difference, margin, alpha):
    runs = 100_000
    tests = t_tests(np.random.default_rng(n).normal(difference, 1, (runs, n)), margin)
    equivalent = np.mean(decide(tests, alpha, "difference") == "equivalent")
    not_inferior = np.mean(decide(tests, alpha, "non-inferiority") == "not inferior")
    for share, power in ((equivalent, power_equivalence(n, difference, 1, margin, alpha)),
                         (not_inferior, power_noninferiority(n, difference, 1, margin, alpha)),
                         (np.mean(tests.p_t < alpha), power_t(n, difference, 1, alpha))):
        assert share == pytest.approx(power, abs=4 * sqrt(max(power, 1e-4) / runs))


@given(SIZES, st.floats(0.01, 3), st.floats(1, 3), LEVELS)
def test_power_where_nothing_is_to_be_found_is_at_most_the_level(n, margin, beyond, alpha):
    assert power_t(n, 0, 1, alpha) == pytest.approx(alpha)
    assert power_noninferiority(n, -margin, 1, margin, alpha) == pytest.approx(alpha)
    assert power_equivalence(n, beyond * margin, 1, margin, alpha) <= alpha + 1e-9


@settings(max_examples=40)
@given(st.floats(0.3, 0.99), st.floats(0.2, 3), st.sampled_from([0.01, 0.05]),
       st.sampled_from(["difference", "equivalence", "non-inferiority"]))
def test_the_pairs_are_the_fewest(power, size, alpha, claim):
    difference, margin = (size, None) if claim == "difference" else (size / 4, size)
    reach = {"difference": lambda n: power_t(n, difference, 1, alpha),
             "equivalence": lambda n: power_equivalence(n, difference, 1, size, alpha),
             "non-inferiority": lambda n: power_noninferiority(n, difference, 1, size, alpha)}
    found = pairs_for(power, difference, 1, alpha, margin, claim=claim)
    assert reach[claim](found) >= power
    assert all(reach[claim](n) < power for n in range(max(2, found - 20), found))


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_pairs_for_cohens_small_medium_and_large_effects(effect, n):
    """As statsmodels solves for n, rounded up, at 80 % power and 5 %."""
    assert np.ceil(TTestPower().solve_power(effect, alpha=0.05, power=0.8)) == n
    assert pairs_for(0.8, effect, 1) == n


def test_a_margin_asks_for_equivalence_unless_told_otherwise():
    assert pairs_for(0.8, 0, 1, margin=0.5) == pairs_for(0.8, 0, 1, margin=0.5,
                                                         claim="equivalence")
    assert pairs_for(0.8, 0, 1, margin=0.5, claim="non-inferiority") < pairs_for(
        0.8, 0, 1, margin=0.5)


@pytest.mark.parametrize("n", [2, 10_000])
def test_extremes_of_size_and_spread_have_a_power(n):
    assert power_t(n, 1, 1e-9) == pytest.approx(1)
    assert power_t(n, 1e-12, 1) == pytest.approx(0.05)
    assert power_equivalence(n, 0, 1e-9, 1) == pytest.approx(1)
    assert power_equivalence(n, 0, 1e9, 1) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("arguments", "says"), [
    ((0.8, 0, 1), "must not be 0"), ((0.8, 0.5, 1, 0.05, 0.5), "smaller in size"),
    ((1.0, 1, 1), "power 1.0"), ((0.04, 1, 1), r"alpha \(0.05\)"), ((0.8, 1, 0), "sd 0"),
    ((0.8, float("nan"), 1), "difference nan"), ((0.8, 1, 1, 0.7), "alpha 0.7"),
    ((0.8, 0, 1, 0.05, -1), "margin -1"), ((0.8, 0.01, 1), "more than 10,000 pairs"),
    ((0.8, 0.5, 1, 0.05, None, 33), "more than 33 pairs")])
def test_what_no_number_of_pairs_gives_is_refused(arguments, says):
    with pytest.raises(ConfigError, match=says):
        pairs_for(*arguments)


def test_claims_and_sizes_that_cannot_be_are_named():
    with pytest.raises(ConfigError, match="must be above -1"):
        pairs_for(0.8, -1, 1, margin=1, claim="non-inferiority")
    with pytest.raises(ConfigError, match="need a margin"):
        pairs_for(0.8, 0, 1, claim="equivalence")
    with pytest.raises(ConfigError, match="Did you mean 'equivalence'"):
        pairs_for(0.8, 0, 1, margin=1, claim="equivalent")
    for n in (1, 2.5, float("nan")):
        with pytest.raises(ConfigError, match="at least 2 pairs"):
            power_t(n, 1, 1)
