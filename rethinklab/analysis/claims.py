"""What may be claimed from the p-values of one comparison, or of a declared family of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rethinklab.analysis.paired_tests import Floats, TTests, as_numbers
from rethinklab.errors import ConfigError
from rethinklab.values import number

CLAIMS = ("difference", "non-inferiority")


def holm(p_values: Sequence[float] | Floats) -> list[float]:
    """p-values adjusted so that a family of tests errs with at most the probability of one.

    A NaN, of a test that could not be made, stays NaN and counts towards the family. Raises
    ConfigError for a value outside 0 to 1, and for what is no number.
    Source: Holm (Scand. J. Stat. 1979).
    """
    values = as_numbers(p_values, "the p-values")
    for value in values[(values < 0) | (values > 1)]:
        raise ConfigError(f"p-value {value:g} must lie between 0 and 1.")
    return [float(value) for value in _holm(values)]


def adjust(tests: TTests) -> TTests:
    """Tests (..., k) of families of k comparisons, each kind of p adjusted over its family."""
    return tests._replace(p_t=_holm(tests.p_t), p_equivalence=_holm(tests.p_equivalence),
                          p_noninferiority=_holm(tests.p_noninferiority))


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, axis=-1)  # NaN last
    steps = np.arange(p.shape[-1], 0, -1) * np.take_along_axis(p, order, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order,
                      np.minimum(1, np.maximum.accumulate(steps, axis=-1)), axis=-1)
    return adjusted


def decide(tests: TTests, alpha: float, claim: str) -> Any:
    """The verdicts, an array of text of the shape of the tests.

    For a difference: "equivalent" where p_equivalence < alpha, else "better" or "worse" where
    p_t < alpha. For non-inferiority: "not inferior" where p_noninferiority < alpha. Else "not
    decided". Equivalence goes first: a difference shown to be smaller than the margin is one that
    the study declared not to matter.
    """
    if claim == "non-inferiority":
        return np.where(tests.p_noninferiority < alpha, "not inferior", "not decided")
    sign = np.where(tests.p_t < alpha, np.sign(tests.mean), 0)
    return np.select([tests.p_equivalence < alpha, sign > 0, sign < 0],
                     ["equivalent", "better", "worse"], "not decided")


def check_level(alpha: float) -> float:
    """`alpha` as a plain number. Raises ConfigError for a level of significance that none can be.
    """
    return number("alpha", alpha, above=0, below=0.5, rule="between 0 and 0.5; 0.05 is usual")


def check_margin(margin: float) -> float:
    """`margin` as a plain number. Raises ConfigError for one that is not finite and above 0."""
    return number("margin", margin, above=0, rule="a number above 0, in the unit of the values")
