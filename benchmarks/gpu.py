"""Seconds for an epoch of CIFAR's size on a GPU, step by step and from a CUDA graph.

`python -m benchmarks.gpu [--models vgg16 resnet56 --steps 200]`
times some steps of each network, augmentation included, and scales them to 50,000 images; then
checks that both kinds of steps learn the same. Ends with 1 where they do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, count, islice
from typing import Any

import torch
from torch import Tensor, nn

import rethinklab as rl
from rethinklab.data.batches import TrainingBatches
from rethinklab.models import MODELS
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.step import EagerStep, GraphStep, make_step

NETWORKS: dict[str, dict[str, Any]] = {
    "vgg16": {}, "vgg19": {"variant": "slimming"}, "resnet56": {}, "resnet110": {},
    "preresnet164": {}, "densenet40": {}}
IMAGES, BATCH, CHECKED, TOLERANCE = 50_000, 64, 20, 0.02


def random_images(total: int = IMAGES) -> rl.ImageData:
    draws = torch.Generator().manual_seed(0)

    def part(size: int) -> rl.Images:
        return rl.Images(torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8,
                                       generator=draws),
                         torch.randint(0, 10, (size,), generator=draws))

    return rl.ImageData("random", part(total), part(100), tuple("abcdefghij"),
                        (0.5,) * 3, (0.25,) * 3)


def prepare(model: nn.Module, precision: str, capture: bool, device: torch.device) -> EagerStep:
    """Steps on a copy of `model`."""
    model = deepcopy(model).to(device, memory_format=torch.channels_last).train()
    recipe = rl.Recipe(lr=0.01, batch_size=BATCH)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum,
                                weight_decay=recipe.weight_decay, fused=True)
    state = TrainState(model, optimizer, recipe, IMAGES // BATCH, range(1))
    return make_step(state, precision, [], device, capture)


def endless(batches: TrainingBatches) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches, epoch after epoch."""
    every = chain.from_iterable(batches.epoch(epoch) for epoch in count())
    return (batch for batch in every if len(batch[1]) == BATCH)


def seconds_per_epoch(step: EagerStep, batches: TrainingBatches, steps: int) -> float:
    supply = endless(batches)
    for batch in islice(supply, 20):  # kernels are loaded, the graph is recorded
        step(*batch)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batch in islice(supply, steps):
        step(*batch)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps * IMAGES / BATCH


def learn(step: EagerStep, batches: TrainingBatches) -> tuple[float, int, int]:
    """(mean loss, steps, images) of the first steps."""
    step.start_epoch()
    sizes = []
    for images, labels in islice(endless(batches), CHECKED):
        step(images, labels)
        sizes.append(len(labels))
    return step.totals()[0] / sum(sizes), len(sizes), sum(sizes)


def measure(name: str, precision: str, batches: TrainingBatches, steps: int,
            device: torch.device) -> bool:
    """Prints a row; False where the two kinds of steps do not learn the same."""
    model = rl.build_model(name, **NETWORKS[name])
    learnt, cells = [], []
    recorded = False
    for capture in (False, True):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step = prepare(model, precision, capture, device)
        learnt.append(learn(step, batches))
        spent = seconds_per_epoch(step, batches, steps if capture else max(1, steps // 2))
        cells.append(f"{spent:8.2f} s {torch.cuda.max_memory_reserved() / 2**30:6.2f} GiB")
        if isinstance(step, GraphStep):
            recorded = step.replays == CHECKED + 20 + steps
        step.close()
        del step
    (loss, *counts), (replayed_loss, *replayed_counts) = learnt
    same = counts == replayed_counts and abs(loss - replayed_loss) <= TOLERANCE * loss
    verdict = ("same" if same else "DIFFERENT") if recorded else "NOT RECORDED"
    print(f"{name:13} {precision:5} {cells[0]} {cells[1]}   {loss:.5f} {replayed_loss:.5f} "
          f"{verdict}", flush=True)
    return same and recorded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[n for n in NETWORKS if n in MODELS],
                        choices=list(NETWORKS))
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This benchmark needs a GPU that torch can use.")
    device = torch.device("cuda")
    batches = TrainingBatches(random_images().to(device), BATCH, seed=0)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch {BATCH}, "
          f"{batches.group} batches augmented at once")
    print(f"{'epoch of 50,000 images':19} {'eager':>16} {'memory':>6} {'graph':>11} {'memory':>8}"
          f"      loss after {CHECKED} steps")
    start = time.perf_counter()
    good = [measure(name, precision, batches, options.steps, device)
            for name in options.models for precision in options.precisions]
    print(f"{sum(good)} of {len(good)} learn the same; {time.perf_counter() - start:.0f} s in all")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
