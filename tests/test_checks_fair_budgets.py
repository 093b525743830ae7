"""Notebook 13: each check is kind to a stub, diagnoses typical mistakes, accepts the solution."""

import pandas as pd
import pytest
from check_cases import right, unanswered, wrong
from scipy import stats

from rethinklab.experiments.results import Results
from rethinklab.notebook.checks import fair_budgets as checks

#                     accuracy of three seeds, own epochs, multiply-adds in all
REGIMES = {"unpruned": ((0.94, 0.93, 0.95), 20, 100), "finetune": ((0.90, 0.91, 0.92), 5, 110),
           "lr-rewind": ((0.945, 0.95, 0.95), 20, 150), "scratch-e": ((0.92, 0.93, 0.93), 20, 50),
           "scratch-b": ((0.943, 0.949, 0.95), 40, 100),
           "one-cycle": ((0.946, 0.947, 0.948), 5, 110)}


@pytest.fixture
def results():
    rows = [{"regime": regime, "seed": seed, "test_accuracy": value, "epochs": epochs,
             "params": 1.0, "macs": 1.0, "seconds": 1.0, "spent_forward_macs": spent / 3,
             "spent_backward_macs": 2 * spent / 3}
            for regime, (values, epochs, spent) in REGIMES.items()
            for seed, value in enumerate(values)]
    return Results(pd.DataFrame(rows), 0.5, "made up")


def test_stubs_are_unanswered(results):
    def dots(epoch, epochs, peak):
        ...

    for stub in (..., None):
        unanswered(checks.rewinding_budget, stub, 160, 2.5)
        unanswered(checks.cheapest, stub, results)
        unanswered(checks.smallest_margin, stub, results, "scratch-b", "lr-rewind")
        unanswered(checks.warm_linear, stub)
    unanswered(checks.warm_linear, dots)
    unanswered(checks.warm_linear, lambda *arguments: print(end=""))


def test_rewinding_budget():
    check = checks.rewinding_budget
    right(check, 160 * 2.5 + 160, 160, 2.5)
    wrong("Scratch-B", check, 400, 160, 2.5)
    wrong("equal epochs", check, 320, 160, 2.5)
    wrong("quarter", check, 440, 160, 2.5)
    wrong("wrong way round", check, 224, 160, 2.5)
    wrong("small ones already", check, 800, 160, 2.5)
    wrong("Count in epochs", check, 100, 160, 2.5)
    wrong("one number", check, "560", 160, 2.5)


def test_cheapest(results):
    check = checks.cheapest
    right(check, "scratch-b", results)
    wrong("costs least of all", check, "scratch-e", results)
    wrong("more than the margin", check, "finetune", results)
    wrong("fewest epochs of its own", check, "one-cycle", results)
    wrong("not the least", check, "lr-rewind", results)
    wrong("is a title", check, "Scratch-B", results)
    wrong("name of a pruned regime", check, "unpruned", results)
    wrong("name of a pruned regime", check, 3, results)


def test_cheapest_where_one_regime_is_all(results):
    alone = results.frame[results.frame["regime"].isin(["unpruned", "finetune"])]
    one = Results(alone.assign(regime=alone["regime"].astype(str)), 0.5, "made up")
    right(checks.cheapest, "finetune", one)


def test_smallest_margin(results):
    check, pair = checks.smallest_margin, ("scratch-b", "lr-rewind")
    gaps = results.accuracies("scratch-b") - results.accuracies("lr-rewind")
    mean, error = abs(gaps.mean()), gaps.std() / 3**0.5
    t = stats.t.isf(0.05, 2)
    right(check, mean + t * error, results, *pair)
    assert results.compare(*pair, margin=mean + t * error + 1e-6).verdict == "equivalent"
    assert results.compare(*pair, margin=mean + t * error - 1e-6).verdict == "not decided"
    wrong("90 % interval", check, mean + stats.t.isf(0.025, 2) * error, results, *pair)
    wrong("mean is missing", check, t * error, results, *pair)
    wrong("near end", check, abs(mean - t * error), results, *pair)
    wrong("root of n", check, mean + t * gaps.std(), results, *pair)
    wrong("negative", check, -1.0, results, *pair)
    wrong("p of equivalence", check, 0.5, results, *pair)


def triangle(epoch, epochs, peak, warm=True, start=0.1, whole=False, early=0):
    rise = max(1, round(0.1 * epochs)) if warm else 0
    if epoch < rise:
        return peak * (start + (1 - start) * epoch / rise)
    return peak * (1 - (epoch / epochs if whole else (epoch - rise) / (epochs - rise - early)))


def test_warm_linear():
    check = checks.warm_linear
    right(check, triangle)
    wrong("rise is missing", check, lambda *a: triangle(*a, warm=False))
    wrong("not at zero", check, lambda *a: triangle(*a, start=0.0))
    wrong("begins where the rise ends", check, lambda *a: triangle(*a, whole=True))
    wrong("trains nothing", check, lambda *a: triangle(*a, early=1))
    wrong("above its peak", check, lambda *a: 2 * triangle(*a))
    wrong("epoch 1 has", check, lambda *a: 0.01)
    wrong("one number", check, lambda *a: [0.1])
    wrong("must be a function", check, 0.1)
