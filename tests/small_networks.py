"""Small networks, and what tests of reconstruction measure on them."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

import rethinklab as rl
from rethinklab.data.batches import plain_batches
from rethinklab.pruners.plan import load_some

RECIPE = rl.Recipe(epochs=6, lr=0.05, batch_size=20)


def slim():
    """Four convolutions; the linear layer reads four values of each of the last one's channels."""
    layers, channels = [], 3
    for width, stride in ((16, 2), (32, 2), (32, 1), (32, 2)):
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                   nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))


class Chain(nn.Module):
    """Three convolutions, the last with one output, and a linear layer that reads the map."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 7, 3, padding=1)
        self.third = nn.Conv2d(7, 1, 3, stride=2, padding=1, bias=False)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        hidden = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(torch.relu(self.third(hidden)).flatten(1))


class TwoReaders(nn.Module):
    """A layer read by two convolutions, one of which reads another layer's channels besides."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.other = nn.Conv2d(3, 4, 1)
        self.wide = nn.Conv2d(12, 5, 3, padding=1)
        self.narrow = nn.Conv2d(8, 5, 1)
        self.head = nn.Linear(5, 10)

    def forward(self, images):
        hidden, beside = torch.relu(self.first(images)), torch.relu(self.other(images))
        both = self.wide(torch.cat([beside, hidden], 1)) + self.narrow(hidden)
        return self.head(torch.relu(both).mean((2, 3)))


class Shrink(rl.Callback):
    """Adds a sign gradient and holds a filter at zero."""

    def __init__(self):
        self.calls = 0

    def after_backward(self, state):
        for parameter in state.model.parameters():
            parameter.grad.add_(parameter.detach().sign(), alpha=1e-3)

    def after_update(self, state):
        with torch.no_grad():
            next(state.model.parameters())[0] = 0

    def after_step(self, state):
        self.calls += 1


def reconstructed(model, plan):
    """The unpruned network with the values that the method gave it."""
    full = deepcopy(model).eval()
    load_some(full, plan.weights)
    return full


def images_to_test(data):
    return torch.cat([images for images, _ in plain_batches(data, data.test)])


@torch.no_grad()
def relative_error(model, plan, images):
    wanted = deepcopy(model).eval()(images)
    return float((plan.apply(model).eval()(images) - wanted).square().sum()
                 / wanted.square().sum())


def scramble_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Normalisations as after training: shifts and scales that are not 0 and 1."""
    draws = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            module.running_mean.normal_(0, 0.1, generator=draws)
            module.running_var.uniform_(0.5, 2, generator=draws)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=draws)
            nn.init.normal_(module.bias, 0, 0.3, generator=draws)
    return model
