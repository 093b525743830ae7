"""Criteria for single weights against their definitions in plain loops, and against torch's own
pruning."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import scramble_statistics, slim
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune
from torch_pruning.pruner import importance as reference

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners.context import Calibration
from rethinklab.pruners.densities import erk_densities
from rethinklab.pruners.weight_pruner import highest_weights


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return scramble_statistics(slim().eval())


def convolutions(model):
    return {name: module for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d)}


def test_layer_magnitude_is_torchs_own_layer_by_layer(model, digits):
    plan = rl.make_pruner("layer-magnitude", 0.7).fit(model, digits)
    for name, module in convolutions(model).items():
        twin = nn.Conv2d(module.in_channels, module.out_channels, 3)
        twin.weight.data = module.weight.data.clone()
        prune.l1_unstructured(twin, "weight", 0.7)
        assert torch.equal(plan.masks[f"{name}.weight"], twin.weight_mask.bool())


@pytest.mark.parametrize("share", [0.7, 0.95])  # above the zeros of dead channels
def test_saliency_is_weight_times_gradient_ranked_through_all_layers(model, digits, share):
    images, labels = Calibration(model, digits, 128).batch
    model.zero_grad()
    cross_entropy(model(images), labels).backward()
    layers = convolutions(model)
    scores = rl.make_pruner("saliency", share).scores(model, digits)
    for name, module in layers.items():
        torch.testing.assert_close(scores[f"{name}.weight"],
                                   (module.weight * module.weight.grad).detach().abs())
    plan = rl.make_pruner("saliency", share).fit(model, digits)
    twins = {name: nn.Conv2d(m.in_channels, m.out_channels, 3) for name, m in layers.items()}
    pairs = [(twin, "weight") for twin in twins.values()]
    prune.global_unstructured(
        pairs, prune.L1Unstructured, amount=share,
        importance_scores={(twin, "weight"): scores[f"{n}.weight"] for n, twin in twins.items()})
    for name, twin in twins.items():
        assert torch.equal(plan.masks[f"{name}.weight"], twin.weight_mask.bool())


def test_lamp_is_the_square_over_those_of_all_that_are_not_smaller(model, digits):
    pruner = rl.make_pruner("lamp", 0.5)
    scores = pruner.scores(model, digits)
    for name, module in convolutions(model).items():
        weights = module.weight.detach().double().flatten()
        for place in (0, 7, len(weights) - 1):
            at_least = weights[weights.abs() >= weights[place].abs()]
            expected = float(weights[place] ** 2 / at_least.square().sum())
            found = float(scores[f"{name}.weight"].flatten()[place])
            assert found == pytest.approx(expected, rel=1e-6)
        theirs = reference.LAMPImportance()._lamp(module.weight.detach().square().flatten())
        torch.testing.assert_close(scores[f"{name}.weight"].flatten().float(), theirs, rtol=1e-2,
                                   atol=1e-5)
    tiny = slim()
    with torch.no_grad():
        tiny[9].weight.mul_(1e-6)
    assert all(rl.make_pruner("lamp", 0.97).fit(tiny, digits).densities.values())
    with pytest.warns(UserWarning, match="all of 6, 9"):
        rl.make_pruner("weight-level", 0.97).fit(tiny, digits)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 0.99), st.lists(st.tuples(st.integers(1, 64), st.integers(1, 64),
                                                 st.sampled_from([1, 3])), min_size=1, max_size=6))
def test_erk_densities_follow_the_shapes_and_leave_what_is_asked(density, layers):
    shapes = {str(i): (n, c, k, k) for i, (n, c, k) in enumerate(layers)}
    found = erk_densities(shapes, density)
    sizes = {name: n * c * k * k for name, (n, c, k, _) in shapes.items()}
    assert sum(found[name] * sizes[name] for name in shapes) == pytest.approx(
        density * sum(sizes.values()))
    ratios = {name: found[name] * sizes[name] / sum(shapes[name]) for name in shapes}
    assert all(0 < share <= 1 for share in found.values())
    free = [ratios[name] for name, share in found.items() if share < 1]
    assert free == pytest.approx([free[0]] * len(free)) if free else True
    assert all(ratios[name] <= free[0] * (1 + 1e-9) for name, share in found.items()
               if share == 1 and free)


@pytest.mark.parametrize("method", ["layer-magnitude", "random-mask"])
def test_layers_get_the_densities_that_are_asked(method, model, digits):
    even = rl.make_pruner(method, 0.8).fit(model, digits)
    assert list(even.densities.values()) == pytest.approx([0.2] * 4, abs=2e-3)
    erk = rl.make_pruner(method, 0.8, densities="erk").fit(model, digits)
    shapes = {name: mask.shape for name, mask in erk.masks.items()}
    assert erk.densities == pytest.approx(erk_densities(shapes, 0.2), abs=2e-3)
    assert erk.densities["0.weight"] > 0.9 > erk.densities["3.weight"]
    with pytest.raises(ConfigError, match="uniform or erk"):
        rl.make_pruner(method, 0.8, densities="some")
    with pytest.raises(PlanError, match="ratio between 0 and 1"):
        rl.make_pruner(method, "params:0.5")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.floats(0, 0.999))
def test_of_equal_scores_the_first_stay(values, share):
    scores = {"a": torch.tensor(values[:3]).float(), "b": torch.tensor(values[3:]).float()}
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], i))
    kept = set(ranked[:len(values) - round(share * len(values))])
    masks = highest_weights(scores, share)
    assert torch.cat(list(masks.values())).tolist() == [i in kept for i in range(len(values))]


def test_a_score_that_is_not_one_number_a_weight_or_not_finite_is_named(model, digits):
    class Odd(rl.pruners.WeightPruner):
        name = "odd"

        def score(self, layer):
            return layer.weight.flatten(1).sum(1)

    class Lost(Odd):
        def score(self, layer):
            return layer.weight * float("nan")

    with pytest.raises(PlanError, match=r"Odd.score must give a tensor shaped .* of 0"):
        Odd(0.5).fit(model, digits)
    with pytest.raises(PlanError, match="not all finite"):
        Lost(0.5).fit(model, digits)


def test_a_budget_is_met_by_any_score(model, digits):
    plan = rl.make_pruner("saliency", "macs:0.5").fit(model, digits)
    assert plan.after.macs / plan.before.macs == pytest.approx(0.5, abs=0.01)


def test_gradual_pruning_follows_the_cubic_and_its_plan_is_what_is_left(small):
    method = rl.make_pruner("gradual", 0.8, end=0.5)
    assert [method.share_at(done) for done in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0, 0.8 * (1 - 0.5 ** 3), 0.8, 0.8])
    untrained = rl.build_model("vgg11", width=0.0625, seed=1)
    seen, held = [], []

    class Watch(rl.Callback):
        def after_step(self, state):
            zeros = [float((p == 0).float().mean()) for p in state.model.parameters()
                     if p.ndim == 4]
            held.append(zeros)

        def after_epoch(self, state):
            seen.append([float((p == 0).float().mean()) for p in state.model.parameters()
                         if p.ndim == 4])

    recipe = rl.Recipe(epochs=4, lr=0.05, momentum=0.9, weight_decay=1e-2, batch_size=50)
    trained = rl.train(untrained, small, recipe, device="cpu", progress=False,
                       callbacks=[*method.during(small), Watch()]).model
    for epoch, zeros in enumerate(seen, 1):
        assert zeros == pytest.approx([method.share_at(epoch / 4)] * len(zeros), abs=5e-3)
    steps = len(held) // 4
    for step, zeros in enumerate(held):
        epoch = step // steps
        assert zeros == (seen[epoch - 1] if epoch else [0.0] * len(zeros))
    plan = method.fit(trained, small)
    for name, mask in plan.masks.items():
        assert torch.equal(mask, trained.get_parameter(name) != 0)
    assert trained.state_dict().keys() == untrained.state_dict().keys()
