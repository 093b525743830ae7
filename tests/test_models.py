"""Networks: their initialisation, the shapes they take, and what of them can be pruned."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision
from small_networks import scramble_statistics
from torch import nn
from torch.nn import functional as F

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.models import MODELS
from rethinklab.models.initialise import initialisation_differs, reinitialise
from rethinklab.models.resnet import PadShortcut
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.cutting.surgery import remove_channels

CIFAR = ("resnet20", "preresnet20", "densenet40", "densenet_bc100")
IMAGENET = ("resnet18", "resnet50", "vgg11_bn", "imagenet_vgg11", "preresnet50", "resnet_2x",
            "thinet_30", "thinet_tiny", "sss_resnet26")


def of_type(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def std(layer):
    return float(layer.weight.detach().std())


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


@pytest.mark.parametrize(("name", "options", "gamma"), [
    ("resnet20", {}, 1), ("resnet20", {"shortcut": "stride"}, 1),
    ("preresnet20", {}, 0.5), ("preresnet20", {"variant": "weight-level"}, 1),
    ("densenet40", {}, 0.5), ("densenet40", {"variant": "weight-level"}, 1),
    ("densenet_bc100", {}, 0.5), ("densenet_bc100", {"variant": "weight-level"}, 1),
    ("resnet18", {"width": 0.5}, 1), ("thinet_50", {"width": 0.5}, 1),
    ("vgg11_bn", {"width": 0.25}, 1), ("vgg11_bn", {"width": 0.25, "variant": "slimming"}, 0.5)])
def test_residual_dense_and_imagenet_networks_are_drawn_by_fan_out(name, options, gamma):
    model = rl.build_model(name, seed=1, **options)
    for conv in of_type(model, nn.Conv2d):
        if conv.weight.numel() > 5000:
            n = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels
            assert std(conv) == pytest.approx((2 / n) ** 0.5, rel=0.06)
        assert conv.bias is None or (conv.bias == 0).all()
    for norm in of_type(model, (nn.BatchNorm2d, nn.BatchNorm1d)):
        assert (norm.weight == gamma).all()
        assert (norm.bias == 0).all()


def test_linear_layers_are_drawn_by_the_rule_of_their_family():
    for name in ("resnet20", "preresnet20", "densenet40"):
        fc = rl.build_model(name, num_classes=100).fc
        bound = fc.in_features**-0.5
        assert float(fc.weight.detach().abs().max()) <= bound
        assert std(fc) == pytest.approx(bound / 3**0.5, rel=0.05)
    soft = rl.build_model("resnet20", shortcut="stride", num_classes=100).fc
    assert std(soft) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert (soft.bias == 0).all()
    for linear in of_type(rl.build_model("vgg11_bn", width=0.1), nn.Linear):
        assert std(linear) == pytest.approx(0.01, rel=0.05)


def test_the_network_of_sparse_structure_selection_is_drawn_by_fan_in():
    model = rl.build_model("preresnet50", width=0.25, num_classes=100, seed=1)
    for layer in of_type(model, (nn.Conv2d, nn.Linear)):
        if layer.weight.numel() > 5000:
            n = layer.weight[0].numel()
            assert std(layer) == pytest.approx((2 / n) ** 0.5, rel=0.06)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_can_be_drawn_anew(name):
    model = rl.build_model(name, width=0.05)
    fresh = reinitialise(scramble_statistics(model), seed=1)
    assert all(torch.isfinite(p).all() for p in fresh.parameters())
    assert not initialisation_differs(rl.build_model(name, width=0.05))


@pytest.mark.parametrize("name", CIFAR)
@pytest.mark.parametrize("side", [28, 33, 64])
def test_cifar_networks_take_other_image_sizes(name, side):
    model = rl.build_model(name, width=0.25, in_channels=1, num_classes=7).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 1, side, side)).shape == (2, 7)


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_take_other_widths_and_channels(name):
    model = rl.build_model(name, width=0.0625, in_channels=1, num_classes=7).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 7)


def test_the_padded_shortcut_averages_and_appends_zeros():
    x = torch.randn(2, 3, 6, 6)
    for kind, small in (("pad", F.avg_pool2d(x, 2)), ("pad-detached", F.avg_pool2d(x, 2)),
                        ("stride", x[:, :, ::2, ::2])):
        y = PadShortcut(2, kind)(x)
        assert torch.allclose(y[:, :3], small)
        assert (y[:, 3:] == 0).all()
        assert y.shape == (2, 5, 3, 3)
        flops = rl.profile(PadShortcut(2, kind), (3, 6, 6), latency=False).flops
        assert flops == (3 * 3 * 3 if kind == "stride" else 0)


@pytest.mark.parametrize(("shortcut", "flows"),
                         [("pad", True), ("stride", True), ("pad-detached", False)])
def test_gradients_pass_the_down_sampling_shortcut_unless_detached(shortcut, flows):
    model = rl.build_model("resnet20", width=0.25, shortcut=shortcut)
    model.layer2[0].bn2.register_forward_hook(lambda module, given, output: output * 0)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert bool(model.conv1.weight.grad.abs().sum() > 0) is flows


def test_the_detached_shortcut_computes_what_the_default_does():
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(rl.build_model("resnet20", seed=2)(x),
                       rl.build_model("resnet20", seed=2, shortcut="pad-detached")(x))


@pytest.mark.parametrize("shortcut", ["pad", "pad-detached", "stride"])
def test_the_first_convolution_of_each_block_is_prunable_and_nothing_else(shortcut):
    model = scramble_statistics(rl.build_model("resnet20", width=0.5, shortcut=shortcut))
    found = survey(model, (3, 32, 32))
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    assert list(found.prunable) == [f"{block}.conv1" for block in blocks]
    assert set(found.left_alone) == {"conv1", "fc", *(f"{block}.conv2" for block in blocks)}
    keep = {name: range(1, layer.width, 2) for name, layer in found.prunable.items()}
    small = remove_channels(model, keep, (3, 32, 32))
    same = rl.build_model("resnet20", width=0.5, widths=[len(kept) for kept in keep.values()])
    assert {name: value.shape for name, value in small.state_dict().items()} \
        == {name: value.shape for name, value in same.state_dict().items()}


@pytest.mark.parametrize(("name", "stem"), [
    ("preresnet20", "stem.0"), ("resnet50", "conv1"), ("preresnet50", "stem.0")])
def test_the_inner_convolutions_of_bottlenecks_are_prunable_and_the_stem(name, stem):
    model = scramble_statistics(rl.build_model(name, width=0.125))
    found = survey(model, (3, 64, 64))
    inner = [layer for layer, module in model.named_modules() if isinstance(module, nn.Conv2d)
             and layer.rpartition(".")[2] in ("conv1", "conv2") and "." in layer]
    assert list(found.prunable) == [stem, *inner]  # a projection ends the stem's stream
    remove_channels(model, {layer: [0, 1] for layer in inner}, (3, 64, 64))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "vgg11_bn", "vgg16_bn",
                                  "imagenet_vgg11", "imagenet_vgg16"])
def test_full_width_has_the_layers_of_torchvision(name):
    with torch.device("meta"):
        ours = rl.build_model(name, num_classes=1000)
        theirs = getattr(torchvision.models, name.removeprefix("imagenet_"))()
    assert repr(ours) == repr(theirs)
    assert {n: p.shape for n, p in ours.state_dict().items()} \
        == {n: p.shape for n, p in theirs.state_dict().items()}


def test_trained_weights_of_torchvision_are_loaded_by_name(monkeypatch):
    theirs = scramble_statistics(torchvision.models.resnet18()).eval()
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict",
                        lambda self, *args, **kwargs: theirs.state_dict())
    ours = rl.build_model("resnet18", num_classes=1000, weights="IMAGENET1K_V1").eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))


def test_the_registry_is_listed_without_torchvision():
    code = ("import sys; from rethinklab.models import MODELS, published, residual; "
            "assert len(MODELS) == len({text for _, text in MODELS.values()}); "
            "sys.exit('torchvision' in sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


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
    ("resnet20", {"shortcut": "none"}, "shortcut"), ("resnet20", {"widths": [4] * 8}, "9 widths"),
    ("resnet20", {"widths": [4.5] * 9}, "9 widths"), ("resnet18", {"widths": [0] * 8}, "8 widths"),
    ("preresnet20", {"variant": "l1"}, "variant"), ("densenet40", {"variant": "l1"}, "variant"),
    ("densenet40", {"bottleneck": 1}, "bottleneck"),
    ("vgg11_bn", {"width": 0.1, "variant": "l1"}, "variant"),
    ("imagenet_vgg11", {"width": 0.1, "variant": "slimming"}, "batch normalisation"),
    ("resnet18", {"width": 0.1, "weights": "V1"}, "Known: DEFAULT, IMAGENET1K_V1"),
    ("resnet18", {"width": 0.1, "weights": "IMAGENET1K_V1"}, "full width"),
    ("vgg11_bn", {"width": 0.1, "weights": "IMAGENET1K_V1"}, "full width"),
    ("nowhere.module:build", {}, "cannot be imported"), ("json:dumps", {}, "cannot be built")])
def test_bad_models_are_named(name, options, says):
    with pytest.raises(ConfigError, match=says):
        rl.build_model(name, **options)


def test_a_model_of_ones_own_is_built_by_name():
    model = rl.build_model("torchvision.models:resnet18", num_classes=4)
    assert model.fc.out_features == 4
