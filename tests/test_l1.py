"""L1-norm pruning against its definition, on every form of target."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError

L1Norm = rl.pruners.L1Norm


@pytest.fixture(scope="module")
def model():
    return rl.build_model("vgg16", width=0.25, seed=9)


def smallest_by_definition(layer: nn.Module, count: int) -> set[int]:
    sums = [sum(abs(float(w)) for w in kernel.flatten()) for kernel in layer.weight.detach()]
    return set(sorted(range(len(sums)), key=sums.__getitem__)[:count])


@pytest.mark.parametrize("layer", ["features.0", "features.7"])
def test_cuts_the_filters_of_smallest_absolute_sum(model, digits, layer):
    plan = L1Norm(0.4).fit(model, digits)
    module = model.get_submodule(layer)
    cut = set(range(module.out_channels)) - set(plan.keep[layer])
    assert cut == smallest_by_definition(module, len(cut))
    assert len(cut) == module.out_channels - int(module.out_channels * 0.6)


def test_large_weights_survive(digits):
    model = rl.build_model("vgg11", width=0.25)
    chosen = (2, 5, 11)
    with torch.no_grad():
        model.features[0].weight[list(chosen)] += 10
    assert L1Norm({"features.0": 3}).fit(model, digits).keep["features.0"] == chosen


def test_equal_scores_keep_the_asked_number(digits):
    model = rl.build_model("vgg11", width=0.25)
    nn.init.ones_(model.features[0].weight)
    assert len(L1Norm({"features.0": 5}).fit(model, digits).keep["features.0"]) == 5


def test_uniform_ratio_leaves_the_head_alone(model, digits):
    plan = L1Norm(0.5).fit(model, digits)
    assert all(len(kept) == plan.widths[name] // 2 for name, kept in plan.keep.items())
    assert set(plan.left_alone) == {"classifier.0", "classifier.3"}
    assert len(plan.keep) == 13


def test_ratios_and_widths_by_layer(model, digits):
    plan = L1Norm({"features.0": 0.25, "features.3": 7, "classifier.0": 0.5}).fit(model, digits)
    assert plan.kept_widths["features.0"] == 12
    assert plan.kept_widths["features.3"] == 7
    assert plan.kept_widths["classifier.0"] == 64
    others = set(plan.keep) - {"features.0", "features.3", "classifier.0"}
    assert all(plan.kept_widths[name] == plan.widths[name] for name in others)


@pytest.mark.parametrize("build", [torchvision.models.resnet18, torchvision.models.mobilenet_v2])
def test_any_traced_network(digits, build):
    model = build(num_classes=10)
    plan = L1Norm(0.3).fit(model, digits)
    small = plan.apply(model)
    assert small(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert plan.after.params < plan.before.params
    assert rl.profile(small, (3, 32, 32), latency=False) == plan.after


@pytest.mark.parametrize("target", [1.0, 1.5, -0.1, float("nan"), 0.0, 1, True, None, [], {}, "",
                                    {"features.0": 1.0}, {"features.0": 0}, {"features.0": "x"}])
def test_targets_without_meaning_are_refused_at_once(target, model, digits):
    with pytest.raises(PlanError):
        L1Norm(target).fit(model, digits)


@pytest.mark.parametrize(("target", "says"), [
    ("B", "Known: A"), (0.97, "would empty"), ({"features.1": 0.5}, "unknown layer"),
    ({"features.0": 0.0}, "removes nothing"), ({"features.0": 99}, "cannot keep 99"),
    ({"classifier.3": 0.5}, "cannot be pruned")])
def test_targets_that_this_network_cannot_meet_are_named(target, says, model, digits):
    with pytest.raises(PlanError, match=says):
        L1Norm(target).fit(model, digits)


def test_a_published_target_of_an_unknown_network_is_refused(digits):
    with pytest.raises(PlanError, match="no published target 'A'"):
        L1Norm("A").fit(torchvision.models.resnet18(num_classes=10), digits)


@pytest.mark.parametrize("answer", [None, torch.zeros(3), torch.zeros(16, 3)])
def test_a_criterion_without_one_score_a_channel_is_named(model, digits, answer):
    class Odd(rl.pruners.ChannelPruner):
        name = "odd"

        def score(self, layer):
            return answer

    with pytest.raises(PlanError, match=r"Odd.score gave .* for features.0; .* 16 channels"):
        Odd(0.5).fit(model, digits)


def test_weights_that_are_not_numbers_are_refused(digits):
    model = rl.build_model("vgg11", width=0.1)
    with torch.no_grad():
        model.features[0].weight[0] = float("nan")
    with pytest.raises(PlanError, match=r"features.0.*finite"):
        L1Norm(0.5).fit(model, digits)


def test_a_network_without_anything_to_prune_says_so(digits):
    with pytest.raises(PlanError, match="nothing to prune"):
        L1Norm(0.5).fit(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits)
