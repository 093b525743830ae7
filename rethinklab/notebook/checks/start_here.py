"""Checks of notebook 00."""

from __future__ import annotations

import math
from typing import Any

from rethinklab.notebook.checks.common import answered, close, demand, kind, number, refuse
from rethinklab.pruners import Plan
from rethinklab.results import Results


def mean_difference(answer: Any, results: Results, a: str, b: str) -> str:
    """The mean of regime a minus regime b over seeds, in percentage points.

    Raises Wrong for a swapped sign, fractions, another pair of regimes, or no number.
    """
    answered(answer)
    value = number(answer)
    first, second = (results.accuracies(regime) for regime in (a, b))
    expected = float((first - second).mean())
    if not close(value, expected):
        for regime in results.regimes:
            refuse(regime not in (a, b)
                   and close(value, float((first - results.accuracies(regime)).mean())),
                   f"This is {a} minus {regime}; the question asks for {a} minus {b}.")
        refuse(close(value, -expected), f"The sign is swapped: this is {b} minus {a}.")
        refuse(close(value * 100, expected),
               "This is a difference of fractions; accuracies() gives percent, so use it as it "
               "is.")
        refuse(True, "This is not the mean difference. Subtract the two series, which pandas "
                     "aligns by seed, and take the mean.")
    return f"over {len(first)} paired seeds {a} minus {b} is {expected:+.2f} points on average."


def scratch_b_epochs(answer: Any, epochs: int, plan: Plan) -> str:
    """The epochs of Scratch-B where the large network is trained for `epochs`.

    Raises Wrong for the inverse ratio, the ratio of parameters, rounding up, or no
    whole number.
    """
    answered(answer)
    value = number(answer)
    exact = epochs * plan.flops_ratio
    expected = int(exact)
    refuse(close(value, exact) and not float(value).is_integer(),
            "A budget is a whole number of epochs: the study cuts the fraction off with int().")
    refuse(value == math.ceil(exact) != expected,
            "This is rounded up; the study cuts the fraction off with int().")
    refuse(int(value) == int(epochs / plan.flops_ratio),
            "The ratio is the wrong way round. An epoch of the small network costs less, so equal "
            "computation means more epochs.")
    if plan.before is not None and plan.after is not None:
        by_size = int(epochs * plan.before.params / plan.after.params)
        refuse(int(value) == by_size != expected,
                "This uses the ratio of parameters; the budget goes by FLOPs.")
    demand(value == expected,
            "This is not the budget. Multiply the epochs of the large network by the FLOPs of the "
            "large over those of the small network, then cut the fraction off.")
    return (f"{expected} epochs of the small network cost what {epochs} of the large one do.")


def halves_macs(plan: Any) -> str:
    """A plan whose network keeps between 45 % and 55 % of the multiply-adds.

    Raises Wrong for a cut that is too deep or too shallow, or something else than a plan.
    """
    answered(plan)
    demand(isinstance(plan, Plan) and plan.before is not None and plan.after is not None,
            f"The answer must be the plan that fit() gives, not {kind(plan)}.")
    share = plan.after.macs / plan.before.macs
    refuse(share < 0.45,
            f"The plan keeps {share:.0%} of the multiply-adds, fewer than half. A filter that "
            "goes takes an input of the next layer with it, so most layers shrink on both sides "
            "and their cost falls with about the square of the share kept.")
    demand(share <= 0.55, f"The plan keeps {share:.0%} of the multiply-adds, more than half; "
                           "remove a larger share.")
    return (f"the plan keeps {share:.1%} of the multiply-adds and "
            f"{plan.after.params / plan.before.params:.1%} of the parameters.")
