"""How often the verdicts are wrong, by simulated studies through the rule that gives them."""

from __future__ import annotations

import numpy as np
import pytest

from rethinklab.analysis.claims import adjust, decide
from rethinklab.analysis.paired_tests import TTests, t_tests
from rethinklab.analysis.statistics import compare_paired

STUDIES = 40_000
# three standard errors of a share of 5 % above it
AT_MOST = 0.05 + 3 * (0.05 * 0.95 / STUDIES) ** 0.5
NOISES = {
    "normal": lambda random, shape: random.normal(0, 1, shape),
    "exponential": lambda random, shape: random.exponential(1, shape) - 1,
    "log-normal": lambda random, shape: random.lognormal(0, 0.75, shape) - np.exp(0.75**2 / 2),
}
SIZES = (3, 5, 6, 10)


def studies(noise, n, shift=0.0):
    """Differences (studies, n) of two networks with the same noise around a common seed effect."""
    random = np.random.default_rng(n)
    return shift + NOISES[noise](random, (STUDIES, n)) - NOISES[noise](random, (STUDIES, n))


def share(verdicts, *words):
    return float(np.isin(verdicts, words).mean())


@pytest.mark.parametrize("margin", [1e-6, 1.0])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", SIZES)
def test_without_a_difference_at_most_five_percent_claim_one(n, noise, margin):
    found = decide(t_tests(studies(noise, n), margin), 0.05, "difference")
    assert share(found, "better", "worse") <= AT_MOST
    if noise == "normal" and margin < 1e-3:  # where the level is exact, it is also used up
        assert share(found, "better", "worse") > 0.045


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("margin", [1.0, 4.0])
@pytest.mark.parametrize("n", SIZES)
def test_at_the_margin_at_most_five_percent_claim_equivalence(n, margin, side):
    found = decide(t_tests(studies("normal", n, side * margin), margin), 0.05, "difference")
    assert share(found, "equivalent") <= AT_MOST


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", SIZES)
def test_at_minus_the_margin_at_most_five_percent_claim_non_inferiority(n, noise):
    found = decide(t_tests(studies(noise, n, -1.0), 1.0), 0.05, "non-inferiority")
    assert share(found, "not inferior") <= AT_MOST


def family(n, shifts, margin):
    """Tests (studies, 3) of three networks that are all compared with one baseline."""
    random = np.random.default_rng(n)
    baseline = random.normal(0, 1, (STUDIES, n))
    each = [t_tests(shift + random.normal(0, 1, (STUDIES, n)) - baseline, margin)
            for shift in shifts]
    return TTests(*(np.stack(fields, axis=-1) for fields in zip(*each, strict=True)))


def any_share(verdicts, *words):
    return float(np.isin(verdicts, words).any(axis=-1).mean())


@pytest.mark.parametrize("n", SIZES)
def test_a_family_without_differences_claims_any_in_at_most_five_percent(n):
    tests = family(n, (0.0, 0.0, 0.0), 1e-6)
    assert any_share(decide(adjust(tests), 0.05, "difference"), "better", "worse") <= AT_MOST
    # one by one the same comparisons would err more often
    assert any_share(decide(tests, 0.05, "difference"), "better", "worse") > 0.08


@pytest.mark.parametrize("n", SIZES)
def test_a_real_difference_in_a_family_does_not_make_the_others_err(n):
    found = decide(adjust(family(n, (20.0, 0.0, 0.0), 1e-6)), 0.05, "difference")
    assert share(found[:, 0], "better") > 0.99
    assert any_share(found[:, 1:], "better", "worse") <= AT_MOST


@pytest.mark.parametrize("n", SIZES)
def test_a_family_at_the_margin_claims_in_at_most_five_percent(n):
    tests = adjust(family(n, (4.0, 4.0, -4.0), 4.0))
    assert any_share(decide(tests, 0.05, "difference"), "equivalent") <= AT_MOST
    tests = adjust(family(n, (-4.0, -4.0, -4.0), 4.0))
    assert any_share(decide(tests, 0.05, "non-inferiority"), "not inferior") <= AT_MOST


@pytest.mark.parametrize("claim", ["difference", "non-inferiority"])
def test_the_rule_that_is_simulated_is_that_of_a_comparison(claim):
    rows = studies("normal", 5, 0.8)[:100]
    rule = list(decide(t_tests(rows, 1.5), 0.05, claim))
    assert rule == [compare_paired(row, np.zeros(5), margin=1.5, claim=claim).verdict
                    for row in rows]
    assert len(set(rule)) > 1
