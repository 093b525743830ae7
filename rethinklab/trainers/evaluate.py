"""Accuracy and loss of a network on a set of images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import AnyData
from rethinklab.data.batches import test_batches
from rethinklab.devices import sum_type
from rethinklab.models.outputs import Reading
from rethinklab.trainers import distributed


def evaluate(model: nn.Module, data: AnyData) -> tuple[float, float]:
    """(accuracy, loss) on the test images: fraction right in [0, 1] and mean cross-entropy.

    Of a network that gives several outputs the first counts (see `models.outputs.logits`, which
    raises ConfigError where that is not clear).
    Where several processes train together each of them must call this: they take turns at the
    batches, and all get the same numbers.
    """
    device = _device(model)
    was_training = model.training
    model.eval()
    try:
        return score(model, test_batches(data, device, distributed.part()))
    finally:
        model.train(was_training)


@torch.no_grad()
def correctness(model: nn.Module, data: AnyData) -> Tensor:
    """Which test images the network gets right, bool (N,) on the CPU, in the order of the data:
    for comparing two networks image by image. Several processes must all call it, as `evaluate`.
    """
    device = _device(model)
    was_training = model.training
    model.eval()
    try:
        read = Reading(model)
        own = [(read(images).argmax(1) == labels)
               for images, labels in test_batches(data, device, distributed.part())]
    finally:
        model.train(was_training)
    shares = distributed.gather_objects([hits.cpu() for hits in own])
    return torch.cat([shares[number % len(shares)][number // len(shares)]
                      for number in range(sum(len(share) for share in shares))])


@torch.no_grad()
def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """(accuracy, loss) over the batches of all processes, of which this one has `batches`.

    Counts images, not batches, so that a short last batch weighs what it should. The sums stay on
    the device until the last batch is through.
    """
    read = Reading(model)
    right = torch.zeros((), dtype=torch.int64, device=_device(model))
    loss, count = torch.zeros_like(right, dtype=sum_type(right.device)), 0
    for images, labels in batches:
        outputs = read(images)
        if not count:
            right, loss = right.to(outputs.device), loss.to(outputs.device)
        right += (outputs.argmax(1) == labels).sum()
        loss += cross_entropy(outputs.float(), labels, reduction="sum")
        count += len(labels)
    hits, losses, images_seen = distributed.totals([right, loss, torch.full_like(right, count)])
    return hits / images_seen, losses / images_seen


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
