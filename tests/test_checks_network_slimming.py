"""The checks of notebook 05 are kind to stubs, name mistakes and accept solutions."""

import pytest
import torch
from check_cases import right, unanswered, wrong

from rethinklab.notebook.checks import network_slimming as checks
from rethinklab.pruners.plan import Plan
from rethinklab.pruners.slimming import SparsityPenalty

PLAN = Plan("slimming", 0.5, (3, 32, 32), {"narrow": 4, "middle": 20, "wide": 100, "whole": 6},
            {"narrow": (0, 1), "middle": tuple(range(6)), "wide": tuple(range(60)),
             "whole": tuple(range(6))})
RATES = [0.05, 0.05, 0.005, 0.0005]


def survivors(scales, share, magnitude=torch.abs, together=False, larger=torch.gt):
    among = {name: torch.cat([magnitude(s) for s in scales.values()]) if together
             else magnitude(own) for name, own in scales.items()}
    return {name: larger(magnitude(own), among[name].sort().values[int(share * len(among[name]))])
            .nonzero().flatten().tolist() for name, own in scales.items()}


def penalty(push, replace=False):
    class Answer(SparsityPenalty):
        weights = ()

        def after_backward(self, state):
            with torch.no_grad():
                for scale, weight in zip(self.scales, self.weights, strict=True):
                    added = push(scale, weight, self.strength)
                    scale.grad = added if replace else scale.grad + added

    return Answer


def test_stubs_are_unanswered():
    class Stub(SparsityPenalty):
        weights = ()

        def after_backward(self, state):
            ...

    for stub in (..., None):
        unanswered(checks.smallest_share, stub, PLAN)
        unanswered(checks.reach, stub, 0.01, RATES, 42)
        unanswered(checks.each_layer, stub)
        unanswered(checks.cost_aware, stub)
    unanswered(checks.each_layer, lambda scales, share: None)
    unanswered(checks.cost_aware, Stub)


def test_smallest_share():
    right(checks.smallest_share, "middle", PLAN)
    wrong("fewest channels left", checks.smallest_share, "narrow", PLAN)
    wrong("most channels in number", checks.smallest_share, "wide", PLAN)
    wrong("largest share", checks.smallest_share, "whole", PLAN)
    wrong("name of a layer", checks.smallest_share, 0.3, PLAN)


def test_reach():
    exact = 0.01 * 42 * sum(RATES) / (1 - 0.9)
    right(checks.reach, exact, 0.01, RATES, 42)
    right(checks.reach, round(exact, 2), 0.01, RATES, 42)
    wrong("Momentum is missing", checks.reach, exact / 10, 0.01, RATES, 42)
    wrong("not by momentum itself", checks.reach, exact / 10 * 0.9, 0.01, RATES, 42)
    wrong("many steps", checks.reach, exact / 42, 0.01, RATES, 42)
    wrong("falls during the run", checks.reach, 0.01 * 42 * 4 * 0.05 * 10, 0.01, RATES, 42)
    wrong("strength is missing", checks.reach, exact / 0.01, 0.01, RATES, 42)
    wrong("four things", checks.reach, 7, 0.01, RATES, 42)
    wrong("one number", checks.reach, RATES, 0.01, RATES, 42)


def test_each_layer():
    check = checks.each_layer
    right(check, survivors)
    right(check, lambda scales, share: {name: torch.tensor(kept, dtype=torch.int64)
                                        for name, kept in survivors(scales, share).items()})
    wrong("one threshold", check, lambda s, r: survivors(s, r, together=True))
    wrong("compare magnitudes", check, lambda s, r: survivors(s, r, magnitude=lambda v: v))
    wrong("channels that go", check, lambda s, r: survivors(s, r, larger=torch.le))
    wrong("One channel too many", check, lambda s, r: survivors(s, r, larger=torch.ge))
    wrong("other channels", check, lambda s, r: survivors(s, 0.9))
    wrong("dictionary", check, lambda s, r: [0, 1])
    wrong("whole numbers", check, lambda s, r: {name: own.tolist() for name, own in s.items()})


def test_cost_aware():
    check = checks.cost_aware
    right(check, penalty(lambda s, w, strength: strength * w * s.sign()))
    wrong("is gone", check, penalty(lambda s, w, strength: strength * w * s.sign(), True))
    wrong("pushed alike", check, penalty(lambda s, w, strength: strength * s.sign()))
    wrong("strength is missing", check, penalty(lambda s, w, strength: w * s.sign()))
    wrong("sign is missing", check, penalty(lambda s, w, strength: strength * w))
    wrong("gradient of the square", check, penalty(lambda s, w, strength: strength * w * s))
    wrong("optimiser subtracts", check, penalty(lambda s, w, strength: -strength * w * s.sign()))
    wrong("strength times the layer's weight", check, penalty(lambda s, w, strength: s + 3))
    wrong("must be the class", check, penalty(torch.sum)(0.1))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_layers_of_the_check_tell_the_mistakes_apart(share):
    layers = checks._layers()
    answers = [survivors(layers, share), survivors(layers, share, together=True),
               survivors(layers, share, magnitude=lambda v: v)]
    assert all(a != b for i, a in enumerate(answers) for b in answers[:i])
