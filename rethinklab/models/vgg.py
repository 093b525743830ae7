"""VGG for CIFAR: 3x3 convolutions with batch normalisation, four poolings, a small head.

Sources: Simonyan & Zisserman (ICLR 2015) for the widths; Li et al. (ICLR 2017) for the head
with a hidden layer; Liu et al. (ICLR 2019) and its released code for the variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethinklab.errors import unknown_name
from rethinklab.models.initialise import draw_weights
from rethinklab.models.widths import explicit, scale

POOL = "M"
LAYOUTS: dict[str, tuple[int | str, ...]] = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512),
    "vgg19": (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M",
              512, 512, 512, 512),
}
HIDDEN = 512


@dataclass(frozen=True)
class Variant:
    """What differs between the VGGs of the study's experiments."""

    hidden: bool  # Linear(512)-BatchNorm1d-ReLU before the classifier
    conv_bias: bool
    gamma: float  # initial scale of BatchNorm2d
    fan: str  # which fan the normal initialisation of convolutions divides by


VARIANTS = {
    "l1": Variant(hidden=True, conv_bias=False, gamma=0.5, fan="out"),
    "slimming": Variant(hidden=False, conv_bias=False, gamma=0.5, fan="out"),
    "weight-level": Variant(hidden=False, conv_bias=True, gamma=1.0, fan="in"),
}


def convolutions(layout: Sequence[int | str], in_channels: int, bias: bool,
                 batch_norm: bool) -> nn.Sequential:
    """The 3x3 convolutions of a VGG, each with its normalisation, if any, and ReLU, and the 2x2
    max poolings between them, as `layout` lists them."""
    layers: list[nn.Module] = []
    channels = in_channels
    for entry in layout:
        if entry == POOL:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, int(entry), 3, padding=1, bias=bias))
        if batch_norm:
            layers.append(nn.BatchNorm2d(int(entry)))
        layers.append(nn.ReLU(inplace=True))
        channels = int(entry)
    return nn.Sequential(*layers)


def last_width(layout: Sequence[int | str]) -> int:
    """Channels of the last convolution."""
    return [int(entry) for entry in layout if entry != POOL][-1]


class VGG(nn.Module):
    """Input (N, in_channels, H, W) with H, W >= 16, output (N, num_classes).

    layout: width of each convolution in order, "M" for a 2x2 max pooling. variant: "l1" (the
    head of Li et al.), "slimming" or "weight-level" (one linear layer).
    """

    def __init__(self, layout: Sequence[int | str], num_classes: int = 10, in_channels: int = 3,
                 hidden: int = HIDDEN, variant: str = "l1") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise unknown_name("VGG variant", variant, VARIANTS)
        self.variant = VARIANTS[variant]
        self.features = convolutions(layout, in_channels, self.variant.conv_bias, batch_norm=True)
        channels = last_width(layout)
        self.pool = nn.AdaptiveAvgPool2d(1)
        head: list[nn.Module] = [nn.Linear(channels, num_classes)]
        if self.variant.hidden:
            head = [nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
                    nn.Linear(hidden, num_classes)]
        self.classifier = nn.Sequential(*head)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator, by the rules of the variant.

        Convolutions: normal, std sqrt(2 / (9 * fan)). Linear: normal, std 0.01, bias 0.
        """
        draw_weights(self, fan=self.variant.fan, gamma=self.variant.gamma, linear="small")

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(images)), 1))


def build_vgg(name: str, num_classes: int = 10, width: float = 1.0, in_channels: int = 3,
              widths: Sequence[int] | None = None, variant: str = "l1") -> VGG:
    """VGG-11, 13, 16 or 19 (`name` "vgg16").

    width: multiplies every width, the hidden layer's too. widths: explicit width of every
    convolution instead, as pruning leaves them (the hidden layer then keeps its 512 * width).
    """
    layout = LAYOUTS[name]
    if widths is None:
        scaled = [scale(int(entry), width) for entry in layout if entry != POOL]
    else:
        scaled = explicit(widths, sum(entry != POOL for entry in layout), name)
    supply = iter(scaled)
    filled = [entry if entry == POOL else next(supply) for entry in layout]
    return VGG(filled, num_classes, in_channels, scale(HIDDEN, width), variant)
