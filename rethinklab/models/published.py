"""The pruned ImageNet networks whose widths their authors published, as data.

Sources: the released code of Liu et al. (ICLR 2019) for all widths. The networks are of Li et al.
(ICLR 2017), ResNet-34-A and B; Luo et al. (ICCV 2017), ThiNet; He, Zhang & Sun (ICCV 2017),
VGG-5x and ResNet-2x; Huang & Wang (ECCV 2018), ResNet-41, 32 and 26.
Which channels the first layers of ResNet-2x read is part of a Caffe model and not available: here
it is drawn once, as many as published.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rethinklab.models.preresnet import build_preresnet50
from rethinklab.models.residual import remove_branch
from rethinklab.models.widths import scale
from rethinklab.seeds import generator

# Inner width of each basic block of ResNet-34.
BASIC = {
    "resnet34_a": (64, 44, 44, 128, 89, 89, 128, 256, *[179] * 4, 256, *[512] * 3),
    "resnet34_b": (64, 32, 32, 128, 51, 51, 128, 256, *[153] * 4, 256, *[512] * 3),
}

# Width of both inner convolutions of the bottlenecks of ResNet-50, by stage.
THINET = {
    "thinet_30": (19, 38, 76, 153),
    "thinet_50": (32, 64, 128, 256),
    "thinet_70": (44, 89, 179, 358),
}

# For each bottleneck of ResNet-50: channels read, and width of the two inner convolutions.
RESNET_2X = (
    (35, 64, 55), (101, 51, 39), (97, 50, 37),
    (144, 128, 106), (205, 105, 72), (198, 105, 72), (288, 128, 110),
    (278, 256, 225), (418, 209, 147), (407, 204, 158), (423, 212, 155), (412, 211, 148),
    (595, 256, 213),
    (606, 512, 433), (1222, 512, 437), (1147, 512, 440),
)

# Width of each convolution of VGG-16 and the head: "torchvision" has two hidden layers, "gap" none.
_HALF = (32, 32, "M", 64, 64, "M", 128, 128, 128, "M", 256, 256, 256, "M", 512, 512, 512)
VGG_16: dict[str, tuple[tuple[int | str, ...], str]] = {
    "thinet_conv": ((*_HALF, "M"), "torchvision"),
    "thinet_gap": (_HALF, "gap"),
    "thinet_tiny": ((16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M",
                     128, 128, 256), "gap"),
    "vgg_5x": ((24, 22, "M", 41, 51, "M", 108, 89, 111, "M", 184, 276, 228, "M",
                512, 512, 512, "M"), "torchvision"),
}

# Residual branches kept of each stage of the pre-activation ResNet-50 with 3, 4, 6 and 3: whether
# that of the first block is, and how many of the others.
SSS = {
    "sss_resnet41": ((False, 0), (True, 3), (True, 5), (True, 2)),
    "sss_resnet32": ((False, 1), (True, 3), (True, 3), (True, 0)),
    "sss_resnet26": ((False, 0), (False, 2), (False, 5), (True, 0)),
}

DESCRIPTIONS = {
    "resnet34_a": "ResNet-34-A for ImageNet, pruned by L1-norm",
    "resnet34_b": "ResNet-34-B for ImageNet, pruned by L1-norm",
    "thinet_30": "ResNet-50 for ImageNet, ThiNet-30: 30% of the inner filters left",
    "thinet_50": "ResNet-50 for ImageNet, ThiNet-50: 50% of the inner filters left",
    "thinet_70": "ResNet-50 for ImageNet, ThiNet-70: 70% of the inner filters left",
    "resnet_2x": "ResNet-50 for ImageNet, pruned by regression: ResNet-2x",
    "thinet_conv": "VGG-16 for ImageNet, pruned by ThiNet: the first ten convolutions halved",
    "thinet_gap": "VGG-16 for ImageNet, pruned by ThiNet, with average pooling for hidden layers",
    "thinet_tiny": "VGG-16 for ImageNet, pruned by ThiNet: the narrowest",
    "vgg_5x": "VGG-16 for ImageNet, pruned by regression: VGG-5x",
    "sss_resnet41": "Pre-activation ResNet-50 for ImageNet, 13 of 16 residual branches left",
    "sss_resnet32": "Pre-activation ResNet-50 for ImageNet, 10 of 16 residual branches left",
    "sss_resnet26": "Pre-activation ResNet-50 for ImageNet, 8 of 16 residual branches left",
}


def build_published(name: str, num_classes: int = 1000, width: float = 1.0,
                    in_channels: int = 3) -> nn.Module:
    """A published network (`name` "thinet_50") with fresh weights.

    width: multiplies every width, for trials on small machines.
    """
    if name in VGG_16:
        return _vgg(*VGG_16[name], num_classes, width, in_channels)
    if name in SSS:
        return _without_branches(SSS[name], num_classes, width, in_channels)
    return _resnet(name, num_classes, width, in_channels)


def _vgg(layout: Sequence[int | str], head: str, num_classes: int, width: float,
         in_channels: int) -> nn.Module:
    from rethinklab.models import imagenet

    scaled = [scale(entry, width) if isinstance(entry, int) else entry for entry in layout]
    return imagenet.VGG(scaled, num_classes, in_channels, scale(imagenet.HIDDEN, width), head=head)


def _resnet(name: str, num_classes: int, width: float, in_channels: int) -> nn.Module:
    from rethinklab.models import imagenet

    block, blocks = imagenet.BLOCKS["resnet34" if name in BASIC else "resnet50"]
    streams = [scale(stage, width) for stage in imagenet.STAGES]
    selections = None
    if name in BASIC:
        inner = BASIC[name]
    elif name in THINET:
        inner = tuple(stage for stage, count in zip(THINET[name], blocks, strict=True)
                      for _ in range(2 * count))
    else:
        inner = tuple(entry for triple in RESNET_2X for entry in triple[1:])
        outputs = [block.expansion * stream for stream, count in zip(streams, blocks, strict=True)
                   for _ in range(count)]
        inputs = [streams[0], *outputs[:-1]]
        selections = [_choice(number, scale(triple[0], width), channels)
                      for number, (triple, channels) in enumerate(
                          zip(RESNET_2X, inputs, strict=True))]
    return imagenet.ResNet(block, blocks, streams, [scale(entry, width) for entry in inner],
                           num_classes, in_channels, selections, shortcut_bias=name not in BASIC)


def _choice(number: int, count: int, channels: int) -> list[int]:
    """`count` of `channels` channels, ascending: always the same for block `number`."""
    order = torch.randperm(channels, generator=generator(0, "resnet_2x", number), device="cpu")
    return sorted(order[:count].tolist())


def _without_branches(kept: Sequence[tuple[bool, int]], num_classes: int, width: float,
                      in_channels: int) -> nn.Module:
    model = build_preresnet50(num_classes, width, in_channels)
    for stage, (first, others) in enumerate(kept):
        for block in range(model.design.blocks[stage]):
            if not first if block == 0 else block > others:
                remove_branch(model, f"stages.{stage}.{block}")
    return model
