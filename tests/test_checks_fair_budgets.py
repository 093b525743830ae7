"""Notebook 13: each check is kind to a stub, diagnoses typical mistakes, accepts the solution."""

from pathlib import Path

import pandas as pd
import pytest
from check_cases import right, unanswered, wrong
from scipy import stats

from rethinklab.figures.families import recipe_family
from rethinklab.notebook.checks import fair_budgets as checks
from rethinklab.results import Results, load_results

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


RECORDED = Path(__file__).parents[1] / "data" / "results"
LARGE_RATE = ["weight-rewind", "one-cycle", "restart", "linear"]


@pytest.fixture(scope="module")
def recorded():
    return load_results(RECORDED / "budgets-vgg11-digits-half-classroom")


def test_what_the_prose_says_of_accuracies_and_costs_holds(recorded):
    """Sections 4 and 5 put this into words; mend them where it changes."""
    means = recorded.summary()["mean"].drop("pruned")
    assert list(means.nlargest(3).index) == ["lr-rewind", "scratch-b-full", "scratch-b"]
    assert means.idxmin() == "finetune"
    assert means[["restart", "one-cycle", "linear"]].min() > means["finetune:1"]
    ledger = recorded.ledger()
    spent = ledger["forward_macs"] + ledger["backward_macs"]
    alone = spent["scratch-e"] - spent["unpruned"]
    assert alone < spent["finetune"] < spent["scratch-e"]
    assert spent["scratch-e"] == pytest.approx(spent["lr-rewind"])


def test_what_the_prose_says_of_the_curves_holds(recorded):
    """Section 6."""
    curves = recorded.table("histories")
    means = curves.groupby(["regime", "epoch"])["test_accuracy"].mean()
    assert means["lr-rewind"].iloc[0] < means["finetune:1"].iloc[0]
    assert means["lr-rewind"].iloc[-1] > means["finetune:1"].iloc[-1]
    assert means["scratch-e"].iloc[0] < 0.25
    assert (means["scratch-e"] - means["scratch-b"]).iloc[:10].abs().max() < 0.02


def test_what_the_prose_says_of_recipes_budgets_and_margins_holds(recorded):
    """Sections 7, 8 and 9."""
    budgets = ("scratch-e", "sx-a", "scratch-b", "scratch-b-full")
    rows = recipe_family(recorded, new=budgets).drop_duplicates(["row", "regime"])
    found = rows.set_index(["against", "regime"])
    for recipe in ("finetune", "finetune:1"):
        assert found.loc[(recipe, "scratch-e"), "verdict"] == "not decided"
        assert found.loc[(recipe, "scratch-b"), "verdict"] == "better"
    assert found.loc[("lr-rewind", "scratch-e"), "verdict"] == "worse"
    for budget in budgets[1:]:
        assert found.loc[("lr-rewind", budget), "verdict"] == "not decided"
    for recipe in LARGE_RATE:
        for budget, sign in (("scratch-e", -1), ("scratch-b", 1)):
            assert found.loc[(recipe, budget), "verdict"] == "not decided"
            assert sign * found.loc[(recipe, budget), "mean"] > 0
    assert "equivalent" not in set(rows["verdict"])
    for recipe in ("finetune", "linear", "lr-rewind"):
        assert found.loc[recipe, "mean"][list(budgets)].is_monotonic_increasing
    assert found.loc[("lr-rewind", "scratch-b-full"), "mean"] > -0.5
    verdicts = [recorded.compare("scratch-b", "lr-rewind", margin).verdict
                for margin in (0.3, 0.5, 1.0, 1.5, 2.0)]
    assert verdicts == ["not decided"] * 3 + ["equivalent"] * 2
