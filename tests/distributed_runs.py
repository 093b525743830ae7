"""What torchrun's processes do for `test_distributed`: `main` trains, and each process writes what
it got for the tests to compare."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import rethinklab as rl
from rethinklab.data.batches import TrainingBatches
from rethinklab.errors import ConfigError, DivergenceError, OutOfTime
from rethinklab.models.selection import SelectConv2d
from rethinklab.pruners.slimming import SparsityPenalty
from rethinklab.pruners.sss import SparseScales
from rethinklab.trainers import distributed
from rethinklab.trainers.evaluate import correctness
from rethinklab.trainers.masks import HoldMasks

RECIPE = rl.Recipe(epochs=2, lr=0.02, batch_size=16, milestones=())
PENALTY = 1e-2
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Plain(nn.Module):
    """No normalisation; beside the class scores it gives others in training, and it has a layer
    that nobody reads."""

    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv = SelectConv2d.from_conv(nn.Conv2d(8, 12, 3, stride=2, padding=1), [0, 2, 3, 7])
        self.unread = nn.Linear(12, 12)
        self.aside = nn.Linear(8, classes)
        self.head = nn.Linear(12, classes)

    def forward(self, images):
        maps = torch.relu(self.stem(images))
        scores = self.head(torch.relu(self.conv(maps)).mean((2, 3)))
        return (scores, self.aside(maps.mean((2, 3)))) if self.training else scores


class Normalised(nn.Module):
    """Normalisations of maps and of features."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(12, momentum=None)
        self.features = nn.Linear(12, 16)
        self.bn3 = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        maps = torch.relu(self.bn2(self.conv(torch.relu(self.bn1(self.stem(images))))))
        return self.head(torch.relu(self.bn3(self.features(maps.mean((2, 3))))))


class Remembers(nn.Module):
    """Keeps the mean of the images that its process saw."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.head = nn.Linear(3, 10)

    def forward(self, images):
        if self.training:
            self.seen = images.mean()
        return self.head(images.mean((2, 3)))


class Watch(rl.Callback):
    """Keeps the first step's gradients, what the epoch's random stream says, and whether the
    network and a copy of it are plain ones meanwhile."""

    def __init__(self):
        self.gradients, self.draws, self.plain = None, [], True

    def after_backward(self, state):
        if self.gradients is None:
            self.gradients = {name: p.grad.clone() for name, p in state.model.named_parameters()
                              if p.grad is not None}

    def after_step(self, state):
        self.draws.append(float(torch.rand(1)))

    def before_test(self, state):
        copy = deepcopy(state.model)
        self.plain &= type(copy) is Plain and list(copy.state_dict()) == list(Plain().state_dict())


def drawn(build, *arguments):
    with rl.seeds.global_stream(0, "drawn"):
        return build(*arguments)


def masks(model):
    return {"stem.weight": torch.arange(model.stem.weight.numel()).view_as(model.stem.weight) % 3
            > 0}


def streamed(root, name="tree"):
    return replace(rl.load_data(f"imagenet:{root / name}", size=32), workers=0)


def in_memory():
    return rl.load_data("digits").subset(60, 33)


def outcome(result, **more):
    state = {name: value.clone() for name, value in result.model.state_dict().items()}
    return {"state": state, "history": result.history.to_dict("list"), **more}


def fit(model, data, recipe=RECIPE, **options):
    return rl.train(model, data, recipe, device="cpu", progress=False, **options)


def plain_runs(root):
    """What any number of processes must do alike, for there is no normalisation in it."""
    small, watch, model = in_memory(), Watch(), drawn(Plain)
    tested = replace(small, test=rl.load_data("digits").train.take(torch.arange(1200)))
    scales = SparseScales(1e-2, "channels", small.input_shape)
    masked = fit(model, small, callbacks=[HoldMasks(masks(model)), watch])
    return {
        "streamed": outcome(fit(drawn(Plain, 3), replace(streamed(root), workers=1),
                                replace(RECIPE, batch_size=7))),  # 22 images: 7, 7 and 8
        "uneven": outcome(fit(model, small.subset(53, 20))),  # 16, 16, 16 and 5, or 21
        "masked": outcome(masked, gradients=watch.gradients, draws=watch.draws, plain=watch.plain),
        "scaled": outcome(fit(model, small, callbacks=[scales]),
                          scales=[scale.scale for scale in scales.scales]),
        "correct": correctness(masked.model, tested),
        "tested": rl.evaluate(masked.model, tested),
    }


def shared_runs(root):
    """What only several processes do."""
    small, number, file = in_memory(), distributed.rank(), root / "run.pt"
    model = drawn(Normalised)
    penalty = SparsityPenalty(PENALTY)
    found = {"parts": distributed.batch_parts()}
    found["normalised"] = outcome(fit(model, small, callbacks=[penalty]))
    with torch.no_grad():  # only process 0 has the right weights
        for tensor in model.parameters():
            tensor.add_(number)
    trained = fit(model, small)
    found["whole"] = outcome(trained)
    if number == 0:  # it is no longer of several processes
        trained.model(torch.zeros(4, 3, 32, 32)).sum().backward()
    found["stopped"] = said(OutOfTime, lambda: fit(
        drawn(Normalised), small, checkpoint=file, stop=lambda state: number == 0))
    distributed.barrier()
    found["kept"] = [path.name for path in root.glob("run.pt*")]
    found["names"] = list(torch.load(file, weights_only=True)["model"])
    distributed.barrier()
    found["resumed"] = outcome(fit(drawn(Normalised), small, checkpoint=file))
    distributed.barrier()
    found["left"] = [path.name for path in root.glob("run.pt*")]
    found["diverged"] = said(DivergenceError,
                             lambda: fit(drawn(Normalised), small, rl.Recipe(epochs=4, lr=1e6)))
    found["seeds"] = said(ConfigError, lambda: fit(drawn(Normalised), small, seed=number))
    found["tiny"] = said(ConfigError,
                         lambda: fit(drawn(Normalised), small, replace(RECIPE, batch_size=3)))
    found["remembers"] = outcome(fit(Remembers(), small))
    found["objects"] = (distributed.broadcast_object({"from": number}),
                        distributed.gather_objects(number))
    return found


def said(kind, act):
    try:
        act()
    except kind as error:
        return str(error)
    return None


def split_by_hand(processes):
    """`Normalised` after two epochs of batches that are normalised in parts, the first of which
    moves the running statistics; under the penalty on the scales."""
    small, model = in_memory(), drawn(Normalised).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    for epoch in range(2):
        images, labels = map(torch.cat, zip(*TrainingBatches(small, 16, 0).epoch(epoch),
                                            strict=True))
        for start, end in ((0, 16), (16, 32), (32, 48), (48, 60)):
            optimizer.zero_grad()
            cuts = [start + (end - start) * k // processes for k in range(processes + 1)]
            for first, last in pairwise(cuts):
                moved = model if first == start else deepcopy(model)
                loss = nn.functional.cross_entropy(moved(images[first:last]), labels[first:last],
                                                   reduction="sum") / (end - start)
                for mine, grad in zip(model.parameters(), torch.autograd.grad(
                        loss, list(moved.parameters())), strict=True):
                    mine.grad = grad if mine.grad is None else mine.grad + grad
            for norm in (model.bn1, model.bn2, model.bn3):
                norm.weight.grad += PENALTY * norm.weight.detach().sign()
            optimizer.step()
    return model.state_dict()


def main(root):
    with distributed.start("cpu"):
        found = {**plain_runs(root), **shared_runs(root), "threads": torch.get_num_threads()}
        torch.save(found, root / f"found-{distributed.world()}-{distributed.rank()}.pt")
        distributed.barrier()
        if distributed.world() == 3:  # a file that one process only comes across
            fit(drawn(Plain, 3), streamed(root, "broken"))
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
