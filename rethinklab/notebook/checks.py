"""Checks of the exercises: each says what is wrong with an answer, or that it is right.

A check prints a friendly line for a stub that is still `...`, prints a line that begins with
"Right" for a right answer, and raises AssertionError with a diagnosis for a wrong one.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import nn

from rethinklab.experiments.results import Results
from rethinklab.pruners import ChannelPruner, L1Norm, Plan

UNANSWERED = "Not yet answered: put your answer in place of the dots and run this cell again."


def mean_difference(answer: Any, results: Results) -> None:
    """Notebook 00: the mean of Scratch-B minus Fine-tuned over seeds, in percentage points.

    Raises AssertionError for a swapped sign, fractions, another pair of regimes, or no number.
    """
    if _unanswered(answer):
        return
    value = _number(answer)
    expected = results.compare("scratch-b", "finetune").mean
    for regime in results.regimes:
        if regime not in ("scratch-b", "finetune"):
            other = results.compare("scratch-b", regime).mean
            _refuse(_close(value, other) and not _close(value, expected),
                    f"This is Scratch-B minus {regime}; the question asks for Scratch-B minus "
                    "Fine-tuned.")
    _refuse(_close(value, -expected) and not _close(value, expected),
            "The sign is swapped: this is Fine-tuned minus Scratch-B.")
    _refuse(_close(value * 100, expected) and not _close(value, expected),
            "This is a difference of fractions; accuracies() gives percent, so use it as it is.")
    _demand(_close(value, expected),
            "This is not the mean difference. Subtract the two series, which pandas aligns by "
            "seed, and take the mean.")
    _praise(f"over {len(results.accuracies('finetune'))} paired seeds Scratch-B minus Fine-tuned "
            f"is {expected:+.2f} points on average.")


def halves_macs(plan: Any) -> None:
    """Notebook 00: a plan whose network keeps between 45 % and 55 % of the multiply-adds.

    Raises AssertionError for a cut that is too deep or too shallow, or something else than a plan.
    """
    if _unanswered(plan):
        return
    _demand(isinstance(plan, Plan) and plan.before is not None and plan.after is not None,
            f"The answer must be the plan that fit() gives, not {_kind(plan)}.")
    share = plan.after.macs / plan.before.macs
    _refuse(share < 0.45,
            f"The plan keeps {share:.0%} of the multiply-adds, fewer than half. A filter that "
            "goes takes an input of the next layer with it, so most layers shrink on both sides "
            "and their cost falls with about the square of the share kept.")
    _demand(share <= 0.55, f"The plan keeps {share:.0%} of the multiply-adds, more than half; "
                           "remove a larger share.")
    _praise(f"the plan keeps {share:.1%} of the multiply-adds and "
            f"{plan.after.params / plan.before.params:.1%} of the parameters.")


def scratch_b_epochs(answer: Any, epochs: int, plan: Plan) -> None:
    """Notebook 00: the epochs of Scratch-B where the large network is trained for `epochs`.

    Raises AssertionError for the inverse ratio, the ratio of parameters, rounding up, or no
    whole number.
    """
    if _unanswered(answer):
        return
    value = _number(answer)
    exact = epochs * plan.flops_ratio
    expected = int(exact)
    _refuse(_close(value, exact) and not float(value).is_integer(),
            "A budget is a whole number of epochs: the study cuts the fraction off with int().")
    _refuse(value == math.ceil(exact) != expected,
            "This is rounded up; the study cuts the fraction off with int().")
    _refuse(int(value) == int(epochs / plan.flops_ratio),
            "The ratio is the wrong way round. An epoch of the small network costs less, so equal "
            "computation means more epochs.")
    if plan.before is not None and plan.after is not None:
        by_size = int(epochs * plan.before.params / plan.after.params)
        _refuse(int(value) == by_size != expected,
                "This uses the ratio of parameters; the budget goes by FLOPs.")
    _demand(value == expected,
            "This is not the budget. Multiply the epochs of the large network by the FLOPs of the "
            "large over those of the small network, then cut the fraction off.")
    _praise(f"{expected} epochs of the small network cost what {epochs} of the large one do.")


def most_sensitive(answer: Any, scan: pd.DataFrame, ratio: float) -> None:
    """Notebook 02: the layer whose cut at `ratio` costs most accuracy, by a sensitivity scan.

    Raises AssertionError for the layer that costs least, one read at another ratio, or a name
    that is not in the scan.
    """
    if _unanswered(answer):
        return
    rows = scan[scan["ratio"] == ratio].set_index("layer")["accuracy"]
    _demand(isinstance(answer, str) and answer in rows.index,
            f"The answer must be the name of a layer in the scan, such as {rows.index[0]!r}, "
            f"not {answer!r}.")
    lowest = set(rows.index[rows == rows.min()])
    if answer not in lowest:
        highest = rows.index[rows == rows.max()]
        _refuse(answer in highest,
                f"{answer} keeps the highest accuracy at this ratio, so it is the least "
                "sensitive; look for the lowest.")
        overall = scan.groupby("layer")["accuracy"].min()
        _refuse(overall[answer] == overall.min(),
                f"{answer} falls lowest at some other ratio; read only the rows where the ratio "
                f"is {ratio:g}.")
        _refuse(True, f"{answer} keeps {rows[answer]:.1%} at this ratio, and another layer falls "
                      "lower.")
    _praise(f"with {ratio:.0%} of its filters silent, {answer} leaves {rows.min():.1%}, the "
            "lowest of all layers.")


def parameters_removed(answer: Any, filters: int = 32, inputs: int = 3, readers: int = 64,
                       kernel: int = 3) -> None:
    """Notebook 02: the parameters that leave with `filters` filters of one convolution.

    inputs: its input channels. readers: filters of the next convolution. kernel: side of both.
    Neither has a bias, and the first is followed by batch normalisation.
    Raises AssertionError that names the part that was left out.
    """
    if _unanswered(answer):
        return
    value = _number(answer)
    own = filters * inputs * kernel**2
    norm = 2 * filters
    read = readers * filters * kernel**2
    _refuse(value == own, "This counts the filters alone. Each also has a scale and a shift in "
                          "the batch normalisation, and is an input of the next convolution.")
    _refuse(value == own + norm, "The next convolution is missing: each of its filters loses the "
                                 "kernels that read the removed channels.")
    _refuse(value == own + read, "The batch normalisation is missing: a scale and a shift for "
                                 "each channel.")
    _refuse(value == own + norm // 2 + read, "Batch normalisation learns two values for each "
                                             "channel, a scale and a shift.")
    _demand(value == own + norm + read,
            "Count three parts: the filters themselves, two values for each in the batch "
            "normalisation, and the kernels of the next convolution that read them.")
    _praise(f"{own:,} in the filters, {norm:,} in the batch normalisation and {read:,} in the "
            f"next convolution make {value:,}.")


def largest_go(method: Any) -> None:
    """Notebook 02: a pruner whose scores rank filters in the reverse order of L1-norm.

    Raises AssertionError for scores of the wrong shape, the L1-norm itself, or another order.
    """
    if _unanswered(method):
        return
    _demand(isinstance(method, type) and issubclass(method, ChannelPruner),
            f"The answer must be the class, a kind of ChannelPruner, not {_kind(method)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 8, 3)
    with torch.no_grad():
        scores = method(0.5).score(layer)
        norms = L1Norm(0.5).score(layer)
        signed = layer.weight.flatten(1).sum(1)
    if scores is None or scores is ...:
        print(UNANSWERED)
        return
    _demand(isinstance(scores, torch.Tensor) and scores.shape == norms.shape,
            f"score() must give one number for each filter, shape {tuple(norms.shape)} for this "
            f"layer, not {tuple(getattr(scores, 'shape', ()))}. Sum over inputs and kernel.")
    order, wanted = scores.argsort().tolist(), norms.argsort(descending=True).tolist()
    _refuse(order == wanted[::-1], "This still ranks as L1-norm does: the smallest filters have "
                                   "the lowest scores and go first.")
    _refuse(order in (signed.argsort().tolist(), signed.argsort(descending=True).tolist()),
            "The absolute value is missing: weights of opposite sign cancel in this sum.")
    _demand(order == wanted, "The order is not the reverse of L1-norm: the largest absolute sum "
                             "must have the lowest score.")
    _praise("the filters of largest L1-norm go first. Fit it to see what the order is worth.")


def _unanswered(answer: Any) -> bool:
    if answer is ... or answer is None:
        print(UNANSWERED)
        return True
    return False


def _number(answer: Any) -> float:
    _demand(not isinstance(answer, bool) and hasattr(answer, "__float__")
            and not (hasattr(answer, "__len__")),
            f"The answer must be one number, not {_kind(answer)}.")
    return float(answer) if not isinstance(answer, int) else answer


def _kind(answer: Any) -> str:
    return f"a {type(answer).__name__}" if not isinstance(answer, type) else "a class"


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=5e-3)


def _demand(condition: bool, diagnosis: str) -> None:
    if not condition:  # an assert statement would vanish under python -O
        raise AssertionError(diagnosis)


def _refuse(condition: bool, diagnosis: str) -> None:
    _demand(not condition, diagnosis)


def _praise(fact: str) -> None:
    print(f"Right: {fact}")
