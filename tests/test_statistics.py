"""A paired comparison against scipy, statsmodels, brute force and closed forms."""

from __future__ import annotations

from itertools import chain, combinations, product
from math import sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from rethinklab.analysis.claims import holm
from rethinklab.analysis.effect import bca_interval, hedges_correction
from rethinklab.analysis.mcnemar import mcnemar
from rethinklab.analysis.power import pairs_for
from rethinklab.analysis.statistics import (
    compare_family,
    compare_paired,
    pairs_needed,
    sign_flip_p,
)
from rethinklab.errors import ConfigError

A = [93.41, 93.20, 93.55, 93.60, 93.31, 93.10]
B = [93.62, 93.75, 93.50, 93.91, 93.44, 93.38]
C = [93.30, 93.55, 93.61, 93.70, 93.35, 93.05]

DIFFERENCES = st.lists(st.integers(-200, 200).map(lambda hundredths: hundredths / 100),
                       min_size=2, max_size=8)
SPREAD_OUT = DIFFERENCES.filter(lambda values: len(set(values)) > 1)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def against_zero(differences, **options):
    return compare_paired(differences, [0.0] * len(differences), **{"margin": 0.3, **options})


# the numbers


def test_interval_and_spread_are_scipys():
    found = compare_paired(A, B, margin=0.3)
    reference = stats.ttest_rel(A, B)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert found.p_t == pytest.approx(reference.pvalue)
    assert found.mean == pytest.approx(np.mean(A) - np.mean(B))
    assert found.sd == pytest.approx(np.std(np.subtract(A, B), ddof=1))


def test_equivalence_is_two_one_sided_t_tests():
    found = compare_paired(A, B, margin=0.5)
    assert found.p_equivalence == pytest.approx(
        ttost_paired(np.array(A), np.array(B), -0.5, 0.5)[0])


@given(SPREAD_OUT, st.floats(0.01, 3))
def test_non_inferiority_is_a_one_sided_t_test_against_minus_the_margin(differences, margin):
    found = against_zero(differences, margin=margin, claim="non-inferiority")
    expected = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    assert found.p_noninferiority == pytest.approx(expected)
    assume(abs(expected - 0.05) > 1e-9)
    assert found.verdict == ("not inferior" if expected < 0.05 else "not decided")


@given(SPREAD_OUT)
def test_a_difference_is_claimed_where_the_interval_leaves_out_zero(differences):
    found = against_zero(differences, margin=1e-6)
    assume(abs(found.p_t - 0.05) > 1e-9)
    expected = "better" if found.low > 0 else "worse" if found.high < 0 else "not decided"
    assert found.verdict == expected
    assert (expected != "not decided") == (found.p_t < 0.05)


@given(SPREAD_OUT, st.sampled_from([0.1, 0.5, 1.0]))
def test_exchanging_the_two_turns_everything_round(differences, margin):
    there = against_zero(differences, margin=margin)
    back = compare_paired([0.0] * len(differences), differences, margin=margin)
    assert (back.mean, back.low, back.high, back.d_z) == pytest.approx(
        (-there.mean, -there.high, -there.low, -there.d_z))
    assert (back.p_t, back.p_signflip, back.p_equivalence) == pytest.approx(
        (there.p_t, there.p_signflip, there.p_equivalence))
    turned = {"better": "worse", "worse": "better"}
    assert back.verdict == turned.get(there.verdict, there.verdict)


@given(DIFFERENCES)
def test_sign_flip_p_is_the_count_over_all_signs(differences):
    values = np.array(differences)
    means = [abs(np.mean(values * signs)) for signs in product((-1, 1), repeat=len(values))]
    expected = np.mean([mean >= abs(values.mean()) - 1e-9 for mean in means])
    assert sign_flip_p(values) == pytest.approx(expected)


def test_sign_flip_p_is_scipys_permutation_test():
    reference = stats.permutation_test((A, B), lambda a, b: np.mean(a) - np.mean(b),
                                       permutation_type="samples", n_resamples=np.inf)
    assert compare_paired(A, B, margin=0.3).p_signflip == pytest.approx(reference.pvalue)


def test_drawn_signs_give_the_p_of_all_signs():
    """17 pairs are the first to be drawn; their 2^17 signs can still be counted."""
    draws = np.random.default_rng(5).normal(0.5, 1, 17)
    signs = np.array(list(product((-1.0, 1.0), repeat=16)))
    exact = np.mean(np.abs(signs @ draws[1:] + draws[0]) >= abs(draws.sum()) - 1e-9)
    assert 0.01 < exact < 0.2
    assert sign_flip_p(draws) == pytest.approx(exact, abs=4 * sqrt(exact / 100_000))


@pytest.mark.parametrize(("n", "smallest"), [(1, 1), (3, 0.25), (5, 0.0625), (6, 0.03125),
                                             (10, 0.001953125)])
def test_the_smallest_p_that_n_pairs_can_reach(n, smallest):
    found = against_zero([1.0 + i / 100 for i in range(n)], margin=0.1)
    assert found.smallest_p == smallest == found.p_signflip


def test_six_pairs_are_needed_for_five_percent():
    assert pairs_needed(0.05) == 6


# the size of a difference


def bca_over_all_resamples(values, alpha):
    """Efron (1987), equations 2.3 and 6.6, with every resample instead of drawn ones."""
    means = np.zeros(1)
    for _ in values:
        means = np.add.outer(means, values / len(values)).ravel()
    normal = stats.norm
    bias = normal.ppf((np.mean(means < np.mean(values)) + np.mean(means <= np.mean(values))) / 2)
    centred = values - np.mean(values)
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    shifted = bias + normal.ppf([alpha / 2, 1 - alpha / 2])
    return np.quantile(means, normal.cdf(bias + shifted / (1 - acceleration * shifted)))


@pytest.mark.parametrize("values", [[0.1, 0.4, 0.52, 0.55, 0.9, 1.2, 2.6],
                                    [-1.3, 0.2, 0.25, 0.31, 0.43, 0.7, 0.9]])
def test_the_bca_interval_is_that_of_all_resamples(values):
    found = against_zero(values)
    expected = bca_over_all_resamples(np.array(values), 0.05)
    assert (found.bca_low, found.bca_high) == pytest.approx(tuple(expected),
                                                            abs=0.05 * np.std(values))


def test_the_bca_interval_leans_towards_the_long_tail_and_is_scipys():
    values = np.random.default_rng(3).exponential(1, 25)
    low, high = bca_interval(values, 0.1)
    assert high - values.mean() > values.mean() - low
    reference = stats.bootstrap((values,), np.mean, method="BCa", confidence_level=0.9,
                                n_resamples=20_000, rng=np.random.default_rng(8))
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval), abs=0.02)


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=6).filter(lambda v: len(set(v)) > 1),
       st.sampled_from([0.5, 2, 4]), st.integers(-8, 8))
def test_the_bca_interval_moves_with_the_unit_and_the_origin(values, scale, shift):
    low, high = bca_interval(np.array(values, dtype=float), 0.05)
    assert low < high
    assert bca_interval(np.array(values) * scale + shift, 0.05) == pytest.approx(
        (low * scale + shift, high * scale + shift))


def test_effect_sizes_are_the_mean_in_standard_deviations():
    found = compare_paired(A, B, margin=0.3)
    assert found.d_z == pytest.approx(found.mean / found.sd)
    assert found.d_z == pytest.approx(stats.ttest_rel(A, B).statistic / sqrt(6))
    # Hedges' usual approximation, 1 - 3 / (4 m - 1), is good to a few thousandths
    assert found.hedges_g == pytest.approx(found.d_z * (1 - 3 / (4 * 5 - 1)), abs=0.005)


@given(st.integers(3, 40), st.floats(-3, 3))
def test_the_correction_makes_the_effect_size_unbiased(n, effect):
    """sqrt(n) d_z follows the noncentral t law, whose mean scipy has."""
    mean = stats.nct.mean(n - 1, effect * sqrt(n)) / sqrt(n)
    assert hedges_correction(n - 1) * mean == pytest.approx(effect, abs=1e-9)


def test_what_the_pairs_cannot_give_is_nan():
    two, one, alike = (against_zero(v) for v in ([0.1, 0.4], [0.5], [0.5, 0.5, 0.5]))
    assert np.isnan([two.bca_low, two.bca_high, two.hedges_g]).all()
    assert two.d_z == pytest.approx(0.25 / np.std([0.1, 0.4], ddof=1))
    for found in (one, alike):
        assert np.isnan([found.low, found.high, found.p_t, found.p_t_holm, found.p_equivalence,
                         found.p_noninferiority, found.bca_low, found.d_z, found.hedges_g]).all()


# verdicts and words


@pytest.mark.parametrize(("differences", "verdict"), [
    ([2.0, 2.1, 1.9, 2.2], "better"), ([-2.0, -2.1, -1.9, -2.2], "worse"),
    ([0.02, -0.03, 0.01, 0.0], "equivalent"), ([3.0, -2.0, 1.0, -1.5], "not decided"),
    ([0.10, 0.11, 0.09, 0.10], "equivalent"), ([1.0], "not decided"),
    ([0.5, 0.5, 0.5], "not decided"), ([0.0, 0.0], "not decided")])
def test_verdicts(differences, verdict):
    found = against_zero(differences)
    assert found.verdict == verdict
    assert verdict in str(found)


@pytest.mark.parametrize(("differences", "verdict"), [
    ([2.0, 2.1, 1.9, 2.2], "not inferior"), ([-0.1, 0.05, 0.0, -0.05], "not inferior"),
    ([-2.0, -2.1, -1.9, -2.2], "not decided"), ([3.0, -2.0, 1.0, -1.5], "not decided"),
    ([0.5, 0.5, 0.5], "not decided")])
def test_verdicts_of_non_inferiority(differences, verdict):
    found = against_zero(differences, claim="non-inferiority")
    assert found.verdict == verdict
    assert verdict in str(found)


def test_words_give_the_numbers_that_the_verdict_rests_on():
    found = compare_paired(A, B, margin=0.3, names=("Scratch-E", "Fine-tuned"))
    assert str(found) == (
        "Scratch-E minus Fine-tuned: -0.24 points (95 % t interval -0.45 to -0.03, n = 6, exact "
        "sign-flip p = 0.0625). Verdict: Scratch-E is worse, t test p = 0.033.")
    assert "equivalent within 1 point," in str(compare_paired(A, B, margin=1))
    assert "not inferior by 0.5 points" in str(compare_paired(A, B, margin=0.5,
                                                              claim="non-inferiority"))


def test_words_say_what_n_cannot_show():
    assert "never below 0.25 at this n" in str(compare_paired(A[:3], B[:3], margin=0.3))
    assert "never below" not in str(compare_paired(A, B, margin=0.3))
    assert "follow a normal law" in str(against_zero([2.0, 2.1, 1.9, 2.2]))
    assert "one pair" in str(compare_paired(A[:1], B[:1], margin=0.3))
    assert "all alike" in str(compare_paired([1.0, 2.0], [0.5, 1.5], margin=0.3))


@pytest.mark.parametrize(("claim", "truth"), [("difference", 0.3), ("non-inferiority", 0.0)])
def test_undecided_words_say_how_many_pairs_would_do(claim, truth):
    found = compare_paired(A[:3], B[:3], margin=0.3, claim=claim)
    pairs = pairs_for(0.8, truth, found.sd, margin=0.3, claim=claim)
    assert "not decided at n = 3" in str(found)
    assert f"about {pairs} pairs" in str(found)
    scattered = against_zero([100.0, -90.0, 3.0], claim=claim)
    assert "more than 10,000 pairs" in str(scattered)


# families


def test_holm_by_hand():
    """Smallest times four, next times three, ..., none below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.slow
@settings(max_examples=20)  # statsmodels collects garbage at each call, which is slow
@given(P_VALUES)
def test_holm_is_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@given(P_VALUES)
def test_holm_is_the_closed_test_of_bonferronis(p_values):
    """A hypothesis falls when every intersection that contains it does (Holm 1979)."""
    indices = range(len(p_values))
    groups = list(chain.from_iterable(combinations(indices, k + 1) for k in indices))
    expected = [max(min(1, len(group) * min(p_values[j] for j in group))
                    for group in groups if i in group) for i in indices]
    assert holm(p_values) == pytest.approx(expected)


def test_a_test_that_could_not_be_made_counts_towards_its_family():
    found = holm([0.02, float("nan"), 0.01])
    assert [found[0], found[2]] == pytest.approx([0.04, 0.03])
    assert np.isnan(found[1])
    assert holm([]) == []


@given(SPREAD_OUT, st.sampled_from(["difference", "non-inferiority"]))
def test_a_family_of_one_is_one_comparison(differences, claim):
    zeros = [0.0] * len(differences)
    (found,) = compare_family([("A", "B", differences, zeros)], margin=0.3, claim=claim)
    alone = compare_paired(differences, zeros, margin=0.3, claim=claim)
    assert repr(found) == repr(alone)  # repr, for NaN does not equal itself
    assert (found.p_t_holm, found.p_equivalence_holm, found.p_noninferiority_holm) == (
        found.p_t, found.p_equivalence, found.p_noninferiority)
    assert "Holm" not in str(found)


def test_a_family_adjusts_each_kind_of_p():
    pairs = [("A", "B", A, B), ("C", "B", C, B), ("A", "C", A, C)]
    found = compare_family(pairs, margin=0.3)
    for kind in ("p_t", "p_equivalence", "p_noninferiority"):
        raw = [getattr(c, kind) for c in found]
        adjusted = [getattr(c, f"{kind}_holm") for c in found]
        assert adjusted == pytest.approx(list(multipletests(raw, method="holm")[1]))
    assert [(c.a, c.b, c.family) for c in found] == [("A", "B", 3), ("C", "B", 3), ("A", "C", 3)]
    assert compare_paired(A, B, margin=0.3).verdict == "worse"
    assert found[0].p_t < 0.05 < found[0].p_t_holm
    assert found[0].verdict == "not decided"
    for comparison in found:
        assert "(Holm over 3 comparisons)" in str(comparison)
        assert "unadjusted 95 % t interval" in str(comparison)


def test_a_family_plans_for_the_strictest_step_of_holm():
    first = compare_family([("A", "B", A, B), ("C", "B", C, B), ("A", "C", A, C)], margin=0.3)[0]
    pairs = pairs_for(0.8, 0.3, first.sd, 0.05 / 3)
    assert pairs > pairs_for(0.8, 0.3, first.sd, 0.05)
    assert f"about {pairs} pairs" in str(first)


def test_a_family_may_have_comparisons_of_unequal_n():
    long, short, one = compare_family(
        [("A", "B", A, B), ("C", "B", C[:4], B[:4]), ("A", "C", A[:1], C[:1])], margin=0.3)
    assert [long.n, short.n, one.n] == [6, 4, 1]
    assert short.p_t == pytest.approx(stats.ttest_rel(C[:4], B[:4]).pvalue)
    assert long.p_t_holm == pytest.approx(3 * long.p_t)
    assert one.verdict == "not decided"


# what cannot be compared


@pytest.mark.parametrize(("a", "b", "margin", "says"), [
    ([1.0, 2.0], [1.0], 0.3, "as many"), ([], [], 0.3, "at least one"),
    ([1.0, float("nan")], [1.0, 2.0], 0.3, "finite"),
    ([1.0], [1.0], 0.0, "margin"), ([1.0], [1.0], float("nan"), "margin")])
def test_samples_that_cannot_be_compared_are_named(a, b, margin, says):
    with pytest.raises(ConfigError, match=says):
        compare_paired(a, b, margin=margin)


NO_NUMBERS = [["93.1", "92.8"], [93.1, None], np.array([93.1, 92.8], dtype=object),
              [[93.1], [92.8, 92.9]], [[93.1, 92.8]], "93", None, 93.1, {"a": 93.1}, [1j, 2j]]


@pytest.mark.parametrize("values", NO_NUMBERS, ids=repr)
def test_what_is_no_list_of_numbers_is_named(values):
    with pytest.raises(ConfigError, match=r"the values of Scratch-E .* list of numbers"):
        compare_paired(values, [1.0, 2.0], margin=0.3, names=("Scratch-E", "Fine-tuned"))
    with pytest.raises(ConfigError, match=r"the values of C .* list of numbers"):
        compare_family([("A", "B", A, B), ("A", "C", A, values)], margin=0.3)
    with pytest.raises(ConfigError, match=r"the p-values .* list of numbers"):
        holm(values)
    with pytest.raises(ConfigError, match=r"the differences .* list of numbers"):
        sign_flip_p(values)
    with pytest.raises(ConfigError, match=r"the hits of B .* list of true and false"):
        mcnemar([True, False], values)


@pytest.mark.parametrize("kind", [tuple, np.array, np.float32, pd.Series, torch.tensor,
                                  lambda values: [np.float64(value) for value in values]])
def test_numbers_may_come_as_any_kind_of_list(kind):
    found = compare_paired(kind(A), kind(B), margin=0.3)
    assert found.mean == pytest.approx(compare_paired(A, B, margin=0.3).mean, abs=1e-5)


@pytest.mark.parametrize("value", ["0.1", None, [0.1]])
def test_settings_that_are_no_numbers_are_named(value):
    for name in ("margin", "alpha"):
        with pytest.raises(ConfigError, match=f"{name} .* must be"):
            compare_paired(A, B, **{"margin": 0.3, name: value})
    usual = {"power": 0.8, "difference": 0.3, "sd": 0.5, "alpha": 0.05, "most": 100}
    for name in usual:
        with pytest.raises(ConfigError, match=f"{name} .* must be"):
            pairs_for(**{**usual, name: value})


@pytest.mark.parametrize("pairs", [[("A", "B", A)], ["AB"], [None], None])
def test_a_family_that_is_no_list_of_comparisons_says_what_one_is(pairs):
    with pytest.raises(ConfigError, match="name, name, values, values"):
        compare_family(pairs, margin=0.3)


@pytest.mark.parametrize(("options", "says"), [
    ({"alpha": 0.0}, "alpha 0.0"), ({"alpha": 0.5}, "alpha 0.5"),
    ({"claim": "noninferiority"}, "Did you mean 'non-inferiority'")])
def test_options_that_cannot_be_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        compare_paired(A, B, margin=0.3, **options)


def test_a_family_without_comparisons_and_a_p_above_one_are_refused():
    with pytest.raises(ConfigError, match="at least one"):
        compare_family([], margin=0.3)
    with pytest.raises(ConfigError, match=r"p-value 1\.2"):
        holm([0.1, 1.2])
