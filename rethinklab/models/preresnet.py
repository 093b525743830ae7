"""Pre-activation ResNet of bottleneck blocks, for CIFAR and for ImageNet.

Sources: He et al. (ECCV 2016) for the blocks; Liu et al. (ICLR 2019) and its released code for
the CIFAR networks of network slimming and weight-level pruning; Huang & Wang (ECCV 2018) for the
ImageNet network of sparse structure selection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethinklab.models.initialise import draw_weights, gamma_of
from rethinklab.models.pooling import GlobalAvgPool2d
from rethinklab.models.widths import scale

DEPTHS = {"preresnet20": 20, "preresnet110": 110, "preresnet164": 164}
EXPANSION = 4


@dataclass(frozen=True)
class Design:
    """What a pre-activation ResNet is made of, and what its fresh weights are.

    stem: channels of the first convolution. blocks, inner: number of blocks and inner width of
    each stage; a stage puts out 4 times its inner width. imagenet: a 7x7 stem of stride 2 with
    normalisation, ReLU and max pooling, instead of a bare 3x3. project_activated: the projection
    shortcut reads the normalised and rectified input of the block, not the raw one.
    fan, gamma, linear: see `draw_weights`.
    """

    stem: int
    blocks: tuple[int, ...]
    inner: tuple[int, ...]
    imagenet: bool = False
    project_activated: bool = False
    fan: str = "out"
    gamma: float = 1.0
    linear: str = "uniform"


class PreActBottleneck(nn.Module):
    """BN-ReLU-conv 1x1, BN-ReLU-conv 3x3, BN-ReLU-conv 1x1 beside a shortcut; nothing after.

    Input (N, channels, H, W), output (N, 4 * inner, H / stride, W / stride). project: give the
    shortcut a 1x1 convolution. project_activated: see `Design`.
    """

    def __init__(self, channels: int, inner: int, stride: int = 1, project: bool = False,
                 project_activated: bool = False) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, EXPANSION * inner, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (nn.Conv2d(channels, EXPANSION * inner, 1, stride, bias=False)
                           if project else None)
        self.project_activated = project_activated

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.bn1(x))
        branch = self.conv2(self.relu(self.bn2(self.conv1(active))))
        branch = self.conv3(self.relu(self.bn3(branch)))
        if self.downsample is None:
            return branch + x
        return branch + self.downsample(active if self.project_activated else x)


class PreResNet(nn.Module):
    """Input (N, in_channels, H, W), output (N, num_classes); see `Design`."""

    def __init__(self, design: Design, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.design = design
        channels = design.stem
        if design.imagenet:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False),
                nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
        else:
            self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
        self.stages = nn.Sequential()
        for number, (blocks, inner) in enumerate(zip(design.blocks, design.inner, strict=True)):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if number > 0 and block == 0 else 1
                stage.append(PreActBottleneck(channels, inner, stride, block == 0,
                                              design.project_activated))
                channels = EXPANSION * inner
            self.stages.append(stage)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = GlobalAvgPool2d()
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator, by the rules of the design."""
        draw_weights(self, fan=self.design.fan, gamma=self.design.gamma,
                     linear=self.design.linear)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stages(self.stem(images))))
        return self.fc(torch.flatten(self.pool(x), 1))


def build_preresnet(name: str, num_classes: int = 10, width: float = 1.0, in_channels: int = 3,
                    variant: str = "slimming") -> PreResNet:
    """Pre-activation ResNet-20, 110 or 164 for CIFAR (`name` "preresnet164").

    width: multiplies every width. variant: "slimming" draws normalisation scales of 0.5,
    "weight-level" of 1.
    """
    blocks = (DEPTHS[name] - 2) // 9
    inner = tuple(scale(stage, width) for stage in (16, 32, 64))
    gamma = gamma_of(variant, "PreResNet")
    return PreResNet(Design(scale(16, width), (blocks,) * 3, inner, gamma=gamma), num_classes,
                     in_channels)


def build_preresnet50(num_classes: int = 1000, width: float = 1.0,
                      in_channels: int = 3) -> PreResNet:
    """The ImageNet ResNet-50 of sparse structure selection, drawn by He's rule of fan-in."""
    inner = tuple(scale(stage, width) for stage in (64, 128, 256, 512))
    return PreResNet(Design(scale(64, width), (3, 4, 6, 3), inner, imagenet=True,
                            project_activated=True, fan="in", linear="he"),
                     num_classes, in_channels)
