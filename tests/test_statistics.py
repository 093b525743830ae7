"""Statistics against scipy, brute force and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rethinklab.analysis.statistics import compare_paired, pairs_needed, sign_flip_p
from rethinklab.errors import ConfigError

A = [93.41, 93.20, 93.55, 93.60, 93.31, 93.10]
B = [93.62, 93.75, 93.50, 93.91, 93.44, 93.38]


def test_interval_and_spread_are_scipys():
    found = compare_paired(A, B, margin=0.3)
    reference = stats.ttest_rel(A, B).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(reference))
    assert found.mean == pytest.approx(np.mean(A) - np.mean(B))
    assert found.sd == pytest.approx(np.std(np.subtract(A, B), ddof=1))


def test_equivalence_is_two_one_sided_t_tests():
    found = compare_paired(A, B, margin=0.5)
    differences = np.subtract(A, B)
    above = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
    assert found.p_equivalence == pytest.approx(max(above, below))


@given(st.lists(st.integers(-200, 200), min_size=2, max_size=8))
def test_sign_flip_p_is_the_count_over_all_signs(differences):
    values = np.array(differences) / 100
    means = [abs(np.mean(values * signs)) for signs in product((-1, 1), repeat=len(values))]
    expected = np.mean([mean >= abs(values.mean()) - 1e-9 for mean in means])
    assert sign_flip_p(values) == pytest.approx(expected)


def test_sign_flip_p_with_many_pairs_is_near_the_t_test():
    draws = np.random.default_rng(1).normal(0.4, 1, 40)
    assert sign_flip_p(draws) == pytest.approx(stats.ttest_1samp(draws, 0).pvalue, abs=0.01)


@pytest.mark.parametrize(("n", "smallest"), [(1, 1), (3, 0.25), (5, 0.0625), (6, 0.03125),
                                             (10, 0.001953125)])
def test_the_smallest_p_that_n_pairs_can_reach(n, smallest):
    found = compare_paired([1.0 + i / 100 for i in range(n)], [0.0] * n, margin=0.1)
    assert found.smallest_p == smallest == found.p_signflip


def test_six_pairs_are_needed_for_five_percent():
    assert pairs_needed(0.05) == 6


@pytest.mark.parametrize(("differences", "margin", "verdict"), [
    ([2.0, 2.1, 1.9, 2.2], 0.3, "better"), ([-2.0, -2.1, -1.9, -2.2], 0.3, "worse"),
    ([0.02, -0.03, 0.01, 0.0], 0.3, "equivalent"), ([3.0, -2.0, 1.0, -1.5], 0.3, "not decided"),
    ([0.10, 0.11, 0.09, 0.10], 0.3, "equivalent"), ([1.0], 0.3, "not decided"),
    ([0.5, 0.5, 0.5], 0.3, "not decided"), ([0.0, 0.0], 0.3, "not decided")])
def test_verdicts(differences, margin, verdict):
    found = compare_paired(differences, [0.0] * len(differences), margin=margin)
    assert found.verdict == verdict
    assert verdict in str(found)


def test_words_say_what_n_cannot_show():
    assert "fewer than 6 pairs" in str(compare_paired(A[:3], B[:3], margin=0.3))
    assert "fewer than" not in str(compare_paired(A, B, margin=0.3))
    assert "one pair" in str(compare_paired(A[:1], B[:1], margin=0.3))
    assert "all alike" in str(compare_paired([1.0, 2.0], [0.5, 1.5], margin=0.3))


@pytest.mark.parametrize("n", [3, 6])
def test_without_a_difference_at_most_five_percent_claim_one(n):
    random = np.random.default_rng(n)
    runs = 1500
    claims = 0
    for _ in range(runs):
        base = random.normal(90, 1, n)
        pair = base + random.normal(0, 0.3, (2, n))
        claims += compare_paired(*pair, margin=1e-6).verdict in ("better", "worse")
    # three standard errors of a share of 5 % over the runs
    assert claims / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize(("a", "b", "margin", "says"), [
    ([1.0, 2.0], [1.0], 0.3, "as many"), ([], [], 0.3, "at least one"),
    ([1.0, float("nan")], [1.0, 2.0], 0.3, "finite"),
    ([1.0], [1.0], 0.0, "margin"), ([1.0], [1.0], float("nan"), "margin")])
def test_samples_that_cannot_be_compared_are_named(a, b, margin, says):
    with pytest.raises(ConfigError, match=says):
        compare_paired(a, b, margin=margin)
