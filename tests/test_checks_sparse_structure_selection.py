"""The checks of notebook 06 are kind to stubs, name mistakes and accept solutions."""

import pytest
import torch
from check_cases import made_up, right, unanswered, wrong

from rethinklab.analysis.cost import profile
from rethinklab.models import build_model
from rethinklab.notebook.checks import sparse_structure_selection as checks
from rethinklab.pruners import SparseSelection
from rethinklab.pruners.sss import soft_threshold
from rethinklab.results import Results


@pytest.fixture(scope="module")
def results():
    return made_up({"unpruned": (0.90, 0.91, 0.92, 0.9), "finetune": (0.80, 0.82, 0.81, 0.8),
                    "lr-rewind": (0.83, 0.86, 0.88, 0.8), "scratch-b": (0.86, 0.85, 0.87, 0.79)})


def length(z, amount):
    return z * (1 - amount / z.norm().clamp(min=1e-12)).clamp(min=0)


def repeated(step):
    def minimise(gradient, start, lr, strength, steps):
        scale = start
        for _ in range(steps):
            scale = step(scale, gradient(scale), lr, strength)
        return scale

    return minimise


def test_stubs_are_unanswered(results):
    for stub in (..., None):
        unanswered(checks.seeds_above, stub, results)
        unanswered(checks.branch_macs, stub, 8, 16)
        unanswered(checks.group_soft, stub)
        unanswered(checks.proximal_gradient, stub)
    unanswered(checks.group_soft, lambda z, amount: ...)
    unanswered(checks.proximal_gradient, lambda gradient, start, lr, strength, steps: None)


def test_seeds_above(results):
    right(checks.seeds_above, 1, results)
    wrong("LR rewinding is higher", checks.seeds_above, 3, results)
    wrong("Compare the two accuracies", checks.seeds_above, 2, results)
    wrong("looks like a mean", checks.seeds_above, -0.25, results)
    wrong("There are 4 pairs", checks.seeds_above, 5, results)
    wrong("one number", checks.seeds_above, [1], results)


def test_seeds_above_fine_tuning_is_another_question(results):
    frame = results.frame.copy()
    frame.loc[frame["regime"] == "finetune", "test_accuracy"] = [0.8, 0.8, 0.9, 0.9]
    wrong("with fine-tuning", checks.seeds_above, 2, Results(frame, 1.0, "made up"))


def test_branch_macs():
    class Shape:
        input_shape = (3, 32, 32)

    model = build_model("resnet20", width=0.25)
    model.layer2[1].bn2.weight.data.zero_()
    plan = SparseSelection(structures="branches").fit(model, Shape())
    right(checks.branch_macs, plan.before.macs - plan.after.macs, 8, 16)
    right(checks.branch_macs, 2 * 8 * 8 * 9 * 16 * 16, 8, 16)
    assert profile(model, (3, 32, 32), latency=False).macs == plan.before.macs
    wrong("two convolutions", checks.branch_macs, 8 * 8 * 9 * 256, 8, 16)
    wrong("are the weights", checks.branch_macs, 2 * 8 * 8 * 9, 8, 16)
    wrong("kernel is missing", checks.branch_macs, 2 * 8 * 8 * 256, 8, 16)
    wrong("all input channels", checks.branch_macs, 2 * 8 * 9 * 256, 8, 16)
    wrong("both together", checks.branch_macs, 4 * 8 * 8 * 9 * 256, 8, 16)
    wrong("Multiply filters", checks.branch_macs, 7, 8, 16)


def test_group_soft():
    check = checks.group_soft
    right(check, length)
    right(check, lambda z, amount: z * max(0, 1 - amount / float(z.norm() + 1e-12)))
    wrong("each entry by itself", check, soft_threshold)
    wrong("turns round", check, lambda z, amount: z * (1 - amount / z.norm().clamp(min=1e-12)))
    wrong("not a number", check, lambda z, amount: z / z.norm() * (z.norm() - amount).clamp(min=0))
    wrong("share of the length", check, lambda z, amount: z * (1 - amount))
    wrong("Keep the direction", check, lambda z, amount: z + 1)
    wrong("shape of z", check, lambda z, amount: z.norm() - amount)


def test_proximal_gradient():
    check = checks.proximal_gradient
    right(check, repeated(lambda s, g, lr, k: soft_threshold(s - lr * g, lr * k)))
    wrong("learning rate times", check, repeated(lambda s, g, lr, k: soft_threshold(s - lr * g, k)))
    wrong("sub-gradient", check, repeated(lambda s, g, lr, k: s - lr * (g + k * s.sign())))
    wrong("penalty is missing", check, repeated(lambda s, g, lr, k: s - lr * g))
    wrong("order is reversed", check,
          repeated(lambda s, g, lr, k: soft_threshold(s, lr * k) - lr * g))
    wrong("Only one step", check, lambda g, s, lr, k, steps: soft_threshold(s - lr * g(s), lr * k))
    wrong("Repeat", check, repeated(lambda s, g, lr, k: s))
    wrong("must give the scales", check, lambda g, s, lr, k, steps: torch.ones(2))
