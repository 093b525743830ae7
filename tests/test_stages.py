"""Stages: sides of feature maps, against the published layouts and the maps themselves."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rethinklab as rl
from rethinklab.pruners.stages import by_side, layer_sides

SHAPE = (3, 32, 32)


@pytest.mark.parametrize(("model", "layers"), [
    ("vgg16", {32: 2, 16: 2, 8: 3, 4: 3, 2: 3}), ("vgg19", {32: 2, 16: 2, 8: 4, 4: 4, 2: 4}),
    # stem and two convolutions in each of nine blocks; a stage begins with its first convolution
    ("resnet56", {32: 19, 16: 18, 8: 18}),
    # k = 12: stem, twelve layers a block, and a transition before each pooling
    ("densenet40", {32: 14, 16: 13, 8: 12})])
def test_stages_of_the_published_networks(model, layers):
    sides = layer_sides(rl.build_model(model, width=0.25), SHAPE)
    assert Counter(sides.values()) == layers
    assert list(sides.values()) == sorted(sides.values(), reverse=True)
    assert {side: len(names) for side, names in by_side(sides, sides).items()} == layers


def test_a_bottleneck_reads_large_maps_and_puts_out_small_ones():
    sides = layer_sides(rl.build_model("preresnet20", width=0.25), SHAPE)
    assert (sides["stages.1.0.conv1"], sides["stages.1.0.conv2"]) == (32, 16)


class Odd(nn.Module):
    """Registered in another order than it runs, one layer twice, one never, one map not square."""

    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.unused = nn.Conv2d(3, 3, 1)
        self.first = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        hidden = self.second(self.second(self.first(images)))
        return self.head(hidden.mean((2, 3)))


def test_the_order_is_that_of_the_forward_pass_and_what_does_not_run_is_left_out():
    model = Odd().train()
    assert layer_sides(model, (3, 16, 8)) == {"first": 16, "second": 8}
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4),
       st.integers(6, 20))
def test_sides_are_those_of_the_maps(layers, side):
    model = nn.Sequential(*[nn.Conv2d(1, 1, kernel, stride, padding=1)
                            for kernel, stride in layers])
    hidden, seen = torch.zeros(1, 1, side, side), {}
    for name, layer in model.named_children():
        hidden = layer(hidden)
        seen[name] = hidden.shape[-1]
    assert layer_sides(model, (1, side, side)) == seen
