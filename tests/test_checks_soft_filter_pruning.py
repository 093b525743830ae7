"""The checks of notebook 07: stubs, typical mistakes, solutions."""

import pytest
import torch
from check_cases import made_up, right, unanswered, wrong

from rethinklab.notebook.checks import soft_filter_pruning as checks


@pytest.fixture(scope="module")
def results():
    return made_up({"unpruned": (0.90, 0.91), "finetune": (0.80, 0.82), "lr-rewind": (0.89, 0.90),
                    "scratch-e": (0.85, 0.86), "scratch-b": (0.94, 0.95)})


def dots(*_):
    ...


def test_stubs_are_unanswered(results):
    for stub in (..., None):
        unanswered(checks.closest, stub, results)
        unanswered(checks.weights_left, stub)
    for stub in (..., dots, lambda *_: None, lambda *_: ...):
        unanswered(checks.can_recover, stub)
        unanswered(checks.rising, stub)


def test_closest(results):
    right(checks.closest, "lr-rewind", results)
    wrong("leave it out", checks.closest, "unpruned", results)
    wrong("highest mean", checks.closest, "scratch-b", results)
    wrong("lowest mean", checks.closest, "finetune", results)
    wrong("points away", checks.closest, "scratch-e", results)
    wrong("must be one of", checks.closest, 0.9, results)


def test_weights_left():
    right(checks.weights_left, 32 * 16 * 9)
    right(checks.weights_left, 7 * 4 * 25, filters=10, channels=5, kernel=5, ratio=0.3)
    wrong("gone as well", checks.weights_left, 32 * 32 * 9)
    wrong("that leave", checks.weights_left, 64 * 32 * 9 - 32 * 16 * 9)
    wrong("before pruning", checks.weights_left, 64 * 32 * 9)
    wrong("3x3 weights", checks.weights_left, 32 * 16)
    wrong("Multiply", checks.weights_left, 1)


def test_can_recover():
    right(checks.can_recover, lambda norm: norm.bias > 0)
    right(checks.can_recover, checks.gradients_reach)
    wrong("about the scale", checks.can_recover, lambda norm: norm.weight > 0)
    wrong("exactly zero", checks.can_recover, lambda norm: norm.bias >= 0)
    wrong("other way round", checks.can_recover, lambda norm: norm.bias <= 0)
    wrong("boolean tensor", checks.can_recover, lambda norm: norm.bias)
    wrong("boolean tensor", checks.can_recover, lambda norm: bool((norm.bias > 0).any()))
    wrong("autograd", checks.can_recover, lambda norm: torch.ones(6, dtype=torch.bool))
    wrong("must be a function", checks.can_recover, 3)


def test_rising():
    right(checks.rising, lambda epoch, epochs, final: final * (epoch + 1) / epochs)
    wrong("counted from 0", checks.rising, lambda epoch, epochs, final: final * epoch / epochs)
    wrong("same ratio", checks.rising, lambda epoch, epochs, final: final)
    wrong("rises to 1", checks.rising, lambda epoch, epochs, final: (epoch + 1) / epochs)
    wrong("falls", checks.rising, lambda epoch, epochs, final: final * (1 - epoch / epochs))
    wrong("must be", checks.rising,
          lambda epoch, epochs, final: final * ((epoch + 1) / epochs) ** 2)
    wrong("must be a function", checks.rising, 0.5)
