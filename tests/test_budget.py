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
from torch import nn
from torch.nn import functional as F

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners import L1Norm, Slimming, ThiNet, WeightLevel
from rethinklab.pruners.budget import CostModel, last_above, parse_budget
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.cutting.surgery import remove_channels


def block(inputs, outputs, **options):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options),
                         nn.BatchNorm2d(outputs), nn.ReLU())


class Unusual(nn.Module):
    """A convolution that runs twice, a transposed and a depthwise transposed one, one in one
    dimension, and attention over positions, all after layers that can lose channels."""

    def __init__(self):
        super().__init__()
        self.first, self.twice = block(3, 16), nn.Conv2d(16, 16, 3, padding=1)
        self.third = block(16, 24)
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.fourth = block(12, 20)
        self.spread = nn.ConvTranspose2d(20, 20, 2, 2, groups=20)
        self.fifth = block(20, 12, stride=4)
        self.line = nn.Conv1d(12, 16, 3, padding=1)
        self.tokens, self.places = nn.Conv1d(16, 8, 1), nn.Parameter(torch.randn(1, 8, 1))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu(self.twice(F.max_pool2d(F.relu(self.twice(self.first(x))), 2)))
        x = self.fourth(self.up(F.max_pool2d(self.third(x), 2)))
        x = self.fifth(F.relu(self.spread(F.max_pool2d(x, 2)))).flatten(2)
        x = (self.tokens(F.relu(self.line(x))) + self.places).transpose(1, 2)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Mixing(nn.Module):
    """Products over positions, done by a function, which follow the width of a convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = block(3, 32, stride=2), block(32, 48)
        self.head = nn.Linear(48, 10)
        self.register_buffer("mix", torch.randn(64, 64).softmax(1))

    def forward(self, x):
        x = self.second(self.first(x)).flatten(2)
        return self.head((x @ self.mix).mean(2))


NETWORKS = {
    "unusual": (Unusual, (3, 16, 16)),
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


@pytest.mark.parametrize("target", ["macs:0.5", "params:0.3"])
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


@pytest.fixture(scope="module")
def images():
    draws = torch.Generator().manual_seed(0)
    few = rl.Images(torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=draws),
                    torch.arange(12) % 10)
    return rl.ImageData("few", few, few, tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3)


def macs(model, shape):
    return rl.profile(model, shape, count="nonzero", latency=False).macs


@pytest.mark.parametrize(("build", "method", "target"), [
    (Unusual, "l1", "macs:0.7"), (Unusual, "random", "macs:0.7"), (Unusual, "l1", "params:0.7"),
    (Unusual, "slimming", "macs:0.7"), (Unusual, "weight-level", "macs:0.7"),
    (Unusual, "weight-level", "macs:0.5"), (Mixing, "l1", "macs:0.7"),
    (Mixing, "l1", "macs:0.4"), (Mixing, "random", "macs:0.5")])
def test_budgets_are_met_where_cost_is_not_in_plain_convolutions(build, method, target, images):
    model = scramble_statistics(build())
    budget = parse_budget(target)
    plan = rl.make_pruner(method, target).fit(model, images)
    cut, full = (rl.profile(network, (3, 16, 16), count="nonzero", latency=False)
                 for network in (plan.apply(model), model))
    left = getattr(cut, budget.kind) / getattr(full, budget.kind)
    assert left == pytest.approx(budget.share, rel=0.02)
    assert (plan.after.macs, plan.before.macs) == (cut.macs, full.macs)


def test_a_budget_that_the_cut_network_misses_is_refused(images):
    with pytest.raises(PlanError, match=r"budget of 0.7 of the macs is missed: .* has 0\.\d+"):
        Slimming("macs:0.7", minimum=1).fit(scramble_statistics(Mixing()), images)


def test_uniform_designs_count_each_run_of_a_layer(images):
    model = scramble_statistics(Unusual())
    plan = L1Norm(0.4).fit(model, images)
    even = plan.uniform(model, at="macs")
    cut = rl.profile(even.apply(model), (3, 16, 16), latency=False)
    assert cut.macs == pytest.approx(plan.after.macs, rel=0.02)


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
