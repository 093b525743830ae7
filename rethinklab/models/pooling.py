"""The last pooling of the residual and densely connected networks for CIFAR."""

from __future__ import annotations

from torch import nn


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of each feature map. Input (N, C, H, W), output (N, C, 1, 1).

    Where the CIFAR networks of the released code of Liu et al. (ICLR 2019) have an average pooling
    as large as its feature maps, 8x8, which their FLOPs count, this stands for it on images of any
    size. A plain `nn.AdaptiveAvgPool2d` is for poolings that they do inside `forward`, which count
    nothing.
    """

    def __init__(self) -> None:
        super().__init__(1)
