"""Networks as people write them: what cannot be cut is left alone, and the rest is pruned."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from written_networks import MIXING, SHAPE, Between, block, equal_to_zeroing, takes_a_step, task

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners.cutting.probe import survey

FOLLOWED = {
    "both signs": Between(lambda net, x: torch.cat([F.relu(x), F.relu(-x)], 1), 32),
    "instance normalisation": Between(lambda net, x: net.norm(x),
                                      norm=nn.InstanceNorm2d(16, affine=True)),
    "parametric ReLU": Between(lambda net, x: net.act(x), act=nn.PReLU(16)),
    "random scale": Between(lambda net, x: 2 * x if net.training and torch.rand(1) < 0.5 else x),
}


@pytest.mark.parametrize("name", MIXING)
def test_one_layer_that_cannot_be_cut_does_not_refuse_the_network(name):
    model = MIXING[name]
    plan = rl.pruners.L1Norm(0.5).fit(model, task())
    assert plan.kept_widths == {"second.0": 6, "third.0": 4}
    assert len(plan.left_alone["first.0"]) > 20
    assert f"  first.0: {plan.left_alone['first.0']}" in plan.report
    assert equal_to_zeroing(model, plan, SHAPE)
    assert takes_a_step(plan.apply(model), SHAPE, 3)
    with pytest.raises(PlanError, match=r"first\.0"):
        rl.pruners.L1Norm({"first.0": 0.5}).fit(model, task())


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_leaves_channels_apart_is_pruned(name):
    model = FOLLOWED[name]
    plan = rl.pruners.L1Norm(0.5).fit(model, task())
    assert plan.kept_widths == {"first.0": 8, "second.0": 6, "third.0": 4}
    assert takes_a_step(plan.apply(model), SHAPE, 3)


@pytest.mark.parametrize(("method", "options"), [
    ("thinet", {"images": 8}), ("regression", {"images": 8, "positions": 4}), ("random", {}),
    ("slimming", {}), ("uniform", {})])
def test_every_method_leaves_alone_what_cannot_be_cut(method, options):
    model = MIXING["channel shuffle"]
    plan = rl.make_pruner(method, 0.4, **options).rehearse(model, task())
    assert "first.0" not in plan.keep
    assert set(plan.keep) >= {"second.0", "third.0"}


def small_vit():
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=10)


TORCHVISION = {
    "resnet50": 33, "mobilenet_v2": 20, "densenet121": 120, "convnext_tiny": 18,
    "efficientnet_b0": 19, "shufflenet_v2_x1_0": 18, "googlenet": 61}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCHVISION, "small ViT"])
def test_l1_on_networks_of_torchvision(name):
    """The number of layers that can go: every convolution whose channels meet no sum, shuffle,
    group or output; of a transformer the first layer of each perceptron."""
    with rl.seeds.global_stream(0, name), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # googlenet's, of its weights to come
        model = small_vit() if name == "small ViT" else getattr(torchvision.models, name)(
            num_classes=10)
    side = 32 if name == "small ViT" else 64
    data = task(8, side, 10)
    found = survey(model, data.input_shape)
    assert len(found.prunable) == TORCHVISION.get(name, 2)
    plan = rl.pruners.L1Norm(0.3).fit(model, data)
    convolutions = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    layers = {n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert set(plan.keep) >= convolutions - set(plan.left_alone)
    assert set(plan.keep) | set(plan.left_alone) == layers
    for layer, kept in plan.kept_widths.items():
        assert kept == int(round(plan.widths[layer] * 0.7, 9)), layer
    assert all(len(reason) > 10 for reason in plan.left_alone.values())
    assert equal_to_zeroing(model, plan, data.input_shape)
    assert takes_a_step(plan.apply(model), data.input_shape, 10)


class Ways(nn.Module):
    """A block more on the way that `way(net, x)` chooses."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first, self.detour, self.head = block(3, 16), block(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.first(x)
        if self.way(self, x):
            x = self.detour(x)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(("way", "says"), [
    (lambda net, x: net.training, "training mode only"),
    (lambda net, x: not net.training, "first.0"),
    (lambda net, x: bool(x.mean() > 0.2), "first.0")])
def test_a_network_that_takes_different_ways_says_so_when_it_is_pruned(way, says):
    with rl.seeds.global_stream(0, "ways"):
        model = Ways(way)
    with pytest.raises(PlanError, match=says):
        rl.pruners.L1Norm(0.5).fit(model, task())


def test_auxiliary_heads_are_cut_with_what_they_read():
    class Aux(Between):
        def __init__(self):
            super().__init__(lambda net, x: x)
            self.aside = nn.Conv2d(16, 3, 1)

        def forward(self, x):
            x = self.first(x)
            y = self.head(self.third(self.second(x)).mean((2, 3)))
            return (y, self.aside(x).mean((2, 3))) if self.training else y

    plan = rl.pruners.L1Norm(0.5).fit(Aux(), task())
    assert plan.kept_widths == {"first.0": 8, "second.0": 6, "third.0": 4}
    pruned = plan.apply(Aux())
    assert pruned.aside.weight.shape == (3, 8, 1, 1)
    assert takes_a_step(pruned, SHAPE, 3)


@pytest.mark.parametrize("target", [0.5, 0.25, "macs:0.7", {"first.0": 0.5}])
def test_a_layer_of_one_channel_keeps_it(target):
    model = nn.Sequential()
    for name, part in (("first", block(3, 16)), ("one", block(16, 1)), ("last", block(1, 16))):
        model.add_module(name, part)
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)])
    for method in ("l1", "thinet", "random"):
        options = {"images": 8} if method == "thinet" else {}
        plan = rl.make_pruner(method, target, **options).fit(model, task())
        assert plan.kept_widths["first.0"] < 16
        assert "single channel" in plan.left_alone["one.0"] or plan.kept_widths["one.0"] == 1
        assert plan.apply(model).one[0].out_channels == 1
    with pytest.raises(PlanError, match="would empty"):
        rl.pruners.L1Norm({"one.0": 0.5}).fit(model, task())
