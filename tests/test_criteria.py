"""Criteria that read more than weights: what their context shows, against plain loops."""

from __future__ import annotations

import pytest
import torch
from small_networks import Chain, slim
from torch import nn
from torch.nn.functional import cross_entropy

import rethinklab as rl
from rethinklab.errors import PlanError


class Taylor(rl.pruners.ChannelPruner):
    """How much the loss is expected to change without a channel, to first order."""

    name = "taylor"
    calibration_images = 12

    def score(self, layer, context):
        change = context.activations * context.gradients
        return change.flatten(2).sum(2).abs().mean(0)


def changed_loss(model, images, labels, layer, channel):
    """By definition: d loss / d gate at gate 1, for each image, of a gate that multiplies the
    channel's output, as the loss is (its mean over the images); mean of the absolute values."""
    found = []
    for number in range(len(images)):
        gate = torch.ones((), dtype=torch.float64, requires_grad=True)

        def gated(_module, _inputs, output, gate=gate):
            shares = [output[:, c] * gate if c == channel else output[:, c] * 1.0
                      for c in range(output.shape[1])]
            return torch.stack(shares, 1)

        handle = model.get_submodule(layer).register_forward_hook(gated)
        loss = cross_entropy(model(images[number:number + 1]), labels[number:number + 1])
        (slope,) = torch.autograd.grad(loss / len(images), gate)
        found.append(abs(float(slope)))
        handle.remove()
    return sum(found) / len(found)


@pytest.mark.parametrize(("build", "layer"), [(slim, "3"), (Chain, "second")])
def test_a_taylor_criterion_is_its_definition(digits, build, layer):
    torch.manual_seed(1)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # in training mode the batch's would be used
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    calibration = rl.pruners.context.Calibration(model, digits, 12)
    scores = Taylor(0.5).score_of(layer, model.get_submodule(layer), calibration)
    images, labels = calibration.batch
    assert (len(images), len(labels.unique())) == (12, 10)
    double = build()
    double.load_state_dict(model.state_dict())
    double = double.double().eval()
    expected = [changed_loss(double, images.double(), labels, layer, channel)
                for channel in range(len(scores))]
    torch.testing.assert_close(scores.double(), torch.tensor(expected, dtype=torch.float64),
                               rtol=1e-3, atol=1e-8)
    kept = Taylor({layer: len(scores) // 2}).fit(model, digits).keep[layer]
    order = sorted(range(len(expected)), key=expected.__getitem__)
    assert set(kept) == set(order[len(order) - len(kept):])


def test_weight_gradients_are_those_of_the_loss_and_leave_the_network_as_it_was(digits):
    model = slim().train()
    model[0].requires_grad_(False)  # a frozen layer has gradients too
    before = {name: value.clone() for name, value in model.state_dict().items()}
    context = rl.pruners.context.Calibration(model, digits, 16).of("0")
    found = context.weight_gradient
    assert (model.training, model[0].weight.requires_grad) == (True, False)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.requires_grad_(True).eval()
    cross_entropy(model(context.images), context.labels).backward()
    torch.testing.assert_close(found, model[0].weight.grad)


def test_all_layers_share_one_pass_and_weights_alone_need_none(digits):
    passes = []

    class Counted(nn.Sequential):
        def forward(self, images):
            passes.append(torch.is_grad_enabled())
            return super().forward(images)

    class First(rl.pruners.ChannelPruner):
        name = "first"

        def score(self, layer, context):
            assert context.name in names
            return layer.weight.flatten(1).sum(1)

    model = Counted(*slim())
    names = {"0", "3", "6", "9"}
    First(0.5).fit(model, digits)
    without = sum(passes)
    passes.clear()
    Taylor(0.5).fit(model, digits)
    assert sum(passes) == without + 1


class Twice(nn.Module):
    """Its middle layer is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        hidden = torch.relu_(self.again(self.first(images)))
        return self.head(torch.relu_(self.again(hidden)).mean((2, 3)))


def test_a_layer_that_is_used_twice_has_no_activations_of_its_own(digits):
    calibration = rl.pruners.context.Calibration(Twice(), digits, 8)
    with pytest.raises(PlanError, match="again is used more than once"):
        calibration.of("again").activations  # noqa: B018
    assert calibration.of("first").gradients.shape == (8, 4, 32, 32)


def test_a_score_of_another_form_says_which_forms_there_are(digits):
    class Odd(rl.pruners.ChannelPruner):
        name = "odd"

        def score(self, layer, images, labels):
            return layer.weight.flatten(1).sum(1)

    with pytest.raises(PlanError, match=r"Odd.score\(layer, images, labels\) must take"):
        Odd(0.5).fit(slim(), digits)
    with pytest.raises(PlanError, match="no images here"):
        Taylor(0.5).select("0", slim()[0], 4)


@pytest.mark.parametrize("optional", [True, False])
def test_a_score_that_can_do_without_a_context_may(digits, optional):
    class Alone(rl.pruners.ChannelPruner):
        name = "alone"

        def score(self, layer):
            return layer.weight.flatten(1).sum(1)

    class Either(Alone):
        def score(self, layer, context=None):
            assert context is None or context.labels.shape == (64,)
            return super().score(layer)

    pruner = (Either if optional else Alone)({"0": 4})
    model = slim()
    sums = model[0].weight.detach().flatten(1).sum(1)
    expected = tuple(sorted(sums.argsort()[-4:].tolist()))
    assert pruner.fit(model, digits).keep["0"] == pruner.select("0", model[0], 4) == expected
