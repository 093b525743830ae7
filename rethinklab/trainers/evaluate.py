"""Accuracy and loss of a network on a set of images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import AnyData
from rethinklab.data.batches import test_batches


def evaluate(model: nn.Module, data: AnyData) -> tuple[float, float]:
    """(accuracy, loss) on the test images: fraction right in [0, 1] and mean cross-entropy."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        return score(model, test_batches(data, device))
    finally:
        model.train(was_training)


@torch.no_grad()
def correctness(model: nn.Module, data: AnyData) -> Tensor:
    """Which test images the network gets right, bool (N,) on the CPU, in the order of the data:
    for comparing two networks image by image."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        return torch.cat([(model(images).argmax(1) == labels)
                          for images, labels in test_batches(data, device)]).cpu()
    finally:
        model.train(was_training)


@torch.no_grad()
def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Counts images, not batches, so that a short last batch weighs what it should. The sums stay
    on the device until the last batch is through."""
    right, loss, count = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.float64), 0
    for images, labels in batches:
        outputs = model(images)
        if not count:
            right, loss = right.to(outputs.device), loss.to(outputs.device)
        right += (outputs.argmax(1) == labels).sum()
        loss += cross_entropy(outputs.float(), labels, reduction="sum")
        count += len(labels)
    return int(right) / count, float(loss) / count
