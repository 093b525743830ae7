"""What a network would cost, against what it costs once it is cut; budgets that are met."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import scramble_statistics
from test_surgery import ConcatAndResidual

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners import L1Norm, Slimming, ThiNet, WeightLevel
from rethinklab.pruners.budget import CostModel, last_above, parse_budget
from rethinklab.pruners.probe import survey
from rethinklab.pruners.surgery import remove_channels

NETWORKS = {
    "vgg11": (lambda: rl.build_model("vgg11", width=0.125), (3, 32, 32)),
    "resnet20": (lambda: rl.build_model("resnet20", width=0.25), (3, 32, 32)),
    "densenet40": (lambda: rl.build_model("densenet40", width=0.25), (3, 32, 32)),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (3, 64, 64)),
    "hand-written": (ConcatAndResidual, (3, 16, 16)),
}


@lru_cache
def network(name):
    build, shape = NETWORKS[name]
    model = build()
    widths = {n: p.width for n, p in survey(model, shape).prunable.items()}
    return model, shape, widths, CostModel(model, shape, widths)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_the_cost_of_any_widths_is_that_of_the_network_so_cut(name, seed):
    model, shape, widths, cost = network(name)
    draws = random.Random(seed)
    counts = {layer: draws.randint(1, width) for layer, width in widths.items()
              if draws.random() < 0.7}
    keep = {layer: tuple(sorted(draws.sample(range(widths[layer]), count)))
            for layer, count in counts.items()}
    found = rl.profile(remove_channels(model, keep, shape), shape, latency=False)
    assert cost(counts) == {"params": found.params, "macs": found.macs}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cost_of_all_channels_is_that_of_the_network(name):
    model, shape, _, cost = network(name)
    found = rl.profile(model, shape, latency=False)
    assert cost({}) == {"params": found.params, "macs": found.macs}


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_cost_of_reading_less_is_that_of_the_network_that_does(share, digits):
    model = scramble_statistics(rl.build_model("preresnet20", width=0.5))
    plan = Slimming(share, minimum=1).fit(model, digits)
    cost = CostModel(model, digits.input_shape, plan.widths)
    found = cost(plan.kept_widths, {name: len(kept) for name, kept in plan.read.items()})
    assert found == {"params": plan.after.params, "macs": plan.after.macs}


METHODS = {"l1": (L1Norm, {}), "thinet": (ThiNet, {"images": 4, "positions": 1}),
           "slimming": (Slimming, {"minimum": 1}), "weight-level": (WeightLevel, {})}


@pytest.fixture(scope="module")
def models():
    return {name: scramble_statistics(rl.build_model(name, width=0.5, seed=2))
            for name in ("vgg11", "preresnet20")}


@pytest.mark.parametrize("target", ["macs:0.5", "params:0.5", "macs:0.8", "params:0.3"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg11", "preresnet20"])
def test_budgets_are_met_within_two_per_cent(name, method, target, models, digits):
    kind, options = METHODS[method]
    plan = kind(target, **options).fit(models[name], digits)
    budget = parse_budget(target)
    if budget.kind == "params" and plan.masks:
        gone = sum(int((~mask).sum()) for mask in plan.masks.values())
        left = (plan.before.params - gone) / plan.before.params
    else:
        left = getattr(plan.after, budget.kind) / getattr(plan.before, budget.kind)
    assert left == pytest.approx(budget.share, rel=0.02)
    if method in ("l1", "thinet"):  # one ratio for all layers, to the channel
        shares = [(len(kept), plan.widths[layer]) for layer, kept in plan.keep.items()]
        ratio = min(kept / width for kept, width in shares)
        assert all(abs(kept - ratio * width) <= 1.5 for kept, width in shares)


@pytest.mark.parametrize("name", ["vgg11", "preresnet20"])
def test_budgets_out_of_reach_say_how_far_one_gets(name, digits):
    model = scramble_statistics(rl.build_model(name, width=0.0625))
    for pruner in (L1Norm("macs:0.0005"), Slimming("macs:0.00001", minimum=2),
                   ThiNet("params:0.00001", images=2, positions=1)):
        with pytest.raises(PlanError, match=r"cannot be met within 2%; the nearest .* 0\.\d+"):
            pruner.fit(model, digits)


def test_a_network_with_little_to_prune_says_so(digits):
    """Only the inner width of a residual block can go, which leaves most parameters of a net with
    a wide head."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(),
                                torch.nn.Linear(4 * 225, 10))
    with pytest.raises(PlanError, match="cannot be met"):
        L1Norm("params:0.1").fit(model, digits)


@pytest.mark.parametrize("target", ["macs:0", "macs:1", "macs:1.5", "flops:0.5", "macs:", ":0.5",
                                    "macs:half", "params:-0.1", "macs:nan"])
@pytest.mark.parametrize("method", [L1Norm, Slimming, WeightLevel])
def test_budgets_without_meaning_are_refused_at_once(method, target):
    with pytest.raises(PlanError, match="budget"):
        method(target)


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(-1, 51))
def test_the_last_price_above_a_goal(prices, goal):
    prices = sorted(prices, reverse=True)
    expected = max([i for i, price in enumerate(prices) if price >= goal], default=0)
    assert last_above(lambda step: prices[step], len(prices), goal) == expected
