"""Removing channels equals zeroing them, on four kinds of network; what cannot be cut says so."""

from __future__ import annotations

import random

import pytest
import torch
import torchvision
from small_networks import scramble_statistics
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners.cutting.masks import silence_channels
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.cutting.surgery import remove_channels


class ConcatAndResidual(nn.Module):
    """A hand-written net: two branches concatenated, then a residual block and a linear head."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 6, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(10)
        self.inner = nn.Conv2d(10, 8, 3, padding=1)
        self.outer = nn.Conv2d(8, 10, 3, padding=1)
        self.head = nn.Linear(10 * 16, 5)

    def forward(self, images):
        stream = torch.relu(self.norm(torch.cat([self.left(images), self.right(images)], 1)))
        stream = stream + self.outer(torch.relu(self.inner(stream)))
        return self.head(torch.nn.functional.adaptive_avg_pool2d(stream, 4).flatten(1))


NETWORKS = {
    "vgg16": (lambda: rl.build_model("vgg16", width=0.25), (3, 32, 32)),
    "resnet18": (torchvision.models.resnet18, (3, 64, 64)),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (3, 64, 64)),
    "densenet121": (torchvision.models.densenet121, (3, 64, 64)),
    "hand-written": (ConcatAndResidual, (3, 16, 16)),
}


def network(name):
    build, shape = NETWORKS[name]
    with rl.seeds.global_stream(0, name):
        return scramble_statistics(build()).eval(), shape


def random_cut(model, shape, seed=0):
    draws = random.Random(seed)
    return {name: tuple(sorted(draws.sample(range(layer.width), max(1, layer.width // 2))))
            for name, layer in survey(model, shape).prunable.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_removing_equals_zeroing(name):
    model, shape = network(name)
    keep = random_cut(model, shape)
    assert keep
    removed = remove_channels(model, keep, shape).eval()
    zeroed = silence_channels(model, keep, shape).eval()
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        small, masked, full = removed(images), zeroed(images), model(images)
    scale = float(full.abs().max())
    assert torch.allclose(small / scale, masked / scale, atol=1e-5)
    assert (full - small).abs().max() > 1e-3 * scale, "the cut changed nothing"
    assert rl.profile(removed, shape, latency=False).params < \
        rl.profile(zeroed, shape, latency=False).params
    for layer, kept in keep.items():
        module = removed.get_submodule(layer)
        assert (module.out_features if isinstance(module, nn.Linear) else module.out_channels) \
            == len(kept)


def test_zeroing_by_hand_on_vgg():
    model, shape = network("vgg16")
    keep = {"features.3": tuple(range(0, 16, 2)), "features.40": tuple(range(100))}
    removed = remove_channels(model, keep, shape).eval()
    with torch.no_grad():
        for layer, kept in keep.items():
            gone = [i for i in range(model.get_submodule(layer).out_channels) if i not in kept]
            norm = model.features[int(layer.split(".")[1]) + 1]
            norm.weight[gone] = 0
            norm.bias[gone] = 0
        images = torch.randn(4, *shape)
        assert torch.allclose(model(images), removed(images), atol=1e-5)


def test_zeroing_by_hand_on_resnet18():
    model, shape = network("resnet18")
    kept = tuple(range(1, 64, 3))
    removed = remove_channels(model, {"layer1.0.conv1": kept}, shape).eval()
    gone = [i for i in range(64) if i not in kept]
    with torch.no_grad():
        model.layer1[0].conv2.weight[:, gone] = 0  # what reads the channels ignores them
        images = torch.randn(2, *shape)
        assert torch.allclose(model(images), removed(images), atol=1e-4)


def test_weights_that_stay_are_the_inherited_ones():
    model, shape = network("vgg16")
    kept = (1, 4, 7)
    small = remove_channels(model, {"features.0": kept}, shape)
    assert torch.equal(small.features[0].weight, model.features[0].weight[list(kept)])
    assert torch.equal(small.features[1].running_var, model.features[1].running_var[list(kept)])
    assert torch.equal(small.features[3].weight, model.features[3].weight[:, list(kept)])


def test_the_given_model_is_untouched():
    model, shape = network("mobilenet_v2")
    model.train()
    model.features[0][0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = remove_channels(model, random_cut(model, shape), shape)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert small.training
    assert all(m.training for m in model.modules())
    assert not small.features[0][0].weight.requires_grad


def test_what_is_left_alone_is_named_with_its_reason():
    found = survey(*network("resnet18"))
    assert set(found.prunable) == {f"layer{s}.{b}.conv1" for s in range(1, 5) for b in range(2)}
    assert "output" in found.left_alone["fc"]
    assert "through a sum" in found.left_alone["layer1.0.conv2"]
    assert len(found.prunable) + len(found.left_alone) == 21
    mobile = survey(*network("mobilenet_v2"))
    assert "depthwise" in mobile.left_alone["features.2.conv.1.0"]
    hand = survey(*network("hand-written"))
    assert set(hand.prunable) == {"inner"}
    assert {"left", "right", "outer", "head"} == set(hand.left_alone)


def test_grouped_convolutions_and_unused_layers_are_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3)
            self.grouped = nn.Conv2d(8, 8, 3, groups=2)
            self.last = nn.Conv2d(8, 6, 3)
            self.head = nn.Linear(6, 2)
            self.unused = nn.Linear(3, 3)

        def forward(self, images):
            return self.head(self.last(self.grouped(self.first(images))).mean((2, 3)))

    found = survey(Odd(), (3, 16, 16))
    assert set(found.prunable) == {"last"}
    assert "grouped" in found.left_alone["first"]
    assert "2 groups" in found.left_alone["grouped"]
    assert "not on the path" in found.left_alone["unused"]


@pytest.mark.parametrize(("keep", "says"), [
    ({"features.0": ()}, "keep at least one"), ({"features.9": (0,)}, "unknown layer"),
    ({"nothing.here": (0,)}, "unknown layer"), ({"features.0": (3, 1)}, "ascending"),
    ({"features.0": (0, 16)}, "from 0 to 15"), ({"features.0": (0, 0)}, "distinct"),
    ({"classifier.3": (0, 1)}, "network's output")])
def test_cuts_that_cannot_be_made_are_named(keep, says):
    model, shape = network("vgg16")
    with pytest.raises(PlanError, match=says):
        remove_channels(model, keep, shape)


def test_a_forward_pass_with_fixed_widths_is_an_error_not_a_smaller_cut():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.head = nn.Linear(8, 2)

        def forward(self, images):
            return self.head(self.conv(images).mean((2, 3)) * torch.ones(8))

    with pytest.raises(PlanError, match="does not run"):
        remove_channels(Fixed(), {"conv": (0, 1)}, (3, 8, 8))


def test_a_cut_that_changes_what_is_computed_is_refused():
    class Mirrored(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3)
            self.second = nn.Conv2d(16, 4, 3)

        def forward(self, images):
            channels = torch.relu(self.first(images))
            return self.second(torch.cat([channels, channels.flip(1)], 1)).mean((2, 3))

    with pytest.raises(PlanError, match="does not compute"):
        remove_channels(Mirrored(), {"first": (0, 1, 2)}, (3, 8, 8))


def test_shared_weights_and_transposed_convolutions_are_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 8, 3)
            self.one = nn.Conv2d(8, 8, 3)
            self.two = nn.Conv2d(8, 8, 3)
            self.two.weight = self.one.weight
            self.head = nn.Linear(8, 2)

        def forward(self, images):
            return self.head(self.two(torch.relu(self.one(self.up(images)))).mean((2, 3)))

    found = survey(Odd(), (3, 16, 16))
    assert not found.prunable
    assert "transposed" in found.left_alone["up"]
    assert "share" in found.left_alone["one"]
    assert "share" in found.left_alone["two"]


def test_a_model_that_cannot_be_traced_is_named():
    with pytest.raises(PlanError, match="cannot be traced"):
        survey(rl.build_model("vgg11", width=0.1), (1, 32, 32))
