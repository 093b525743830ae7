"""Costs against torch's own counter and against the convention written out."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import rethinklab as rl
from rethinklab.errors import ConfigError

VGG_16_A = [32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256]


@pytest.mark.parametrize("build", [
    lambda: rl.build_model("vgg16", width=0.5), torchvision.models.resnet18,
    torchvision.models.mobilenet_v2, torchvision.models.densenet121])
def test_multiply_adds_agree_with_torch(build):
    model = build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert 2 * rl.profile(model, (3, 64, 64), latency=False).macs == counter.get_total_flops()


def test_flops_are_the_convention_written_out():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 5))
    conv = 2 * (8 * 3 * 9) * 256 + 8 * 256
    norm, relu = 2 * 8 * 256, 8 * 256
    pools = 4 * (8 * 64) + 4 * (8 * 16)
    linear = 2 * (128 * 5) + 5
    cost = rl.profile(model, (3, 16, 16), latency=False)
    assert cost.flops == conv + norm + relu + pools + linear
    assert cost.macs == 8 * 3 * 9 * 256 + 128 * 5


def test_vgg_16_a_has_the_published_flops_ratio():
    large, small = (rl.profile(rl.build_model("vgg16", **options), (3, 32, 32), latency=False)
                    for options in ({}, {"widths": VGG_16_A}))
    assert round(large.flops / small.flops, 4) == 1.5190


def test_nonzero_counts_only_what_is_left():
    model = rl.build_model("vgg11", width=0.25, variant="slimming")
    conv = model.features[4]
    dense = rl.profile(model, (3, 32, 32), latency=False)
    with torch.no_grad():
        conv.weight[: conv.out_channels // 2] = 0
    removed = conv.weight.numel() // 2
    assert rl.profile(model, (3, 32, 32), latency=False).flops == dense.flops
    sparse = rl.profile(model, (3, 32, 32), count="nonzero", latency=False)
    assert dense.flops - sparse.flops == 2 * removed * 16 * 16
    assert dense.nonzero_params - sparse.nonzero_params == removed
    with pytest.raises(ConfigError, match="dense"):
        rl.profile(model, (3, 32, 32), count="zero")


def test_the_model_is_left_as_it_was(tiny_vgg):
    tiny_vgg.train()
    tiny_vgg.features[1].eval()
    before = {name: value.clone() for name, value in tiny_vgg.state_dict().items()}
    cost = rl.profile(tiny_vgg, (3, 32, 32))
    assert cost.latency > 0
    assert all(torch.equal(value, before[name]) for name, value in tiny_vgg.state_dict().items())
    assert tiny_vgg.training
    assert not tiny_vgg.features[1].training
    assert not any(m._forward_hooks for m in tiny_vgg.modules())
