"""The last pooling of residual and densely connected networks."""

from __future__ import annotations

from torch import nn


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of each feature map. Input (N, C, H, W), output (N, C, 1, 1).

    Where the released code of Liu et al. (ICLR 2019) has an average pooling with a kernel as large
    as its feature maps, which its FLOPs count, this stands for it on images of any size. A plain
    `nn.AdaptiveAvgPool2d` is for poolings that the released code does inside `forward`, which
    count nothing.
    """

    def __init__(self) -> None:
        super().__init__(1)
