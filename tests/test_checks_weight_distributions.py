"""The checks of notebook 11 are kind to stubs, diagnose mistakes and accept solutions."""

import pandas as pd
import torch
from check_cases import right, unanswered, wrong

from rethinklab.analysis.weights import ALL, chance_overlap, movement
from rethinklab.notebook.checks import weight_distributions

MOVED = pd.DataFrame(
    [("scratch-e", ALL, 0, 0.6, 1.0), ("scratch-e", "a", 0, 0.8, 0.9),
     ("scratch-e", "a", 1, 0.9, 0.9), ("scratch-e", "b", 0, 0.95, 0.8),
     ("scratch-e", "c", 0, 0.7, 0.7), ("scratch-e", "d", 0, 0.9, 0.1),
     ("scratch-e", "e", 0, 0.91, 0.3), ("finetune", "a", 0, 0.99, 0.01),
     ("finetune", "d", 0, 0.97, 0.01), ("finetune", "c", 0, 0.98, 0.01)],
    columns=["regime", "layer", "seed", "sign_agreement", "distance"])


def test_stubs_are_unanswered():
    def stub(before, after, mask):
        ...

    for dots in (..., None):
        unanswered(weight_distributions.fewest_signs, dots, MOVED, "scratch-e")
        unanswered(weight_distributions.expected_overlap, dots, 1000, 100, 300)
        unanswered(weight_distributions.sign_agreement, dots)
    unanswered(weight_distributions.sign_agreement, stub)


def test_fewest_signs():
    check = weight_distributions.fewest_signs
    right(check, "c", MOVED, "scratch-e")
    right(check, "d", MOVED, "finetune")
    wrong("whole network", check, ALL, MOVED, "scratch-e")
    wrong("name of a layer", check, 0.7, MOVED, "scratch-e")
    wrong("largest share", check, "b", MOVED, "scratch-e")
    wrong("moved furthest", check, "a", MOVED, "scratch-e")
    wrong("in another regime, finetune", check, "d", MOVED, "scratch-e")
    wrong("another layer fewer", check, "e", MOVED, "scratch-e")


def test_expected_overlap():
    check = weight_distributions.expected_overlap
    right(check, chance_overlap(1000, 100, 300), 1000, 100, 300)
    wrong("how many places both keep", check, 30, 1000, 100, 300)
    wrong("share of all places", check, 0.03, 1000, 100, 300)
    wrong("half of that", check, 0.075, 1000, 100, 300)
    wrong("Jaccard", check, 30 / 370, 1000, 100, 300)
    wrong("one of the two", check, 0.3, 1000, 100, 300)
    wrong("Work out first", check, 0.5, 1000, 100, 300)


def share(values):
    return float(values.double().mean())


def test_sign_agreement():
    check = weight_distributions.sign_agreement
    right(check, lambda b, a, m: share(b[m].sign() == a[m].sign()))
    right(check, lambda b, a, m: (b.sign() == a.sign())[m].double().mean())
    right(check, lambda b, a, m: movement({"x": b}, {"x": a}, {"x": m})["sign_agreement"][0])
    wrong("Dead weights", check, lambda b, a, m: share(b.sign() == a.sign()))
    wrong("division by all", check, lambda b, a, m: share((b.sign() == a.sign()) & m))
    wrong("changes its sign", check, lambda b, a, m: share(b[m].sign() != a[m].sign()))
    wrong("in percent", check, lambda b, a, m: 100 * share(b[m].sign() == a[m].sign()))
    wrong("number of weights", check, lambda b, a, m: int((b[m].sign() == a[m].sign()).sum()))
    wrong("zero before and after", check, lambda b, a, m: share((b * a)[m] > 0))
    wrong("From 0 to a positive", check, lambda b, a, m: share((b * a)[m] >= 0))
    wrong("On a fresh tensor", check, lambda b, a, m: 0.123)
    wrong("one number", check, lambda b, a, m: b[m].sign() == a[m].sign())
    wrong("must be a function", check, torch.tensor(0.5))
