"""McNemar's test and Tango's interval against statsmodels, likelihoods and enumeration."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from rethinklab.analysis.mcnemar import mcnemar, tango_interval
from rethinklab.errors import ConfigError

COUNTS = st.tuples(*[st.integers(0, 40)] * 4).filter(any)


def hits(both, only_a, only_b, neither):
    counts = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False] * 2, counts)


@given(COUNTS, st.randoms(use_true_random=False))
def test_counts_and_p_are_statsmodels_whatever_the_order_of_the_images(counts, random):
    a, b = hits(*counts)
    order = random.sample(range(len(a)), len(a))
    found = mcnemar(a[order], b[order])
    assert (found.both, found.only_a, found.only_b, found.neither, found.n) == (
        *counts, sum(counts))
    table = [[found.both, found.only_a], [found.only_b, found.neither]]
    assert found.p == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert found.difference == pytest.approx(100 * (a.mean() - b.mean()))
    assert found.low < found.high
    assert -100 <= found.low <= found.difference <= found.high <= 100


@given(COUNTS)
def test_the_interval_leaves_out_zero_where_mcnemars_score_test_rejects(counts):
    _, only_a, only_b, _ = counts
    assume(only_a + only_b > 0)
    table = [[counts[0], only_a], [only_b, counts[3]]]
    p = reference_mcnemar(table, exact=False, correction=False).pvalue
    assume(abs(p - 0.05) > 1e-6)
    low, high = tango_interval(only_a, only_b, sum(counts))
    assert (low > 0 or high < 0) == (p < 0.05)


def score(delta, only_a, only_b, n):
    """The score statistic of a difference `delta`, its likelihood maximised by search."""
    def minus_log_likelihood(q):
        shares = np.array([q + delta, q, 1 - 2 * q - delta])
        return -float(stats.multinomial.logpmf([only_a, only_b, n - only_a - only_b], n, shares))

    q = optimize.minimize_scalar(minus_log_likelihood, method="bounded", options={"xatol": 1e-12},
                                 bounds=(max(0, -delta), (1 - delta) / 2)).x
    return (only_a - only_b - n * delta) / sqrt(n * (2 * q + delta - delta**2))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [
    (40, 20, 160), (1, 7, 21), (5, 5, 30), (3, 0, 44), (12, 9, 2000)])
def test_the_limits_are_where_the_score_test_is_just_at_its_level(only_a, only_b, n):
    low, high = tango_interval(only_a, only_b, n, 0.1)
    z = stats.norm.isf(0.05)
    assert score(low, only_a, only_b, n) == pytest.approx(z, abs=1e-3)
    assert score(high, only_a, only_b, n) == pytest.approx(-z, abs=1e-3)


@pytest.mark.parametrize("n", [1, 10, 10_000])
def test_networks_that_never_disagree_still_have_an_interval(n):
    """The score equation with no disagreement is n d^2 = z^2 d (1 - d)."""
    z = stats.norm.isf(0.025)
    assert tango_interval(0, 0, n) == pytest.approx((-z**2 / (n + z**2), z**2 / (n + z**2)))
    assert mcnemar([True] * n, [True] * n).p == 1


def test_networks_that_always_disagree_reach_the_end_of_the_scale():
    low, high = tango_interval(9, 0, 9)
    assert 0 < low < high == 1
    assert tango_interval(0, 9, 9) == (-1, -low)


@given(COUNTS)
def test_exchanging_the_networks_turns_the_result_round(counts):
    a, b = hits(*counts)
    there, back = mcnemar(a, b), mcnemar(b, a)
    assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
    assert back.p == there.p


def disagreements(n, share_a, share_b):
    """Every (only_a, only_b) of n images, with its probability."""
    table = [(a, b) for a in range(n + 1) for b in range(n + 1 - a)]
    counts = np.array([(a, b, n - a - b) for a, b in table])
    return table, stats.multinomial.pmf(counts, n, [share_a, share_b, 1 - share_a - share_b])


@pytest.mark.parametrize(("share_a", "share_b"), [(0.1, 0.1), (0.2, 0.05), (0.05, 0.3),
                                                  (0.4, 0.1)])
def test_the_interval_covers_the_true_difference_about_as_often_as_it_says(share_a, share_b):
    """By enumeration of all outcomes with 40 images."""
    table, weights = disagreements(40, share_a, share_b)
    covered = [low <= share_a - share_b <= high
               for low, high in (tango_interval(a, b, 40) for a, b in table)]
    assert weights[covered].sum() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_equally_good_networks_are_told_apart_in_at_most_five_percent(share):
    table, weights = disagreements(30, share, share)
    found = np.array([mcnemar(*hits(0, a, b, 30 - a - b)).p <= 0.05 for a, b in table])
    assert weights[found].sum() <= 0.05


def test_words():
    found = mcnemar(*hits(900, 40, 20, 40), names=("Scratch-B", "Fine-tuned"))
    assert str(found).startswith("Scratch-B minus Fine-tuned: +2.00 points of accuracy on 1,000")
    assert "Only Scratch-B is right on 40, only Fine-tuned on 20" in str(found)
    assert f"p = {stats.binomtest(20, 60).pvalue:.3g}" in str(found)


def test_ones_and_zeros_are_as_good_as_true_and_false():
    a, b = hits(3, 5, 2, 4)
    assert mcnemar(a.astype(int), b.astype(float)) == mcnemar(a, b)


@pytest.mark.parametrize(("a", "b", "says"), [
    ([], [], "at least one"), ([True], [True, False], r"\(1\) as of B \(2\)"),
    ([3, 7], [3, 1], "labels first"), ([[True, False]], [True], r"shape \(1, 2\)")])
def test_hits_that_cannot_be_compared_are_named(a, b, says):
    with pytest.raises(ConfigError, match=says):
        mcnemar(a, b)


def test_a_level_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match="alpha 5"):
        mcnemar([True], [False], alpha=5)
