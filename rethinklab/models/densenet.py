"""DenseNet for CIFAR: each layer reads all channels made before it and appends its own.

Sources: Huang et al. (CVPR 2017); Liu et al. (ICLR 2019) and its released code for the variants.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethinklab.models.initialise import draw_weights, gamma_of
from rethinklab.models.pooling import GlobalAvgPool2d
from rethinklab.models.widths import scale
from rethinklab.values import flag

GROWTH = 12
BLOCKS = 3


@dataclass(frozen=True)
class Design:
    """Depth in layers, whether a layer starts with a 1x1 bottleneck, and what a transition
    divides the number of channels by."""

    depth: int
    bottleneck: bool
    compression: int


DESIGNS = {
    "densenet40": Design(40, bottleneck=False, compression=1),
    "densenet_bc100": Design(100, bottleneck=True, compression=2),
}


class DenseLayer(nn.Module):
    """BN-ReLU-conv 3x3, after a BN-ReLU-conv 1x1 to 4 * growth channels where `bottleneck`.

    Input (N, channels, H, W), output (N, channels + growth, H, W): the input, then what is new.
    """

    def __init__(self, channels: int, growth: int, bottleneck: bool = False) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(4 * growth)
            self.conv2: nn.Conv2d | None = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
            self.conv2 = None

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(self.relu(self.bn1(x)))
        if self.conv2 is not None:
            new = self.conv2(self.relu(self.bn2(new)))
        return torch.cat((x, new), 1)


class Transition(nn.Module):
    """BN-ReLU-conv 1x1, then 2x2 average pooling, which the FLOPs convention does not count.

    Input (N, channels, H, W), output (N, out_channels, H // 2, W // 2).
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(self.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """Input (N, in_channels, H, W) with H, W >= 4, output (N, num_classes).

    Three blocks of equally many layers with a transition between; the stem has 2 * growth
    channels.
    """

    def __init__(self, design: Design, num_classes: int = 10, in_channels: int = 3,
                 growth: int = GROWTH, gamma: float = 0.5) -> None:
        super().__init__()
        self.gamma = gamma
        layers = (design.depth - BLOCKS - 1) // (BLOCKS * (2 if design.bottleneck else 1))
        channels = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for number in range(BLOCKS):
            if number > 0:
                reduced = max(1, channels // design.compression)
                self.blocks.append(Transition(channels, reduced))
                channels = reduced
            block = nn.Sequential()
            for _ in range(layers):
                block.append(DenseLayer(channels, growth, design.bottleneck))
                channels += growth
            self.blocks.append(block)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = GlobalAvgPool2d()
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator: He's rule by fan-out."""
        draw_weights(self, gamma=self.gamma)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn(self.blocks(self.conv1(images))))
        return self.fc(torch.flatten(self.pool(x), 1))


def build_densenet(name: str, num_classes: int = 10, width: float = 1.0, in_channels: int = 3,
                   variant: str = "slimming", bottleneck: bool | None = None) -> DenseNet:
    """DenseNet-40 or DenseNet-BC-100 (`name` "densenet_bc100"), growth 12.

    width: multiplies the growth, and with it every width. variant: "slimming" draws normalisation
    scales of 0.5, "weight-level" of 1. bottleneck: False for densenet_bc100 gives the network
    that the published command builds, whose layers have one 3x3 convolution, 32 a block.
    """
    design = DESIGNS[name]
    if bottleneck is not None:
        design = Design(design.depth, flag("bottleneck", bottleneck), design.compression)
    return DenseNet(design, num_classes, in_channels, scale(GROWTH, width),
                    gamma_of(variant, "DenseNet"))
