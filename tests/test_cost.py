"""Costs against torch's own counter and against the convention written out."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

import rethinklab as rl
from rethinklab.analysis.cost import forward_pass
from rethinklab.errors import ConfigError

VGG_16_A = [32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256]


TORCHVISION = ("resnet50", "mobilenet_v2", "densenet121", "convnext_tiny", "efficientnet_b0",
               "shufflenet_v2_x1_0", "googlenet", "vit_b_16")


def from_torchvision(name, **options):
    if name == "googlenet":
        options["init_weights"] = False
    return torchvision.models.get_model(name, weights=None, **options)


def macs(model, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be left out
        return rl.profile(model, shape, latency=False).macs


@pytest.mark.parametrize("build", [
    lambda: rl.build_model("vgg16", width=0.5), lambda: rl.build_model("resnet56"),
    lambda: rl.build_model("preresnet20"), lambda: rl.build_model("densenet40", width=0.5),
    lambda: rl.build_model("thinet_50", width=0.25), torchvision.models.resnet18,
    *[lambda name=name: from_torchvision(name) for name in TORCHVISION[:-1]],
    lambda: torchvision.models.VisionTransformer(64, 16, 2, 2, 16, 32)])
def test_multiply_adds_agree_with_torch(build):
    model = build().eval()
    # by matrix products, which torch's counter knows, and not by one fused operation
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 3, 64, 64))
    assert 2 * macs(model, (3, 64, 64)) == counter.get_total_flops()


@pytest.mark.parametrize("name", TORCHVISION)
def test_multiply_adds_are_those_that_torchvision_publishes(name):
    with torch.device("meta"):
        model = from_torchvision(name)
    published = next(iter(torchvision.models.get_model_weights(name))).meta["_ops"]
    assert round(forward_pass(model, (3, 224, 224)).macs / 1e9, 3) == published


class Tokens(nn.Module):
    """A layer that reads images (1, C, N) as sequences: N tokens of C values, batch first."""

    def __init__(self, layer, run=lambda layer, x: layer(x)):
        super().__init__()
        self.layer, self.run = layer, run

    def forward(self, x):
        return self.run(self.layer, x[:, 0].transpose(1, 2))


class By(nn.Module):
    """A function with one weight."""

    def __init__(self, function, *shape):
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.randn(shape)), function

    def forward(self, x):
        return self.function(x, self.weight)


def attend(layer, x):
    return layer(x, x, x, need_weights=False)[0]


# On images (3, 8, 10): the positions of outputs, or, of transposed convolutions, of inputs, times
# the weights that are used there.
CONVOLUTIONS = {
    "transposed": (nn.ConvTranspose2d(3, 4, 2, 2), 80 * 3 * 4 * 4),
    "transposed, padded": (nn.ConvTranspose2d(3, 6, 3, 2, 1, 1, groups=3), 80 * 6 * 9),
    "one dimension": (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 3, 2)), 39 * 5 * 9),
    "three dimensions": (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 4, 3)),
                         6 * 8 * 4 * 27),
    "transposed, one dimension": (nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(3, 2, 4)),
                                  80 * 3 * 2 * 4),
    "depthwise": (nn.Conv2d(3, 6, 3, padding=1, groups=3), 80 * 6 * 9),
    "dilated": (nn.Conv2d(3, 2, 3, dilation=2), 4 * 6 * 2 * 27),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), 48 * 4 * 27),
    "spectral_norm": (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 1)), 80 * 12),
    "orthogonal": (nn.Sequential(nn.Flatten(2), nn.utils.parametrizations.orthogonal(
        nn.Linear(80, 4))), 3 * 80 * 4),
    "torch.nn.utils.prune": (prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5),
                             48 * 4 * 27),
    "functional": (By(F.conv2d, 4, 3, 3, 3), 48 * 4 * 27),
    "of each position": (By(lambda x, w: torch.einsum("nchw,dc->ndhw", x, w), 7, 3), 80 * 7 * 3),
    "matrix by vector": (By(lambda x, w: w @ x.flatten(), 5, 240), 5 * 240),
}

# On 10 tokens of 4 values.
SEQUENCES = {
    "linear": (Tokens(nn.Linear(4, 6)), 10 * 24),
    "attention": (Tokens(nn.MultiheadAttention(4, 2, batch_first=True), attend),
                  10 * 4 * 16 + 2 * 10 * 10 * 4),
    "functional attention": (Tokens(nn.Identity(), lambda _, x:
                                    F.scaled_dot_product_attention(x, x, x)), 2 * 10 * 10 * 4),
    "transformer": (Tokens(nn.TransformerEncoderLayer(4, 2, 9, batch_first=True)),
                    10 * (4 * 16 + 2 * 36) + 2 * 10 * 10 * 4),
    "LSTM": (Tokens(nn.LSTM(4, 6, 2, bidirectional=True, batch_first=True)),
             10 * 2 * (24 * (4 + 6) + 24 * (12 + 6))),
    "LSTM with projection": (Tokens(nn.LSTM(4, 6, proj_size=3, batch_first=True)),
                             10 * (24 * (4 + 3) + 3 * 6)),
    "GRU": (Tokens(nn.GRU(4, 6, batch_first=True)), 10 * 18 * (4 + 6)),
    "RNN": (Tokens(nn.RNN(4, 6, batch_first=True)), 10 * 6 * (4 + 6)),
    "cells": (Tokens(nn.LSTMCell(4, 6), lambda cell, x: cell(x[0])[0]), 10 * 24 * (4 + 6)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [*CONVOLUTIONS, *SEQUENCES])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_every_layer_with_weights_has_its_multiply_adds(name, training):
    model, expected = {**CONVOLUTIONS, **SEQUENCES}[name]
    shape = (3, 8, 10) if name in CONVOLUTIONS else (1, 4, 10)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the multiply-adds")
        cost = rl.profile(model.train(training), shape, latency=False)
    assert cost.macs == expected
    biases = cost.flops - 2 * expected  # two operations each, and no more than biases besides
    assert 0 <= biases <= expected


def test_a_module_counts_as_often_as_it_runs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.relu(self.conv(F.max_pool2d(self.relu(self.conv(x)), 2)))

    model = Twice()
    cost = rl.profile(model, (3, 8, 8), latency=False)
    assert cost.macs == 81 * (64 + 16)
    assert cost.flops == (2 * 81 + 3 + 3) * (64 + 16)
    with torch.no_grad():
        model.conv.weight[0] = 0
    sparse = rl.profile(model, (3, 8, 8), count="nonzero", latency=False)
    assert sparse.macs == 54 * (64 + 16)
    assert sparse.flops == (2 * 54 + 3 + 3) * (64 + 16)


class Halves(nn.Module):
    """A user's own mask."""

    def forward(self, weight):
        return weight * (torch.arange(weight.numel()) % 2).view_as(weight)


def masked_by_hand(layer):
    return nn.utils.parametrize.register_parametrization(layer, "weight", Halves())


def masked_by_torch(layer):
    return prune.custom_from_mask(layer, "weight", torch.arange(layer.weight.numel()).view_as(
        layer.weight) % 2)


@pytest.mark.parametrize("mask", [masked_by_torch, masked_by_hand])
def test_weights_held_at_zero_are_not_counted_as_living(mask):
    model = nn.Sequential(mask(nn.Conv2d(3, 4, 3)), nn.ConvTranspose2d(4, 2, 2))
    with torch.no_grad():
        model[1].weight[0] = 0
    cost = rl.profile(model, (3, 8, 8), count="nonzero", latency=False)
    assert cost.params == 108 + 4 + 32 + 2
    assert cost.nonzero_params == 54 + 4 + 24 + 2
    assert cost.macs == 36 * 54 + 36 * 24
    assert cost.flops == 2 * cost.macs + 4 * 36 + 2 * 49


@torch.library.custom_op("rethinklab_test::mix", mutates_args=())
def mix(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nchw,dc->ndhw", x, weight)


@pytest.mark.parametrize(("layer", "named"), [
    (By(mix, 2, 3), r"rethinklab_test::mix in By"),
    (nn.Sequential(By(lambda x, w: F.bilinear(x.mean((2, 3)), x.mean((2, 3)), w), 2, 3, 3)),
     r"aten::_trilinear in Sequential\.0"),
    (nn.Sequential(By(lambda x, w: (x.mean((2, 3))[:, None] * w).sum(2), 2, 3)),
     r"the weights of 0 \(By\)"),
    (By(lambda x, w: torch.fft.rfft2(x).abs(), 1), r"aten::_fft_r2c in By")])
def test_what_cannot_be_counted_is_named(layer, named):
    with pytest.warns(UserWarning, match=f"the multiply-adds of .*{named}.* cannot be counted"):
        assert rl.profile(layer, (3, 8, 8), latency=False).macs == 0


def test_look_ups_and_sums_have_no_multiply_adds_to_be_missed():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(4, 6), By(torch.add, 8, 6)

        def forward(self, x):
            return self.places(self.words(x[:, 0, 0].long()))

    assert macs(Embedded(), (3, 8, 8)) == 0


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


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_masked_weights_of_a_grouped_convolution_cost_nothing(groups):
    model = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1, groups=groups, bias=False))
    weight = model[0].weight
    with torch.no_grad():
        weight[::3] = 0
    cost = rl.profile(model, (6, 5, 7), count="nonzero", latency=False)
    assert cost.macs == int(weight.count_nonzero()) * 5 * 7
