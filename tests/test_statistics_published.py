"""Examples whose numbers are in the literature, from the data up."""

from __future__ import annotations

import numpy as np
import pytest

from rethinklab.analysis.mcnemar import mcnemar, tango_interval
from rethinklab.analysis.statistics import compare_paired

# Darwin's maize, crossed minus self-fertilised, in eighths of an inch (Fisher 1935, section 17)
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# Hours of sleep gained with two drugs, ten patients (Cushny and Peebles 1905; Student 1908)
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_darwins_maize():
    """Fisher: mean 20.93, t = 2.148, and of 32,768 arrangements of signs 863 at least as far on
    one side (section 21), 5.267 % on both."""
    found = compare_paired(MAIZE, [0] * 15, margin=1)
    assert found.mean == pytest.approx(20.93, abs=0.005)
    assert found.mean / found.sd * 15**0.5 == pytest.approx(2.148, abs=0.0005)
    ways = {0: 1}  # sums of signed differences and in how many ways each arises
    for value in MAIZE:
        longer: dict[int, int] = {}
        for total, count in ways.items():
            for signed in (value, -value):
                longer[total + signed] = longer.get(total + signed, 0) + count
        ways = longer
    assert sum(count for total, count in ways.items() if total >= sum(MAIZE)) == 863
    assert found.p_signflip == 2 * 863 / 2**15
    # the t interval leaves out zero (p = 0.0497) where the exact test stays just above 5 %
    assert found.p_t == pytest.approx(0.0497, abs=0.00005)
    assert found.verdict == "better"


def test_students_sleep_data():
    """Mean 1.58, t = 4.062, p = 0.00283 (as in the help of R's `sleep`)."""
    found = compare_paired(SLEEP_2, SLEEP_1, margin=0.5)
    assert found.mean == pytest.approx(1.58)
    assert found.d_z * 10**0.5 == pytest.approx(4.0621, abs=0.00005)
    assert found.p_t == pytest.approx(0.00283, abs=0.000005)
    assert (found.low, found.high) == pytest.approx((0.70, 2.46), abs=0.005)
    # nine patients gained with the second drug and one stood still: no sign can lower the sum
    assert found.p_signflip == 2 * 2 / 2**10
    assert found.verdict == "better"


def test_airway_reactivity_before_and_after_transplantation():
    """21 children: 1 both times, 1 only before, 7 only after, 12 never (Bentur et al. 2009).
    Exact p 0.0703, Tango's interval -0.517 to -0.026 (Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 2013 and Statistics in Medicine 2014)."""
    before = np.repeat([True, True, False, False], [1, 1, 7, 12])
    after = np.repeat([True, False, True, False], [1, 1, 7, 12])
    found = mcnemar(before, after)
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 1, 7, 12)
    assert found.p == pytest.approx(0.0703, abs=0.00005)
    assert tango_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=0.0005)
    assert (found.low, found.high) == pytest.approx((-51.7, -2.6), abs=0.05)
