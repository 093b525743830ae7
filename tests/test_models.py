"""Networks against published sizes and initialisation rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.errors import ConfigError

VGG_16_A = [32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256]

# Parameters, weights of convolutions, and multiply-adds in millions; computed from the
# definitions in the released code of Liu et al. (ICLR 2019).
PUBLISHED = [
    ("vgg16", {}, 14_987_722, 14_710_464, 313.46),
    ("vgg16", {"num_classes": 100}, 15_033_892, 14_710_464, 313.51),
    ("vgg16", {"widths": VGG_16_A}, 5_397_034, 5_253_984, 206.28),
    ("vgg16", {"variant": "slimming"}, 14_724_042, 14_710_464, 313.20),
    ("vgg16", {"variant": "slimming", "num_classes": 100}, 14_770_212, 14_710_464, 313.25),
    ("vgg19", {"variant": "slimming"}, 20_035_018, 20_018_880, 398.14),
    ("vgg19", {"variant": "slimming", "num_classes": 100}, 20_081_188, 20_018_880, 398.18),
    ("vgg19", {"variant": "weight-level"}, 20_040_522, 20_018_880, 398.14),
    ("vgg19", {"variant": "weight-level", "num_classes": 100}, 20_086_692, 20_018_880, 398.18),
    ("vgg16", {"variant": "weight-level"}, 14_728_266, 14_710_464, 313.20),
    ("vgg16", {"variant": "weight-level", "num_classes": 100}, 14_774_436, 14_710_464, 313.25),
]


@pytest.mark.parametrize(("name", "options", "params", "conv_weights", "macs"), PUBLISHED)
def test_sizes_are_the_published_ones(name, options, params, conv_weights, macs):
    model = rl.build_model(name, **options)
    cost = rl.profile(model, (3, 32, 32), latency=False)
    assert cost.params == params
    assert sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d)) \
        == conv_weights
    assert round(cost.macs / 1e6, 2) == macs


def test_slimming_vggs_have_the_published_number_of_scales():
    for name, channels in (("vgg16", 4224), ("vgg19", 5504)):
        model = rl.build_model(name, variant="slimming")
        assert sum(m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d)) \
            == channels


@pytest.mark.parametrize(("variant", "fan", "gamma"),
                         [("l1", "out", 0.5), ("slimming", "out", 0.5), ("weight-level", "in", 1)])
def test_initialisation_follows_the_variant(variant, fan, gamma):
    model = rl.build_model("vgg13", variant=variant, seed=1)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs[2:]:
        n = 9 * (conv.out_channels if fan == "out" else conv.in_channels)
        assert float(conv.weight.detach().std()) == pytest.approx((2 / n) ** 0.5, rel=0.02)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == gamma).all() and (m.bias == 0).all() for m in norms)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert all(float(m.weight.detach().std()) == pytest.approx(0.01, rel=0.05) for m in linears)


@pytest.mark.parametrize("side", [16, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size_and_channel_count(side, channels):
    model = rl.build_model("vgg11", width=0.1, in_channels=channels, num_classes=7)
    assert model(torch.zeros(2, channels, side, side)).shape == (2, 7)


def test_width_multiplies_all_layers():
    slim = rl.build_model("vgg16", width=0.25)
    widths = [m.out_channels for m in slim.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128]


def test_weights_depend_on_the_seed_and_on_nothing_else():
    def weights(seed):
        return torch.cat([p.detach().flatten()
                          for p in rl.build_model("vgg11", width=0.1, seed=seed).parameters()])

    torch.manual_seed(0)
    first, state = weights(0), torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state()), "the caller's generator was moved"


@pytest.mark.parametrize(("name", "options", "says"), [
    ("vg16", {}, "Did you mean 'vgg16'"), ("vgg16", {"width": float("nan")}, "width"),
    ("vgg16", {"num_classes": 1}, "num_classes"), ("vgg16", {"variant": "l2"}, "variant"),
    ("vgg16", {"widths": [1, 2]}, "13 widths"), ("vgg16", {"depth": 3}, "cannot be built"),
    ("nowhere.module:build", {}, "cannot be imported"), ("json:dumps", {}, "cannot be built")])
def test_bad_models_are_named(name, options, says):
    with pytest.raises(ConfigError, match=says):
        rl.build_model(name, **options)


def test_a_model_of_ones_own_is_built_by_name():
    model = rl.build_model("torchvision.models:resnet18", num_classes=4)
    assert model.fc.out_features == 4
