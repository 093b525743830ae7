"""Images, a network, a criterion and what is none of these, as a user's module has them."""

from __future__ import annotations

import torch
from torch import nn

import rethinklab as rl


def images():
    """Two classes that differ in brightness."""
    draws = torch.Generator().manual_seed(0)
    parts = []
    for count in (40, 20):
        labels = torch.arange(count) % 2
        pixels = torch.randint(0, 120, (count, 3, 16, 16), generator=draws)
        parts.append(rl.Images((pixels + 100 * labels[:, None, None, None]).byte(), labels))
    return rl.ImageData("own", *parts, ("dark", "light"), (0.4,) * 3, (0.2,) * 3)


class Net(nn.Sequential):
    """Two convolutions and a linear layer."""

    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


def net(num_classes):
    return Net(num_classes)


class Taylor(rl.pruners.ChannelPruner):
    """Says no name of its own."""

    def score(self, layer, context):
        return (context.activations * context.gradients).flatten(2).sum(2).abs().mean(0)


class Penalised(rl.pruners.SoftFilter):
    """Acts during training."""

    name = "penalised"


broken = [1, 2]
