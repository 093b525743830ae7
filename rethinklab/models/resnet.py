"""ResNet for CIFAR: basic blocks in three stages of 16, 32 and 64 channels.

Sources: He et al. (CVPR 2016), section 4.2, with shortcuts of type A; Liu et al. (ICLR 2019) and
its released code for the variants; He et al. (IJCAI 2018) for that of soft filter pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethinklab.errors import unknown_name
from rethinklab.models.initialise import draw_weights
from rethinklab.models.pooling import GlobalAvgPool2d
from rethinklab.models.widths import explicit, scale

DEPTHS = {"resnet20": 20, "resnet32": 32, "resnet56": 56, "resnet110": 110}
STAGES = (16, 32, 64)
SHORTCUTS = ("pad", "pad-detached", "stride")


class PadShortcut(nn.Module):
    """Half the resolution and `extra` zero channels appended: a shortcut without weights.

    Input (N, C, H, W), output (N, C + extra, ceil(H / 2), ceil(W / 2)). kind: "pad" averages
    2x2 pixels; "pad-detached" does the same and lets no gradient through; "stride" takes every
    second pixel. The first two count no FLOPs, the third does, as in the released code.
    """

    def __init__(self, extra: int, kind: str = "pad") -> None:
        super().__init__()
        self.extra = extra
        self.kind = kind
        self.subsample = nn.AvgPool2d(1, stride=2, ceil_mode=True) if kind == "stride" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "pad-detached":
            x = x.detach()
        if self.subsample is not None:
            small = self.subsample(x)
        else:
            small = F.avg_pool2d(x, 2, ceil_mode=True)
        return F.pad(small, (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        return f"extra={self.extra}, kind={self.kind!r}"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; ReLU after the addition.

    Input (N, channels, H, W), output (N, out_channels, H / stride, W / stride). inner: width
    between the convolutions, the one that filter pruning cuts.
    """

    relu: Callable[[Tensor], Tensor]

    def __init__(self, channels: int, inner: int, out_channels: int, stride: int = 1,
                 shortcut: str = "pad") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu = activation(shortcut)
        self.conv2 = nn.Conv2d(inner, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None if stride == 1 else PadShortcut(out_channels - channels, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(branch + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Input (N, in_channels, H, W), output (N, num_classes).

    streams: width of each stage. inner: inner width of each block, stage by stage; the stages
    have equally many blocks. shortcut, where a stage begins:

    - "pad", the default: 2x2 average pooling, ordinary gradients.
    - "pad-detached": no gradient passes those shortcuts, so that stages 1 and 2 learn only
      through the first branch of the next stage. A defect of the released code of Liu et al.
      (2019); it is here because the numbers printed in the paper come from it.
    - "stride": every second pixel, the linear layer drawn by He's rule, and ReLUs that the FLOPs
      convention does not see: the network of soft filter pruning.
    """

    relu: Callable[[Tensor], Tensor]
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module

    def __init__(self, streams: Sequence[int], inner: Sequence[int], num_classes: int = 10,
                 in_channels: int = 3, shortcut: str = "pad") -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise unknown_name("ResNet shortcut", shortcut, SHORTCUTS)
        self.linear_rule = "he" if shortcut == "stride" else "uniform"
        channels = streams[0]
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = activation(shortcut)
        blocks = len(inner) // len(streams)
        supply = iter(inner)
        for number, stream in enumerate(streams, 1):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if number > 1 and block == 0 else 1
                stage.append(BasicBlock(channels, next(supply), stream, stride, shortcut))
                channels = stream
            self.add_module(f"layer{number}", stage)
        self.pool = GlobalAvgPool2d()
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator: He's rule by fan-out, scales 1."""
        draw_weights(self, linear=self.linear_rule)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


def activation(shortcut: str) -> Callable[[Tensor], Tensor]:
    """A ReLU: a module, or for "stride" a function, which the FLOPs convention counts as 0."""
    return F.relu if shortcut == "stride" else nn.ReLU(inplace=True)


def build_resnet(name: str, num_classes: int = 10, width: float = 1.0, in_channels: int = 3,
                 widths: Sequence[int] | None = None, shortcut: str = "pad") -> ResNet:
    """ResNet-20, 32, 56 or 110 (`name` "resnet20").

    width: multiplies every width. widths: explicit inner width of every block instead, as pruning
    leaves them. shortcut: see `ResNet`.
    """
    blocks = (DEPTHS[name] - 2) // 6
    streams = [scale(stream, width) for stream in STAGES]
    inner = [stream for stream in streams for _ in range(blocks)]
    if widths is not None:
        inner = explicit(widths, len(inner), name)
    return ResNet(streams, inner, num_classes, in_channels, shortcut)
