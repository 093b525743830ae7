"""Each exercise's check is kind to a stub, diagnoses typical mistakes, and accepts the solution."""

import pandas as pd
import pytest
import torch

from rethinklab.experiments.results import Results
from rethinklab.models import build_model
from rethinklab.notebook import checks
from rethinklab.pruners import ChannelPruner, L1Norm

SCAN = pd.DataFrame([("a", 0.5, 0.2), ("a", 0.75, 0.2), ("b", 0.5, 0.6), ("b", 0.75, 0.5),
                     ("c", 0.5, 0.5), ("c", 0.75, 0.1)], columns=["layer", "ratio", "accuracy"])


@pytest.fixture(scope="module")
def results():
    accuracy = {"unpruned": (0.90, 0.91, 0.92), "finetune": (0.80, 0.82, 0.81),
                "scratch-e": (0.83, 0.86, 0.88), "scratch-b": (0.86, 0.90, 0.90)}
    rows = [{"regime": regime, "seed": seed, "test_accuracy": value}
            for regime, values in accuracy.items() for seed, value in enumerate(values)]
    return Results(pd.DataFrame(rows), 1.0, "made up")


@pytest.fixture(scope="module")
def vgg16():
    return build_model("vgg16", width=0.25)


@pytest.fixture(scope="module")
def plans(vgg16):
    class Shape:
        input_shape = (3, 32, 32)

    return {target: L1Norm(target).fit(vgg16, Shape()) for target in ("A", 0.1, 0.3, 0.5)}


def wrong(diagnosis, check, *arguments):
    with pytest.raises(AssertionError, match=diagnosis):
        check(*arguments)


def right(capsys, check, *arguments):
    check(*arguments)
    assert capsys.readouterr().out.startswith("Right: ")


def test_stubs_are_met_kindly(capsys, results, plans):
    class Stub(ChannelPruner):
        def score(self, layer):
            ...

    for stub in (..., None):
        checks.mean_difference(stub, results)
        checks.scratch_b_epochs(stub, 160, plans["A"])
        checks.halves_macs(stub)
        checks.most_sensitive(stub, SCAN, 0.75)
        checks.parameters_removed(stub)
        checks.largest_go(stub)
    checks.largest_go(Stub)
    assert capsys.readouterr().out == 13 * f"{checks.UNANSWERED}\n"


def test_mean_difference(capsys, results):
    solution = (results.accuracies("scratch-b") - results.accuracies("finetune")).mean()
    right(capsys, checks.mean_difference, solution, results)
    right(capsys, checks.mean_difference, round(solution, 2), results)
    check = checks.mean_difference
    wrong("sign is swapped", check, -solution, results)
    wrong("fractions", check, solution / 100, results)
    wrong("minus unpruned", check, -1 - 4 / 3, results)
    wrong("not the mean difference", check, 50, results)
    wrong("one number", check, [solution], results)
    wrong("one number", check, results.accuracies("finetune"), results)


def test_scratch_b_epochs(capsys, plans):
    plan = plans["A"]
    check, exact = checks.scratch_b_epochs, 160 * plan.flops_ratio
    right(capsys, check, int(exact), 160, plan)
    wrong("wrong way round", check, int(160 / plan.flops_ratio), 160, plan)
    wrong("rounded up", check, int(exact) + 1, 160, plan)
    wrong("cuts the fraction off", check, exact, 160, plan)
    wrong("ratio of parameters", check,
          int(160 * plan.before.params / plan.after.params), 160, plan)
    wrong("not the budget", check, 160, 160, plan)
    wrong("one number", check, "243", 160, plan)


def test_halves_macs(capsys, plans):
    right(capsys, checks.halves_macs, plans[0.3])
    wrong("both sides", checks.halves_macs, plans[0.5])
    wrong("remove a larger share", checks.halves_macs, plans[0.1])
    wrong("must be the plan", checks.halves_macs, 0.3)


def test_most_sensitive(capsys):
    right(capsys, checks.most_sensitive, "c", SCAN, 0.75)
    right(capsys, checks.most_sensitive, "a", SCAN, 0.5)
    wrong("least sensitive", checks.most_sensitive, "b", SCAN, 0.75)
    wrong("some other ratio", checks.most_sensitive, "c", SCAN, 0.5)
    wrong("another layer falls lower", checks.most_sensitive, "a", SCAN, 0.75)
    wrong("name of a layer", checks.most_sensitive, 0.1, SCAN, 0.75)


def test_parameters_removed(capsys, vgg16):
    class Shape:
        input_shape = (3, 32, 32)

    right(capsys, checks.parameters_removed, 32 * 3 * 9 + 2 * 32 + 64 * 32 * 9)
    plan = L1Norm({"features.0": 8}).fit(vgg16, Shape())  # 8 of 16 filters, read by 16
    right(capsys, checks.parameters_removed, plan.before.params - plan.after.params, 8, 3, 16)
    wrong("filters alone", checks.parameters_removed, 32 * 3 * 9)
    wrong("next convolution is missing", checks.parameters_removed, 32 * 3 * 9 + 64)
    wrong("normalisation is missing", checks.parameters_removed, 32 * 3 * 9 + 64 * 32 * 9)
    wrong("two values", checks.parameters_removed, 32 * 3 * 9 + 32 + 64 * 32 * 9)
    wrong("three parts", checks.parameters_removed, 1)


def pruner(function):
    class Answer(ChannelPruner):
        def score(self, layer):
            return function(layer.weight)

    return Answer


def test_largest_go(capsys):
    right(capsys, checks.largest_go, pruner(lambda w: -w.abs().flatten(1).sum(1)))
    right(capsys, checks.largest_go, pruner(lambda w: 1 / w.abs().sum((1, 2, 3))))
    check = checks.largest_go
    wrong("still ranks as L1-norm", check, pruner(lambda w: w.abs().flatten(1).sum(1)))
    wrong("one number for each filter", check, pruner(lambda w: -w.abs()))
    wrong("absolute value is missing", check, pruner(lambda w: -w.flatten(1).sum(1)))
    wrong("not the reverse", check, pruner(lambda w: torch.arange(len(w))))
    wrong("must be the class", check, pruner(torch.sum)(0.5))
