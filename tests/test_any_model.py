"""Every method on networks that the kit did not write: torchvision's, and one by hand."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
import torchvision
from small_networks import scramble_statistics
from test_surgery import ConcatAndResidual
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners.cutting.probe import survey

FEW = {"images": 8, "positions": 2}
METHODS = {
    "l1": (0.4, {}), "thinet": (0.4, FEW), "regression": (0.4, FEW), "slimming": (0.3, {}),
    "sss": ("zero", {}), "random": (0.4, {}), "uniform": (0.4, {}), "random-widths": (0.4, {}),
    "lottery": (0.4, {"structured": True}), "weight-level": (0.6, {}), "soft-filter": (0.3, {})}


class WithNorm(ConcatAndResidual):
    """The hand-written net with a normalisation inside its residual branch."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(10, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(10 * 16, 10)


def convnext():
    """torchvision's ConvNeXt at a fraction of the size of convnext_tiny."""
    return torchvision.models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)],
                                       num_classes=10)


def densenet():
    """torchvision's DenseNet at a fraction of the size of densenet121."""
    return torchvision.models.DenseNet(8, (3, 2), 16, bn_size=2, num_classes=10)


def mobilenet():
    """torchvision's MobileNetV2 at a fraction of the depth and width of mobilenet_v2."""
    return torchvision.models.MobileNetV2(10, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]])


def resnet():
    """torchvision's ResNet of bottlenecks, at a fraction of the depth and width of resnet50."""
    return torchvision.models.ResNet(Bottleneck, [2, 1, 1, 1], 10, width_per_group=16)


NETWORKS = {
    "hand-written": (WithNorm, 16),
    "small mobilenet": (mobilenet, 32),
    "small resnet": (resnet, 32),
    "small densenet": (densenet, 64),
    "small convnext": (convnext, 64),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), 64),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=10), 64),
    "convnext_tiny": (lambda: torchvision.models.convnext_tiny(num_classes=10), 64),
}
FULL_SIZE = {"mobilenet_v2": ("slimming",), "densenet121": ("slimming",), "convnext_tiny": ("sss",)}
IMPOSSIBLE = {("slimming", "small convnext"): "no batch normalisation"}


@lru_cache
def network(name):
    build, side = NETWORKS[name]
    with rl.seeds.global_stream(0, name):
        model = build()
    if "densenet" not in name:  # shifts would add up along its concatenations
        scramble_statistics(model)
    draws = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (20, 3, side, side), dtype=torch.uint8, generator=draws)
    images = rl.Images(pixels, torch.arange(20) % 10)
    return model.eval(), rl.ImageData("noise", images, images, tuple("abcdefghij"), (0.5,) * 3,
                                      (0.25,) * 3)


CASES = [(name, method) for name in NETWORKS for method in FULL_SIZE.get(name, METHODS)]


def width(layer):
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


@pytest.mark.parametrize(("name", "method"), CASES)
def test_any_method_on_any_network(name, method):
    model, data = network(name)
    target, options = METHODS[method]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruner = rl.make_pruner(method, target, **options)
    if (method, name) in IMPOSSIBLE:
        with pytest.raises(PlanError, match=IMPOSSIBLE[method, name]):
            pruner.rehearse(model, data)
        return
    of_untrained = method in ("slimming", "sss")  # these need a training of their own
    plan = pruner.rehearse(model, data) if of_untrained else pruner.fit(model, data)
    pruned = plan.apply(model)
    for layer, kept in plan.keep.items():
        assert width(pruned.get_submodule(layer)) == len(kept)
    for layer, channels in plan.read.items():
        assert pruned.get_submodule(layer).weight.shape[1] == len(channels)
    for parameter, mask in plan.masks.items():
        assert not pruned.get_parameter(parameter)[~mask].any()
    with torch.no_grad():
        output = pruned.eval()(torch.zeros(2, *data.input_shape))
    assert output.shape == (2, 10)
    assert torch.isfinite(output).all()
    if method != "sss":
        assert plan.after.macs < 0.98 * plan.before.macs
        assert plan.kept_widths != plan.widths or plan.masks or plan.read
    report = plan.report
    for layer, reason in plan.left_alone.items():
        assert f"  {layer}: {reason}" in report
        assert len(reason) > 10
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["hand-written", "small mobilenet", "small densenet",
                                  "small convnext"])
def test_what_is_not_planned_is_left_alone_with_a_reason(name):
    model, data = network(name)
    layers = {layer for layer, module in model.named_modules()
              if isinstance(module, (nn.Conv2d, nn.Linear))}
    for method in ("l1", "thinet", "uniform"):
        target, options = METHODS[method]
        plan = rl.make_pruner(method, target, **options).rehearse(model, data)
        assert set(plan.keep) | set(plan.left_alone) >= layers
        assert not set(plan.keep) & set(plan.left_alone)


@pytest.mark.parametrize("name", ["hand-written", "small mobilenet", "small resnet",
                                  "small densenet"])
def test_slimming_is_the_network_with_scales_and_shifts_zero(name):
    from copy import deepcopy

    model, data = network(name)
    pruner = rl.make_pruner("slimming", 0.3)
    plan, masked = pruner.rehearse(model, data), rl.make_pruner(
        "slimming", 0.3, masked=True).rehearse(model, data)
    zeroed = deepcopy(model)
    with torch.no_grad():
        for key, mask in masked.masks.items():
            layer = zeroed.get_submodule(key.rpartition(".")[0])
            if isinstance(layer, nn.BatchNorm2d):
                zeroed.get_parameter(key)[~mask] = 0
        images = torch.randn(2, *data.input_shape, generator=torch.Generator().manual_seed(0))
        one, two = zeroed(images), plan.apply(model)(images)
    assert torch.allclose(one, two, atol=1e-5 * float(one.abs().max()))
    assert survey(model, data.input_shape).left_alone.keys() <= plan.left_alone.keys()


@pytest.mark.parametrize("name", ["hand-written", "small mobilenet", "small resnet",
                                  "small densenet", "small convnext"])
def test_structure_selection_changes_no_output(name):
    from copy import deepcopy

    from rethinklab.pruners.sss import SparseScales

    model, data = network(name)
    model = deepcopy(model)
    scales = SparseScales(1.0, "channels", data.input_shape)
    scales.prepare(model)
    for scale in scales.scales:
        scale.scale[::2] = 0
    scales.finish(model)
    plan = rl.make_pruner("sss", "zero").fit(model, data)
    images = torch.randn(2, *data.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = model(images), plan.apply(model)(images)
    assert torch.allclose(one, two, atol=1e-5 * float(one.abs().max()))
    assert plan.after.macs < 0.9 * plan.before.macs
    assert all(len(kept) == plan.widths[layer] // 2 for layer, kept in plan.keep.items()
               if plan.widths[layer] % 2 == 0)
