"""Casts and counters gathered over all layers give what every layer does for itself."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import rethinklab as rl
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.gathered import GATHER_VARIABLE, Gathered
from rethinklab.trainers.step import EagerStep, GraphStep

CPU = torch.device("cpu")


class Tied(nn.Module):
    """Two layers of one weight, a frozen layer, a normalisation at rest, and one that averages
    over all its steps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight
        self.still = nn.Conv2d(3, 4, 1).requires_grad_(False)
        self.rest = nn.BatchNorm2d(4)
        self.mean = nn.BatchNorm2d(4, momentum=None)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 10)

    def train(self, mode=True):
        super().train(mode)
        self.rest.eval()
        return self

    def forward(self, images):
        x = self.second(torch.relu(self.first(images)))
        x = self.norm(self.mean(self.rest(self.still(x))))
        return self.head(x.mean((2, 3)))


NETWORKS = {"vgg11": lambda: rl.build_model("vgg11", width=0.125, seed=0),
            "resnet20": lambda: rl.build_model("resnet20", seed=0),
            "preresnet20": lambda: rl.build_model("preresnet20", seed=0), "tied": Tied}


def backward(model, images, labels, half, gathered=None):
    if gathered:
        gathered.take()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        outputs = model(images)
    loss = cross_entropy(outputs.float(), labels)
    loss.backward()
    if gathered:
        gathered.give_back()
    return loss.item()


@pytest.mark.parametrize("half", [True, False], ids=["bf16", "fp32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_gradients_and_counters_are_those_of_autocast(name, half):
    torch.manual_seed(0)
    plain = NETWORKS[name]().train()
    model = deepcopy(plain)
    gathered = Gathered(model, half)
    names = [n for n, _ in model.named_parameters()]
    for _ in range(2):
        images, labels = torch.rand(8, 3, 32, 32), torch.randint(0, 10, (8,))
        for network in (plain, model):
            network.zero_grad()
        assert backward(plain, images, labels, half) == backward(model, images, labels, half,
                                                                 gathered)
        assert [n for n, _ in model.named_parameters()] == names
        for (where, own), (_, other) in zip(model.named_parameters(), plain.named_parameters(),
                                            strict=True):
            assert (own.grad is None) == (other.grad is None), where
            assert own.grad is None or torch.equal(own.grad, other.grad), where
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(),
                                                 plain.state_dict().values(), strict=True))


def test_whatever_fails_all_is_put_back():
    model = Tied().train()
    before = dict(model.named_parameters(remove_duplicate=False))
    buffers = list(model.state_dict())
    gathered = Gathered(model, True)
    gathered.take()
    assert model.first.weight.dtype == torch.bfloat16
    assert model.first.weight is model.second.weight
    gathered.give_back()
    gathered.give_back()
    after = dict(model.named_parameters(remove_duplicate=False))
    assert all(after[name] is before[name] for name in before)
    assert list(model.state_dict()) == buffers
    assert all(parameter.grad is None for parameter in after.values())


def test_the_switch_leaves_every_layer_to_itself(monkeypatch):
    monkeypatch.setenv(GATHER_VARIABLE, "0")
    model = rl.build_model("vgg11", width=0.125, seed=0).train()
    gathered = Gathered(model, True)
    gathered.take()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(m.num_batches_tracked is not None for m in model.modules()
               if isinstance(m, nn.BatchNorm2d))


class Looks(rl.Callback):
    """Notes what the weights are when a callback sees them."""

    def __init__(self):
        self.seen = []

    def after_backward(self, state):
        self.seen += [(p.dtype, p.grad.dtype) for p in state.model.parameters()]

    after_update = after_backward


def test_callbacks_see_the_weights_themselves(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    found = {}
    for kind in (EagerStep, GraphStep):
        model = rl.build_model("vgg11", width=0.125, seed=0).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        watch = Looks()
        step = kind(TrainState(model, optimizer, rl.Recipe(batch_size=8), 1, range(1)), "bf16",
                    [watch], CPU)
        torch.manual_seed(0)
        step.images, step.labels = torch.rand(8, 3, 32, 32), torch.randint(0, 10, (8,))
        for _ in range(2):
            if kind is GraphStep:
                step._advance_gathered()
            else:
                step._advance(step.images, step.labels)
        assert set(watch.seen) == {(torch.float32, torch.float32)}
        found[kind] = [value.clone() for value in model.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
