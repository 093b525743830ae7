"""Weight-level pruning against the released rule in plain Python, and masks that hold."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError

WeightLevel = rl.pruners.WeightLevel


@pytest.fixture(scope="module")
def model():
    return rl.build_model("vgg11", width=0.25, seed=5)


@pytest.fixture(scope="module")
def plan(model, digits):
    return WeightLevel(0.8).fit(model, digits)


def task(channels: int = 2, side: int = 6) -> rl.ImageData:
    images = rl.Images(torch.zeros(2, channels, side, side, dtype=torch.uint8), torch.arange(2))
    return rl.ImageData("dark", images, images, ("a", "b"), (0.5,) * channels, (0.5,) * channels)


class Pair(nn.Module):
    """Two convolutions with bias, a normalisation and a linear layer, of any size."""

    def __init__(self, first: int = 4, second: int = 3, kernel: int = 3):
        super().__init__()
        self.one = nn.Conv2d(2, first, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.two = nn.Conv2d(first, second, 1, stride=2)
        self.head = nn.Linear(second, 2)

    def forward(self, images):
        return self.head(self.two(self.relu(self.norm(self.one(images)))).mean((2, 3)))


def by_the_released_rule(weights: list[torch.Tensor], share: float) -> list[list[bool]]:
    together = sorted(abs(w) for weight in weights for w in weight.flatten().tolist())
    threshold = together[int(len(together) * share)]
    return [[abs(w) > threshold for w in weight.flatten().tolist()] for weight in weights]


@settings(max_examples=25)
@given(st.floats(0.001, 0.999), st.integers(1, 6), st.integers(1, 5), st.sampled_from((1, 3)),
       st.integers(0, 2**31), st.booleans())
def test_the_threshold_is_the_released_one(share, first, second, kernel, seed, coarse):
    model = Pair(first, second, kernel)
    draws = torch.Generator().manual_seed(seed)
    for layer in (model.one, model.two):
        nn.init.normal_(layer.weight, generator=draws)
        if coarse:  # equal magnitudes go together
            layer.weight.data = (2 * layer.weight.data).round() + 0.25
    plan = WeightLevel(share).fit(model, task())
    expected = by_the_released_rule([model.one.weight, model.two.weight], share)
    assert [mask.flatten().tolist() for mask in plan.masks.values()] == expected
    if not coarse:
        total = sum(len(part) for part in expected)
        assert sum(map(sum, expected)) == total - int(total * share) - 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_on_a_network_with_zeros_the_rule_is_that_of_the_lottery_script(share):
    model = Pair(8, 6)
    weights = [layer.weight for layer in (model.one, model.two)]
    with torch.no_grad():
        for weight in weights:
            weight[torch.rand_like(weight) < 0.5] = 0
    plan = WeightLevel(share).fit(model, task())
    together = sorted(abs(w) for weight in weights for w in weight.flatten().tolist())
    living = sum(w != 0 for w in together)
    threshold = together[len(together) - living + int(living * share)]
    expected = [[abs(w) > threshold for w in weight.flatten().tolist()] for weight in weights]
    assert [mask.flatten().tolist() for mask in plan.masks.values()] == expected
    by_the_other_script = sum(map(sum, by_the_released_rule(weights, share)))
    assert sum(map(sum, expected)) < by_the_other_script <= living
    if share == 0.2:
        assert by_the_other_script == living, "which counts zeros, and finds enough of them"


def emptied_by(second: float, build=Pair) -> nn.Module:
    """A network whose second convolution has weights so much smaller than the first's."""
    model = build()
    with torch.no_grad():
        model.one.weight.uniform_(1, 2)
        model.two.weight.uniform_(second, 2 * second)
    return model


@pytest.mark.parametrize("make", [
    lambda: WeightLevel(0.5), lambda: WeightLevel("params:0.5"),
    lambda: rl.make_pruner("lottery", 0.5)])
def test_a_layer_that_loses_all_its_weights_is_named_with_the_share(make):
    model = emptied_by(1e-3)
    with pytest.warns(UserWarning, match=r"removes [456]\d\.\d% .* all of two: .* ask for less"):
        plan = make().fit(model, task())
    assert plan.densities["two.weight"] == 0
    same = plan.apply(model).eval()
    one, other = torch.randn(2, 1, 2, 6, 6)
    assert torch.equal(same(one), same(other)), "the same answer for every image"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(emptied_by(1.0), task())
        assert 0 < plan.uniform(model).densities["two.weight"] < 1


def test_only_convolution_weights_are_masked(model, plan):
    convolutions = {f"{name}.weight" for name, module in model.named_modules()
                    if isinstance(module, nn.Conv2d)}
    assert set(plan.masks) == convolutions
    pruned = plan.apply(model)
    for name, value in pruned.named_parameters():
        if name not in convolutions:
            assert torch.equal(value, model.get_parameter(name)), name
        else:
            kept = plan.masks[name]
            assert torch.equal(value[kept], model.get_parameter(name)[kept])
            assert not value[~kept].any()
    assert set(plan.left_alone) == {name for name, module in model.named_modules()
                                    if isinstance(module, nn.Linear)}
    assert not plan.keep


def test_one_threshold_for_the_whole_network_not_one_a_layer(plan):
    assert max(plan.densities.values()) > 2 * min(plan.densities.values())


RECIPE = rl.Recipe(epochs=13, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2,
                   batch_size=50)  # 4 steps an epoch: 52 steps


class Watch(rl.Callback):
    """Counts steps; zeros must be there after each, and momentum must have gathered."""

    def __init__(self):
        self.steps, self.held = 0, True

    def after_step(self, state):
        self.steps += 1
        self.held &= all(bool((p == 0).any()) for p in state.model.parameters() if p.ndim == 4)

    def after_epoch(self, state):
        buffers = [state.optimizer.state[p]["momentum_buffer"]
                   for p in state.model.parameters() if p.ndim == 4]
        assert all(bool(b.any()) for b in buffers)


def test_masked_weights_stay_exactly_zero_through_momentum_and_decay(small):
    model = rl.build_model("vgg11", width=0.0625, seed=1)
    plan = WeightLevel(0.7).fit(model, small)
    seen = Watch()
    held = rl.train(plan.apply(model), small, RECIPE, device="cpu", progress=False,
                    callbacks=[*plan.callbacks(), seen]).model
    assert seen.steps >= 50
    assert seen.held
    free = rl.train(plan.apply(model), small, rl.Recipe(epochs=1, lr=0.05), device="cpu",
                    progress=False).model
    moved = 0
    for name, mask in plan.masks.items():
        value = held.get_parameter(name).detach()
        assert (value[~mask] == 0).all()
        assert (value[mask] != plan.apply(model).get_parameter(name)[mask]).any()
        moved += int((free.get_parameter(name)[~mask] != 0).sum())
    assert moved > 1000, "without the callbacks nothing holds the mask"


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_scratch_draws_at_the_scale_of_the_living_weights(digits, share):
    model = rl.build_model("vgg11", width=0.5, seed=2)
    plan = WeightLevel(share).fit(model, digits)
    fresh = plan.scratch(model, seed=4)
    for name, mask in plan.masks.items():
        values = fresh.get_parameter(name).detach()
        assert (values[~mask] == 0).all()
        living = values[mask]
        assert (living != model.get_parameter(name)[mask]).all()
        if len(living) < 2000:
            continue
        reads = int(mask.any(0).flatten(1).any(1).sum())
        expected = math.sqrt(2 / (len(living) / reads))
        error = 5 / math.sqrt(2 * len(living))  # five standard errors of a standard deviation
        assert float(living.std()) == pytest.approx(expected, rel=error)
        if reads == mask.shape[1]:  # the rule of the released code: n = nnz / in_channels
            dense = math.sqrt(2 / (mask.shape[0] * mask[0, 0].numel()))
            assert expected == pytest.approx(dense / math.sqrt(plan.densities[name]))


def test_scratch_depends_on_its_seed(plan, model):
    one, again, other = (plan.scratch(model, seed=s).features[4].weight for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_plan_with_masks_survives_the_round_trip(plan, model, tmp_path):
    plan.save(tmp_path / "plan.json")
    loaded = rl.Plan.load(tmp_path / "plan.json")
    assert loaded == plan
    assert (loaded.masks != plan.masks) is False  # dict's own would ask each tensor
    assert all(mask.dtype == torch.bool for mask in loaded.masks.values())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.apply(model).eval()(images), plan.apply(model).eval()(images))
    plan.masks["features.0.weight"].flatten()[0].logical_not_()
    assert loaded != plan
    assert loaded.masks != plan.masks
    plan.masks["features.0.weight"].flatten()[0].logical_not_()


@pytest.mark.parametrize(("target", "kind", "share"), [
    ("params:0.3", "params", 0.3), ("macs:0.5", "macs", 0.5), ("params:0.05", "params", 0.05)])
def test_budgets_are_met_by_the_largest_weights(model, digits, target, kind, share):
    plan = WeightLevel(target).fit(model, digits)
    gone = sum(int((~mask).sum()) for mask in plan.masks.values())
    left = (plan.before.params - gone) / plan.before.params if kind == "params" else (
        plan.after.macs / plan.before.macs)
    assert left == pytest.approx(share, rel=0.02)
    assert left <= share
    kept = min(float(model.get_parameter(n).detach()[m].abs().min())
               for n, m in plan.masks.items() if m.any())
    cut = max(float(model.get_parameter(n).detach()[~m].abs().max())
              for n, m in plan.masks.items() if not m.all())
    assert kept >= cut


def test_a_budget_below_what_is_never_pruned_says_so(model, digits):
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    share = 0.5 * linear / sum(p.numel() for p in model.parameters())
    with pytest.raises(PlanError, match="leaves alone"):
        WeightLevel(f"params:{share:.5f}").fit(model, digits)


def test_the_flops_ratio_counts_weights_that_are_not_zero():
    model = Pair()
    plan = WeightLevel(0.6).fit(model, task())
    one, two = (int(plan.masks[f"{n}.weight"].sum()) for n in ("one", "two"))

    def flops(first: int, second: int) -> int:
        convolutions = (2 * first + 4) * 36 + (2 * second + 3) * 9
        return convolutions + 2 * 4 * 36 + 4 * 36 + 2 * 6 + 2

    assert plan.before.flops == flops(4 * 2 * 9, 3 * 4)
    assert plan.after.flops == flops(one, two)
    assert plan.flops_ratio == flops(72, 12) / flops(one, two)
    assert plan.after.params == plan.before.params


@pytest.mark.parametrize("target", ["A", {"features.0": 0.5}, "flops:0.5", 3])
def test_other_forms_of_target_are_refused_at_once(target):
    with pytest.raises(PlanError):
        WeightLevel(target)


def test_a_network_without_convolutions_or_with_broken_weights_says_so(digits):
    with pytest.raises(PlanError, match="no convolution"):
        WeightLevel(0.5).fit(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits)
    broken = rl.build_model("vgg11", width=0.0625)
    with torch.no_grad():
        broken.features[0].weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(PlanError, match=r"features.0.weight.*not finite"):
        WeightLevel(0.5).fit(broken, digits)
