"""Residual branches: found in the kit's and torchvision's networks, and removed exactly."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torchvision
from small_networks import scramble_statistics
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.models.residual import remove_branch, residual_branches, shortcut_of
from rethinklab.models.selection import SelectConv2d, SelectLinear

KIT = {
    "resnet20": {}, "preresnet20": {}, "preresnet50": {"width": 0.125}, "resnet18": {"width": 0.25},
    "resnet50": {"width": 0.125}, "resnet_2x": {"width": 0.125},
}
BUILDS = {
    **{name: lambda name=name, options=options: rl.build_model(name, **options)
       for name, options in KIT.items()},
    "pad-detached": lambda: rl.build_model("resnet20", shortcut="pad-detached"),
    "stride": lambda: rl.build_model("resnet20", shortcut="stride"),
    "torchvision basic": lambda: torchvision.models.resnet18(num_classes=10),
    "torchvision bottleneck": lambda: torchvision.models.resnet50(num_classes=10),
}


@pytest.fixture(scope="module", params=BUILDS)
def network(request):
    return scramble_statistics(BUILDS[request.param]()).eval()


def images(seed=0):
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_names_are_those_of_the_branch(network):
    branches = residual_branches(network)
    modules = dict(network.named_modules())
    assert len(branches) in (6, 8, 9, 16)
    for name, branch in branches.items():
        convs = [child for child, module in modules[name].named_children()
                 if isinstance(module, nn.Conv2d) and child != "downsample"]
        assert branch.removable
        assert (branch.block, branch.first, branch.last_conv) \
            == (name, f"{name}.{convs[0]}", f"{name}.{convs[-1]}")
        assert isinstance(modules[branch.last], (nn.Conv2d, nn.BatchNorm2d))


def test_a_removed_branch_is_a_branch_of_zeros(network):
    branches = residual_branches(network)
    for name in (next(iter(branches)), list(branches)[3], list(branches)[-1]):
        silent, removed = deepcopy(network), deepcopy(network)
        last = silent.get_submodule(branches[name].last)
        last.register_forward_hook(lambda module, given, output: torch.zeros_like(output))
        remove_branch(removed, name)
        with torch.no_grad():
            expected = silent(images())
            assert (removed(images()) - expected).abs().max() <= 1e-6 * expected.abs().max()
        assert name not in residual_branches(removed)
        others = {n: b for n, b in branches.items() if n != name}
        assert residual_branches(removed) == others
        assert sum(p.numel() for p in removed.parameters()) \
            < sum(p.numel() for p in network.parameters())


def test_a_network_without_branches_trains(network):
    model = deepcopy(network).train()
    for name in residual_branches(model):
        remove_branch(model, name)
    assert residual_branches(model) == {}
    model(images()).sum().backward()


def test_the_shortcut_and_the_branch_add_up_to_the_block(network):
    inputs, outputs = {}, {}
    branches = residual_branches(network)
    model = deepcopy(network)
    for name, branch in branches.items():
        model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: inputs.update({name: (given[0], output)}))
        model.get_submodule(branch.last).register_forward_hook(
            lambda module, given, output, name=name: outputs.update({name: output.clone()}))
    with torch.no_grad():
        model(images())
        for name in branches:
            block = model.get_submodule(name)
            given, output = inputs[name]
            total = shortcut_of(block, given) + outputs[name]
            if not hasattr(block, "project_activated"):
                total = total.relu()
            assert torch.allclose(total, output, atol=1e-6)


def test_what_follows_a_removed_first_block():
    model = rl.build_model("preresnet50", width=0.125)
    remove_branch(model, "stages.1.0")
    assert list(dict(model.stages[1][0].named_children())) == ["bn1", "relu", "downsample"]
    remove_branch(model, "stages.1.1")
    assert type(model.stages[1][1]) is nn.Identity
    model = rl.build_model("resnet20")
    remove_branch(model, "layer2.0")
    assert [type(m).__name__ for m in model.layer2[0]] == ["PadShortcut", "ReLU"]


def test_what_is_no_branch_is_named():
    model = rl.build_model("resnet20", width=0.25)
    with pytest.raises(PlanError, match=r"Did you mean 'layer1\.0'"):
        remove_branch(model, "layer1.00")
    model.layer1[1] = model.layer1[0]
    assert not residual_branches(model)["layer1.0"].removable
    with pytest.raises(PlanError, match="more than once"):
        remove_branch(model, "layer1.0")
    with pytest.raises(PlanError, match="not a residual block"):
        shortcut_of(model.fc, torch.zeros(1, 3))
    assert residual_branches(rl.build_model("vgg11", width=0.1)) == {}


@pytest.mark.parametrize("settings", [
    {}, {"stride": 2, "padding": 1, "bias": False},
    {"dilation": 2, "padding": 2, "padding_mode": "reflect"}, {"dtype": torch.float64}])
def test_a_selecting_convolution_reads_those_channels_only(settings):
    conv = nn.Conv2d(6, 4, 3, **settings)
    x = torch.randn(2, 6, 9, 9, dtype=conv.weight.dtype)
    silenced = torch.zeros_like(x)
    silenced[:, [4, 1]] = x[:, [4, 1]]
    layer = SelectConv2d.from_conv(conv, [4, 1])
    assert torch.allclose(layer(x), conv(silenced), atol=1e-6)
    assert (layer.in_channels, layer.weight.dtype) == (2, conv.weight.dtype)
    again = SelectConv2d.from_conv(layer, torch.tensor([1]))
    silenced[:, 4] = 0
    assert torch.allclose(again(x), conv(silenced), atol=1e-6)


def test_a_selecting_linear_layer_reads_those_features_only():
    linear = nn.Linear(5, 3)
    x = torch.randn(2, 5)
    layer = SelectLinear.from_linear(linear, [0, 3])
    assert torch.allclose(layer(x), linear(x * torch.tensor([1, 0, 0, 1, 0])), atol=1e-6)


def test_a_selection_is_saved_and_survives_a_reset():
    layer = SelectConv2d.from_conv(nn.Conv2d(6, 4, 3), [4, 1])
    layer.reset_parameters()
    assert layer.index.tolist() == [4, 1]
    other = SelectConv2d.from_conv(nn.Conv2d(6, 4, 3), [0, 2])
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 6, 5, 5)
    assert torch.equal(other(x), layer(x))
    assert rl.profile(layer, (6, 5, 5), latency=False).macs == 4 * 2 * 9 * 9


@pytest.mark.parametrize("index", [[], [0, 0], [6], [-1], [0.5], [[1]], torch.tensor([1.0])])
def test_a_selection_without_meaning_is_refused(index):
    with pytest.raises(PlanError, match="distinct whole numbers from 0 to 5"):
        SelectConv2d.from_conv(nn.Conv2d(6, 4, 3), index)
    with pytest.raises(PlanError, match="distinct whole numbers from 0 to 5"):
        SelectLinear.from_linear(nn.Linear(6, 3), index)


def test_a_grouped_convolution_cannot_select():
    with pytest.raises(PlanError, match="2 groups"):
        SelectConv2d.from_conv(nn.Conv2d(6, 4, 3, groups=2), [1])
