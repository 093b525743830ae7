"""Parameters, multiply-adds and FLOPs of the study's networks against the published numbers.

Sizes come from the definitions in the released code of Liu et al. (ICLR 2019), ratios of pruned
ResNets also from the replication of Renda et al. (ICLR 2020), and the table of Li et al. from
their paper (ICLR 2017, Table 1). ImageNet networks are built without memory, on the meta device.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.analysis.cost import forward_pass, layer_flops
from rethinklab.models import imagenet
from rethinklab.pruners.targets import PUBLISHED, kept_count

VGG_16_A = [32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256]
RESNET_56_A = [*[14] * 7, 16, 14, 32, *[28] * 8, 64, *[57] * 7, 64]
RESNET_56_B = [*[6] * 7, 16, 16, 32, *[22] * 6, 32, 22, 64, *[57] * 7, 64]
RESNET_110_A = [*[8] * 17, 16, *[32] * 18, *[64] * 18]
RESNET_110_B = [*[8] * 17, 16, 32, *[19] * 17, 64, *[44] * 17]
RESNET_34_A = [64, 44, 44, 128, 89, 89, 128, 256, 179, 179, 179, 179, 256, 512, 512, 512]
RESNET_34_B = [64, 32, 32, 128, 51, 51, 128, 256, 153, 153, 153, 153, 256, 512, 512, 512]


@dataclass
class Size:
    model: nn.Module
    params: int
    conv_weights: int
    macs: int
    flops: int
    outputs: dict[nn.Module, torch.Size]


def measure(model: nn.Module, side: int) -> Size:
    """Sizes of `model` wherever it lives: on the meta device nothing is computed."""
    outputs: dict[nn.Module, torch.Size] = {}

    def record(module, inputs, output):
        outputs[module] = output.shape

    hooks = [m.register_forward_hook(record) for m in model.modules() if not any(m.children())]
    found = forward_pass(model, (3, side, side))
    for hook in hooks:
        hook.remove()
    by_hand = sum(weight_macs(module, shape) for module, shape in outputs.items())
    assert found.macs == by_hand
    convs = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    return Size(model, sum(p.numel() for p in model.parameters()), convs, found.macs,
                sum(layer_flops(run) for run in found.runs), outputs)


def weight_macs(module: nn.Module, output: torch.Size) -> int:
    """Multiply-adds of a convolution or linear layer: each weight at each output position."""
    if isinstance(module, nn.Conv2d):
        return module.weight.numel() * output[2] * output[3]
    return module.weight.numel() if isinstance(module, nn.Linear) else 0


def size(name: str, **options) -> Size:
    with torch.device("meta"):
        model = rl.build_model(name, **options)
    return measure(model, 224 if options.get("num_classes") == 1000 else 32)


def imagenet_size(name: str, **options) -> Size:
    return size(name, num_classes=1000, **options)


def biased_resnet50() -> Size:
    """ResNet-50 whose projection shortcuts have a bias, which ThiNet's and ResNet-2x have."""
    inner = [stage for stage, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True)
             for _ in range(2 * blocks)]
    with torch.device("meta"):
        model = imagenet.ResNet(*imagenet.BLOCKS["resnet50"], imagenet.STAGES, inner,
                                shortcut_bias=True)
    return measure(model, 224)


def printed(value: float, digits: str) -> bool:
    """Whether `value` is the number `digits` to its printed places, rounded."""
    places = len(digits.partition(".")[2])
    return abs(value - float(digits)) <= 0.5001 * 10.0**-places


# Parameters, weights of convolutions, multiply-adds in millions.
CIFAR_10 = [
    ("vgg16", {}, 14_987_722, 14_710_464, "313.46"),
    ("vgg16", {"widths": VGG_16_A}, 5_397_034, 5_253_984, "206.28"),
    ("vgg16", {"variant": "slimming"}, 14_724_042, 14_710_464, "313.20"),
    ("vgg19", {"variant": "slimming"}, 20_035_018, 20_018_880, "398.14"),
    ("vgg19", {"variant": "weight-level"}, 20_040_522, 20_018_880, "398.14"),
    ("vgg16", {"variant": "weight-level"}, 14_728_266, 14_710_464, "313.20"),
    ("resnet20", {"shortcut": "stride"}, 269_722, 267_696, "40.55"),
    ("resnet32", {"shortcut": "stride"}, 464_154, 461_232, "68.86"),
    ("resnet56", {}, 853_018, 848_304, "125.49"),
    ("resnet56", {"widths": RESNET_56_A}, 773_336, 768_816, "112.44"),
    ("resnet56", {"widths": RESNET_56_B}, 735_712, 731_376, "90.91"),
    ("resnet110", {}, 1_727_962, 1_719_216, "252.89"),
    ("resnet110", {"widths": RESNET_110_A}, 1_688_522, 1_680_048, "212.78"),
    ("resnet110", {"widths": RESNET_110_B}, 1_168_424, 1_161_072, "155.12"),
    ("preresnet164", {}, 1_703_258, 1_676_464, "247.65"),
    ("preresnet110", {}, 1_146_842, 1_128_112, "167.43"),
    ("densenet40", {}, 1_059_298, 1_036_008, "282.92"),
    ("densenet_bc100", {}, 769_162, 741_744, "287.93"),
    ("densenet_bc100", {"bottleneck": False}, 4_068_490, 3_989_232, "1324.5"),
]

# Parameters with 100 classes.
CIFAR_100 = [
    ("vgg16", {}, 15_033_892), ("vgg16", {"variant": "slimming"}, 14_770_212),
    ("vgg19", {"variant": "slimming"}, 20_081_188),
    ("vgg19", {"variant": "weight-level"}, 20_086_692),
    ("vgg16", {"variant": "weight-level"}, 14_774_436), ("preresnet164", {}, 1_726_388),
    ("preresnet110", {}, 1_169_972), ("densenet40", {}, 1_100_428),
    ("densenet_bc100", {}, 800_032),
]

IMAGENET = [
    ("resnet34", {}, 21_797_672, "3663.8"), ("resnet34_a", {}, 20_151_764, "3100.2"),
    ("resnet34_b", {}, 19_469_372, "2782.3"),
    ("resnet34", {"widths": RESNET_34_A}, 20_151_764, "3100.2"),
    ("resnet34", {"widths": RESNET_34_B}, 19_469_372, "2782.3"),
    ("imagenet_vgg16", {}, 138_357_544, "15470"), ("vgg16_bn", {}, 138_365_992, "15470"),
    ("thinet_conv", {}, 131_452_552, "4791"), ("thinet_gap", {}, 8_322_696, "4668"),
    ("thinet_tiny", {}, 1_325_368, "1005"), ("vgg_5x", {}, 130_879_294, "3515"),
    ("resnet50", {}, 25_557_032, "4089"), ("thinet_30", {}, 8_669_158, "1166"),
    ("thinet_50", {}, 12_385_704, "1822"), ("thinet_70", {}, 16_949_086, "2601"),
    ("resnet_2x", {}, 19_710_544 - 13_120, "2730"),  # the index vectors are no parameters here
    ("vgg11_bn", {"variant": "slimming"}, 132_885_224, "7609"),
]

# Parameters and multiply-adds in millions: published to three places of a million.
SSS = [("preresnet50", "25.549", "4089"), ("sss_resnet41", "25.351", "3473"),
       ("sss_resnet32", "14.262", "2818"), ("sss_resnet26", "14.915", "2278")]


@pytest.mark.parametrize(("name", "options", "params", "conv_weights", "macs"), CIFAR_10)
def test_cifar_10_networks(name, options, params, conv_weights, macs):
    found = size(name, **options)
    assert (found.params, found.conv_weights) == (params, conv_weights)
    assert printed(found.macs / 1e6, macs)


@pytest.mark.parametrize(("name", "options", "params"), CIFAR_100)
def test_cifar_100_networks(name, options, params):
    assert size(name, num_classes=100, **options).params == params


@pytest.mark.parametrize(("name", "options", "params", "macs"), IMAGENET)
def test_imagenet_networks(name, options, params, macs):
    found = imagenet_size(name, **options)
    assert found.params == params
    assert printed(found.macs / 1e6, macs)


@pytest.mark.parametrize(("name", "params", "macs"), SSS)
def test_networks_of_sparse_structure_selection(name, params, macs):
    found = imagenet_size(name)
    assert abs(found.params / 1e6 - float(params)) < 0.001  # printed cut off or rounded
    assert printed(found.macs / 1e6, macs)


@pytest.mark.parametrize(("name", "num_classes", "params"), [
    ("preresnet164", 10, 1_711_338), ("preresnet164", 100, 1_734_468),
    ("densenet40", 10, 1_068_658), ("densenet40", 100, 1_109_788)])
def test_sizes_with_the_index_vectors_that_the_released_code_counts(name, num_classes, params):
    found = size(name, num_classes=num_classes)
    inner = {"bn2", "bn3"} if name == "preresnet164" else set()  # the others select channels
    selections = sum(m.num_features for path, m in found.model.named_modules()
                     if isinstance(m, nn.BatchNorm2d) and path.rpartition(".")[2] not in inner)
    assert found.params + selections == params


def test_index_vectors_of_resnet_2x():
    model = imagenet_size("resnet_2x").model
    streams = [64, 256, 256, 256, *[512] * 4, *[1024] * 6, 2048, 2048]
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4)
              for block in stage]
    assert sum(streams) == 13_120
    assert [block.conv1.in_channels for block in blocks] == [
        35, 101, 97, 144, 205, 198, 288, 278, 418, 407, 423, 412, 595, 606, 1222, 1147]
    small = rl.build_model("resnet_2x", width=0.0625)
    again = rl.build_model("resnet_2x", width=0.0625, seed=5)
    assert torch.equal(small.layer3[2].conv1.index, again.layer3[2].conv1.index)


@pytest.mark.parametrize(("name", "options", "scales"), [
    ("vgg16", {"variant": "slimming"}, 4224), ("vgg19", {"variant": "slimming"}, 5504),
    ("preresnet164", {}, 12_112), ("densenet40", {}, 9_360),
    ("vgg11_bn", {"variant": "slimming"}, 10_944)])
def test_scales_that_network_slimming_ranks(name, options, scales):
    with torch.device("meta"):
        model = rl.build_model(name, **options)
    assert sum(m.num_features for m in model.modules()
               if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d))) == scales


@pytest.mark.parametrize(("name", "options", "ratio", "epochs"), [
    ("vgg16", {"widths": VGG_16_A}, "1.5190", 243),
    ("resnet56", {"widths": RESNET_56_A}, "1.1157", 178),
    ("resnet56", {"widths": RESNET_56_B}, "1.3791", 220),
    ("resnet110", {"widths": RESNET_110_A}, "1.1883", 190),
    ("resnet110", {"widths": RESNET_110_B}, "1.6273", 260)])
def test_flops_ratios_on_cifar(name, options, ratio, epochs):
    found = size(name).flops / size(name, **options).flops
    assert printed(found, ratio)
    assert int(160 * found) == epochs


@pytest.mark.parametrize(("base", "name", "ratio", "epochs"), [
    ("resnet34", "resnet34_a", "1.1816", 106), ("resnet34", "resnet34_b", "1.3164", 118),
    ("imagenet_vgg16", "thinet_conv", "3.23", None), ("imagenet_vgg16", "thinet_gap", "3.31", None),
    ("imagenet_vgg16", "thinet_tiny", "15.4", None), ("imagenet_vgg16", "vgg_5x", "4.40", None),
    (None, "thinet_30", "3.48", None), (None, "thinet_50", "2.24", None),
    (None, "thinet_70", "1.569", 141), (None, "resnet_2x", "1.495", 134)])
def test_flops_ratios_on_imagenet(base, name, ratio, epochs):
    large = imagenet_size(base) if base else biased_resnet50()
    found = large.flops / imagenet_size(name).flops
    assert printed(found, ratio)
    assert epochs is None or int(90 * found) == epochs


def test_resnet_50_with_the_bias_of_caffe():
    assert biased_resnet50().params == 25_560_872


@pytest.mark.parametrize(("name", "ratio", "epochs"), [
    ("sss_resnet41", "1.1775", 117), ("sss_resnet32", "1.4513", 145),
    ("sss_resnet26", "1.7951", 179)])
def test_ratios_of_sparse_structure_selection_are_of_multiply_adds(name, ratio, epochs):
    found = imagenet_size("preresnet50").macs / imagenet_size(name).macs
    assert printed(found, ratio)
    assert int(100 * found) == epochs


# Of Li et al.: weights of convolutions and linear layers, and multiply-adds, in units of the last
# printed digit, and the share pruned away in per cent. Their digits are partly cut off, partly
# rounded, and leave out normalisations and projection shortcuts.
LI = [
    ("vgg16", {}, "1.5e7", None, "3.13e8", None),
    ("vgg16", {"widths": VGG_16_A}, "5.4e6", 64.0, "2.06e8", 34.2),
    ("resnet56", {}, "8.5e5", None, "1.25e8", None),
    ("resnet56", {"widths": RESNET_56_A}, "7.7e5", 9.4, "1.12e8", 10.4),
    ("resnet56", {"widths": RESNET_56_B}, "7.3e5", 13.7, "9.09e7", 27.6),
    ("resnet110", {}, "1.72e6", None, "2.53e8", None),
    ("resnet110", {"widths": RESNET_110_A}, "1.68e6", 2.3, "2.13e8", 15.9),
    ("resnet110", {"widths": RESNET_110_B}, "1.16e6", 32.4, "1.55e8", 38.6),
    ("resnet34", {"num_classes": 1000}, "2.16e7", None, "3.64e9", None),
    ("resnet34", {"num_classes": 1000, "widths": RESNET_34_A}, "1.99e7", 7.6, "3.08e9", 15.5),
    ("resnet34", {"num_classes": 1000, "widths": RESNET_34_B}, "1.93e7", 10.8, "2.76e9", 24.2),
]


def counted_by_li(name: str, options: dict) -> tuple[int, int]:
    found = size(name, **options)
    weights = macs = 0
    for module, shape in found.outputs.items():
        projection = getattr(module, "kernel_size", None) == (1, 1)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not projection:
            weights += module.weight.numel()
            macs += weight_macs(module, shape)
    return weights, macs


@pytest.mark.parametrize(("name", "options", "weights", "less", "macs", "fewer"), LI)
def test_the_table_of_li_et_al(name, options, weights, less, macs, fewer):
    found = counted_by_li(name, options)
    full = counted_by_li(name, {k: v for k, v in options.items() if k != "widths"})
    for value, whole, text, share in zip(found, full, (weights, macs), (less, fewer), strict=True):
        digits, _, power = text.partition("e")
        unit = 10.0 ** -len(digits.partition(".")[2])
        assert abs(value / 10 ** int(power) - float(digits)) < unit
        assert share is None or abs(100 * (1 - value / whole) - share) < 0.1


@pytest.mark.parametrize(("method", "network", "target", "full", "kept"), [
    ("l1", "vgg16", "A", [64, 64, 128, 128, *[256] * 3, *[512] * 6], VGG_16_A),
    ("l1", "resnet56", "A", [*[16] * 9, *[32] * 9, *[64] * 9], RESNET_56_A),
    ("l1", "resnet56", "B", [*[16] * 9, *[32] * 9, *[64] * 9], RESNET_56_B),
    ("l1", "resnet110", "A", [*[16] * 18, *[32] * 18, *[64] * 18], RESNET_110_A),
    ("l1", "resnet110", "B", [*[16] * 18, *[32] * 18, *[64] * 18], RESNET_110_B),
    ("l1", "resnet34", "A", [*[64] * 3, *[128] * 4, *[256] * 6, *[512] * 3], RESNET_34_A),
    ("l1", "resnet34", "B", [*[64] * 3, *[128] * 4, *[256] * 6, *[512] * 3], RESNET_34_B),
    *[("thinet", "resnet50", target, [64, *[64] * 6, *[128] * 8, *[256] * 12, *[512] * 6],
       [64, *[a] * 6, *[b] * 8, *[c] * 12, *[d] * 6])
      for target, (a, b, c, d) in (("30", (19, 38, 76, 153)), ("50", (32, 64, 128, 256)),
                                   ("70", (44, 89, 179, 358)))],
    ("thinet", "imagenet_vgg16", "conv", [64, 64, 128, 128, *[256] * 3, *[512] * 6],
     [32, 32, 64, 64, *[128] * 3, *[256] * 3, *[512] * 3]),
    ("regression", "imagenet_vgg16", "5x", [64, 64, 128, 128, *[256] * 3, *[512] * 6],
     [24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512])])
def test_published_targets_leave_the_published_widths(method, network, target, full, kept):
    shares = PUBLISHED[method, network][target]
    assert set(shares) <= set(range(1, len(full) + 1))
    assert [kept_count(float(shares.get(n, 0.0)), width, str(n))
            for n, width in enumerate(full, 1)] == kept


@pytest.mark.parametrize(("name", "target", "widths"), [
    ("vgg16", "A", VGG_16_A), ("resnet56", "A", RESNET_56_A), ("resnet56", "B", RESNET_56_B),
    ("resnet110", "A", RESNET_110_A), ("resnet110", "B", RESNET_110_B),
    ("resnet34", "A", RESNET_34_A), ("resnet34", "B", RESNET_34_B)])
def test_pruning_to_a_published_target_gives_the_published_network(name, target, widths, digits):
    # where shortcuts are detached, the deepest network is surveyed faster
    options = {"shortcut": "pad-detached"} if name == "resnet110" else {}
    model = rl.build_model(name, **options)
    plan = rl.pruners.L1Norm(target).fit(model, digits)
    with torch.device("meta"):
        expected = rl.build_model(name, widths=widths).state_dict()
    assert {key: value.shape for key, value in plan.apply(model).state_dict().items()} \
        == {key: value.shape for key, value in expected.items()}


@pytest.mark.parametrize(("name", "method", "target", "published"), [
    ("resnet50", "thinet", "30", "thinet_30"), ("resnet50", "thinet", "70", "thinet_70"),
    ("imagenet_vgg16", "thinet", "conv", "thinet_conv"),
    ("imagenet_vgg16", "regression", "5x", "vgg_5x")])
def test_targets_count_the_convolutions_as_the_survey_does(name, method, target, published, digits):
    class Any(rl.pruners.L1Norm):
        pass

    Any.name = method
    plan = Any(target).fit(rl.build_model(name, width=0.25), digits)
    with torch.device("meta"):
        expected = rl.build_model(published, width=0.25)
    exact = {layer: expected.get_submodule(layer).out_channels for layer in plan.keep}
    assert {layer: kept - exact[layer] for layer, kept in plan.kept_widths.items()} \
        == dict.fromkeys(exact, 0)
