"""Each exercise's check is kind to a stub, diagnoses typical mistakes, and accepts the solution."""

import pandas as pd
import pytest
import torch
from check_cases import made_up, right, unanswered, wrong

from rethinklab.models import build_model
from rethinklab.notebook.checks import l1_norm, start_here
from rethinklab.notebook.checks.common import Unanswered, answered, returned
from rethinklab.pruners import ChannelPruner, L1Norm

SCAN = pd.DataFrame([("a", 0.5, 0.2), ("a", 0.75, 0.2), ("b", 0.5, 0.6), ("b", 0.75, 0.5),
                     ("c", 0.5, 0.5), ("c", 0.75, 0.1)], columns=["layer", "ratio", "accuracy"])


@pytest.fixture(scope="module")
def results():
    return made_up({"unpruned": (0.90, 0.91, 0.92), "finetune": (0.80, 0.82, 0.81),
                    "scratch-e": (0.83, 0.86, 0.88), "scratch-b": (0.86, 0.90, 0.90)})


@pytest.fixture(scope="module")
def vgg16():
    return build_model("vgg16", width=0.25)


@pytest.fixture(scope="module")
def plans(vgg16):
    class Shape:
        input_shape = (3, 32, 32)

    return {target: L1Norm(target).fit(vgg16, Shape()) for target in ("A", 0.1, 0.3, 0.5)}


def test_stubs_are_unanswered(results, plans):
    class Stub(ChannelPruner):
        def score(self, layer):
            ...

    for stub in (..., None):
        unanswered(start_here.mean_difference, stub, results, "scratch-b", "finetune")
        unanswered(start_here.scratch_b_epochs, stub, 160, plans["A"])
        unanswered(start_here.halves_macs, stub)
        unanswered(l1_norm.most_sensitive, stub, SCAN, 0.75)
        unanswered(l1_norm.parameters_removed, stub)
        unanswered(l1_norm.largest_go, stub)
    unanswered(l1_norm.largest_go, Stub)


def test_a_function_of_dots_is_a_stub_and_one_that_gives_something_is_not():
    def dots(x):
        ...

    def documented(x):
        """Says what it will do."""
        ...

    for stub in (dots, documented, lambda: None):
        unanswered(answered, stub)
    for written in (lambda: 0, lambda x: x, lambda x: print(x), len, int, 0, ""):
        answered(written)


def test_mean_difference(results):
    solution = (results.accuracies("scratch-b") - results.accuracies("finetune")).mean()
    right(start_here.mean_difference, solution, results, "scratch-b", "finetune")
    right(start_here.mean_difference, round(solution, 2), results, "scratch-b", "finetune")
    check = start_here.mean_difference
    wrong("sign is swapped", check, -solution, results, "scratch-b", "finetune")
    wrong("fractions", check, solution / 100, results, "scratch-b", "finetune")
    wrong("scratch-b minus unpruned", check, -1 - 4 / 3, results, "scratch-b", "finetune")
    wrong("not the mean difference", check, 50, results, "scratch-b", "finetune")
    wrong("one number", check, [solution], results, "scratch-b", "finetune")
    wrong("one number", check, results.accuracies("finetune"), results, "scratch-b", "finetune")


def test_scratch_b_epochs(plans):
    plan = plans["A"]
    check, exact = start_here.scratch_b_epochs, 160 * plan.flops_ratio
    right(check, int(exact), 160, plan)
    wrong("wrong way round", check, int(160 / plan.flops_ratio), 160, plan)
    wrong("rounded up", check, int(exact) + 1, 160, plan)
    wrong("cuts the fraction off", check, exact, 160, plan)
    wrong("ratio of parameters", check,
          int(160 * plan.before.params / plan.after.params), 160, plan)
    wrong("not the budget", check, 160, 160, plan)
    wrong("one number", check, "243", 160, plan)


def test_halves_macs(plans):
    right(start_here.halves_macs, plans[0.3])
    wrong("both sides", start_here.halves_macs, plans[0.5])
    wrong("remove a larger share", start_here.halves_macs, plans[0.1])
    wrong("must be the plan", start_here.halves_macs, 0.3)


def test_most_sensitive():
    right(l1_norm.most_sensitive, "c", SCAN, 0.75)
    right(l1_norm.most_sensitive, "a", SCAN, 0.5)
    wrong("least sensitive", l1_norm.most_sensitive, "b", SCAN, 0.75)
    wrong("some other ratio", l1_norm.most_sensitive, "c", SCAN, 0.5)
    wrong("another layer falls lower", l1_norm.most_sensitive, "a", SCAN, 0.75)
    wrong("name of a layer", l1_norm.most_sensitive, 0.1, SCAN, 0.75)


def test_parameters_removed(vgg16):
    class Shape:
        input_shape = (3, 32, 32)

    right(l1_norm.parameters_removed, 32 * 3 * 9 + 2 * 32 + 64 * 32 * 9)
    plan = L1Norm({"features.0": 8}).fit(vgg16, Shape())  # 8 of 16 filters, read by 16
    right(l1_norm.parameters_removed, plan.before.params - plan.after.params, 8, 3, 16)
    wrong("filters alone", l1_norm.parameters_removed, 32 * 3 * 9)
    wrong("next convolution is missing", l1_norm.parameters_removed, 32 * 3 * 9 + 64)
    wrong("normalisation is missing", l1_norm.parameters_removed, 32 * 3 * 9 + 64 * 32 * 9)
    wrong("two values", l1_norm.parameters_removed, 32 * 3 * 9 + 32 + 64 * 32 * 9)
    wrong("64 filters", l1_norm.parameters_removed, 32 * 3 * 9 + 2 * 32 + 32 * 32 * 9)
    wrong("three parts", l1_norm.parameters_removed, 1)
    same = 8 * 3 * 9 + 2 * 8 + 8 * 8 * 9
    right(l1_norm.parameters_removed, same, 8, 3, 8)


def pruner(function):
    class Answer(ChannelPruner):
        def score(self, layer):
            return function(layer.weight)

    return Answer


def test_largest_go():
    right(l1_norm.largest_go, pruner(lambda w: -w.abs().flatten(1).sum(1)))
    right(l1_norm.largest_go, pruner(lambda w: 1 / w.abs().sum((1, 2, 3))))
    check = l1_norm.largest_go
    wrong("still ranks as L1-norm", check, pruner(lambda w: w.abs().flatten(1).sum(1)))
    wrong("one number for each filter", check, pruner(lambda w: -w.abs()))
    wrong("absolute value is missing", check, pruner(lambda w: -w.flatten(1).sum(1)))
    wrong("not the reverse", check, pruner(lambda w: torch.arange(len(w))))
    wrong("must be the class", check, pruner(torch.sum)(0.5))
    wrong("a tensor, not an object of the class list", check,
          pruner(lambda w: (-w.abs().flatten(1).sum(1)).tolist()))
    unanswered(check, pruner(lambda w: None))


def test_a_forgotten_return_is_told_as_one():
    class Forgot(ChannelPruner):
        def score(self, layer):
            self.scores = -layer.weight.abs().flatten(1).sum(1)

    with pytest.raises(Unanswered, match=r"gives back nothing.*end it with return"):
        l1_norm.largest_go(Forgot)
    for empty in (None, ...):
        with pytest.raises(Unanswered, match="gives back nothing"):
            returned(empty)
    assert returned(0) == 0
