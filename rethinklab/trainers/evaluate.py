"""Accuracy and loss of a network on a set of images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import ImageData
from rethinklab.data.batches import plain_batches


def evaluate(model: nn.Module, data: ImageData) -> tuple[float, float]:
    """(accuracy, loss) on the test images: fraction right in [0, 1] and mean cross-entropy."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = data.test.to(device)
    was_training = model.training
    model.eval()
    try:
        return score(model, plain_batches(data, images))
    finally:
        model.train(was_training)


@torch.no_grad()
def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Counts images, not batches, so that a short last batch weighs what it should."""
    right, loss, count = 0, 0.0, 0
    for images, labels in batches:
        outputs = model(images)
        right += int((outputs.argmax(1) == labels).sum())
        loss += float(cross_entropy(outputs.float(), labels, reduction="sum"))
        count += len(labels)
    return right / count, loss / count
