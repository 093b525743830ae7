"""Checks of notebook 13."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rethinklab.analysis.paired_tests import ALPHA, t_tests
from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.results import Results
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import prunes, regime_title


def rewinding_budget(answer: Any, epochs: int, ratio: float) -> str:
    """The epochs of new weights that cost what large network and LR rewinding cost together.

    epochs: of the large network. ratio: of FLOPs, large over pruned.
    Raises Wrong for Scratch-B, equal epochs, the quarter of fine-tuning, or the inverse ratio.
    """
    value = number(answer)
    expected = int(epochs * ratio + epochs)
    if value != expected:
        refuse(value == int(epochs * ratio), "This is Scratch-B, which pays for the large network "
                                             "alone. The retraining counts as well.")
        refuse(value == 2 * epochs, "These are equal epochs. An epoch of the large network costs "
                                    f"{ratio:g} of the small one's.")
        refuse(value == int(epochs * ratio + epochs / 4),
               "This counts a fine-tuning of a quarter of the epochs. LR rewinding takes as many "
               "as the large network had.")
        refuse(value == int(epochs / ratio + epochs), "The ratio is the wrong way round: the small "
                                                      "network's epochs are the cheap ones.")
        refuse(value == int(2 * epochs * ratio), "LR rewinding trains the small network, so its "
                                                 "epochs are small ones already.")
        refuse(True, "Count in epochs of the small network: those that the large network's "
                     "training is worth, and those of the retraining.")
    return f"{epochs} large and {epochs} small epochs cost what {expected} small ones do."


def cheapest(answer: Any, results: Results) -> str:
    """The regime, the unpruned network aside, of least multiply-adds in all among those whose mean
    accuracy is at most the study's margin below the best.

    Raises Wrong for a title, the best or cheapest regime of all, or one chosen by its own epochs.
    """
    answered(answer)
    summary, ledger = results.summary(), results.ledger()
    names = [name for name in results.regimes if prunes(name)]
    titles = {regime_title(name): name for name in names}
    refuse(isinstance(answer, str) and answer in titles and answer not in names,
           f"{answer} is a title; give the regime's name, {titles.get(str(answer))!r}.")
    demand(isinstance(answer, str) and answer in names,
           f"The answer must be the name of a pruned regime, such as {names[0]!r}, not "
           f"{answer!r}.")
    mean = summary["mean"][names]
    cost = (ledger["forward_macs"] + ledger["backward_macs"])[names]
    good = mean[mean >= mean.max() - results.margin].index
    expected = str(cost[good].idxmin())
    if answer != expected:
        short = mean.max() - mean[answer]
        refuse(answer not in good and answer == cost.idxmin(),
               f"{answer} costs least of all, but lies {short:.2f} points below the best.")
        refuse(answer not in good, f"{answer} lies {short:.2f} points below the best, more than "
                                   f"the margin of {results.margin:g}.")
        refuse(answer == summary.loc[good, "epochs"].idxmin(),
               f"{answer} has the fewest epochs of its own, but it rests on more: the ledger "
               "counts all.")
        refuse(True, f"{answer} is good enough, and {cost[answer]:.3g} multiply-adds are not the "
                     "least among those.")
    return (f"{expected} ends {mean.max() - mean[expected]:.2f} points below the best and costs "
            f"{cost[expected] / cost[mean.idxmax()]:.0%} of it.")


def smallest_margin(answer: Any, results: Results, a: str, b: str) -> str:
    """The smallest margin at which two one-sided t tests call regimes `a` and `b` equivalent.

    Raises Wrong for the bound of a 95 % interval, a bound without the mean, or a deviation where
    a standard error belongs.
    """
    value = float(number(answer))
    from scipy import stats

    comparison = results.compare(a, b)
    n, mean, sd = comparison.n, abs(comparison.mean), comparison.sd
    t = float(stats.t.isf(ALPHA, n - 1))
    expected = mean + t * sd / math.sqrt(n)
    two_sided = float(stats.t.isf(ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    if not close(value, expected):
        refuse(close(value, mean + two_sided),
               "This is the bound of the 95 % interval. Each of the two tests is one-sided, so "
               "the 90 % interval decides.")
        refuse(close(value, t * sd / math.sqrt(n)), "The mean is missing: the margin must lie "
                                                    "beyond the far end of the interval.")
        refuse(close(value, abs(mean - t * sd / math.sqrt(n))),
               "This is the near end of the interval; both ends must lie within the margin.")
        refuse(close(value, mean + t * sd), "This takes the spread of differences for that of "
                                            "their mean; divide by the root of n.")
        refuse(value < 0, "A margin is a size and cannot be negative.")
        found = float(t_tests(results.accuracies(a) - results.accuracies(b),
                              max(value, 1e-9)).p_equivalence)
        refuse(True, f"At a margin of {value:g} the p of equivalence is {found:.3g}; look for "
                     f"where it is {ALPHA:g}.")
    return (f"from {expected:.2f} points on the two would be called equivalent, which is why a "
            "margin chosen afterwards proves nothing.")


def warm_linear(answer: Any) -> str:
    """A function (epoch, epochs, peak) -> learning rate that rises in a line from a tenth of the
    peak over the first tenth of the epochs (at least one), then falls in a line to almost zero.

    Raises Wrong for no rise, one from zero, a fall over all epochs, or one that ends too early.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for epochs, peak in ((40, 0.1), (5, 0.05)):
        recipe = Recipe(epochs=epochs, lr=peak, milestones=(), shape="linear", warmup=0.1)
        warm = recipe.warm_epochs
        rates = [_rate(answer, epoch, epochs, peak) for epoch in range(epochs)]
        wanted = [recipe.lr_at(epoch) for epoch in range(epochs)]
        if _same(rates, wanted):
            continue
        later = range(warm, epochs)
        refuse(_same(rates, [peak * (1 - e / epochs) for e in range(epochs)]),
               "The rise is missing: the first tenth of the epochs goes up from a tenth of the "
               "peak.")
        refuse(math.isclose(rates[0], 0, abs_tol=1e-9),
               "The rise begins at a tenth of the peak, not at zero.")
        refuse(max(rates) > peak * 1.001, f"The rate goes above its peak of {peak:g}.")
        refuse(_same(rates[warm:], [peak * (1 - e / epochs) for e in later]),
               "The fall begins where the rise ends, at the peak: count its epochs from there, "
               "over those that are left.")
        refuse(_same(rates[warm:], [peak * (1 - (e - warm) / (epochs - warm - 1)) for e in later]),
               "The last epoch has a rate of zero here and trains nothing; zero is reached only "
               "after the last epoch.")
        first = next(e for e in range(epochs)
                     if not math.isclose(rates[e], wanted[e], rel_tol=1e-6, abs_tol=1e-9))
        refuse(True, f"With {epochs} epochs and a peak of {peak:g}, epoch {first} has "
                     f"{rates[first]:.4g} and not {wanted[first]:.4g}.")
    return "up in a line and down in a line, as the package has it."


def _same(rates: list[float], wanted: list[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
               for a, b in zip(rates, wanted, strict=True))


def _rate(function: Callable[..., Any], epoch: int, epochs: int, peak: float) -> float:
    return float(number(returned(function(epoch, epochs, peak))))
