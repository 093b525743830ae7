"""How many trainings help one GPU at once: from its memory and a short probe of the network.

A step of a small network at a small batch leaves most of a GPU idle. How much is found by giving
it the same images in larger batches: a card that then takes them r times faster had room for about
r such steps at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from rethinklab.experiments.trial import Stage

if TYPE_CHECKING:
    import torch
    from torch import nn

    from rethinklab.data import AnyData

FULLER, STEPS, WARM = 8, 40, 5
CONTEXT = 2**30  # bytes of a process on a GPU besides torch's: the driver's context and kernels
MOST = 8  # on one GPU; more were no faster for any network that was measured
WORTH = 1.15  # times faster in large batches, below which one training fills the card


@dataclass(frozen=True)
class Need:
    """What one training takes of a GPU. memory: bytes. room: how many times faster the same
    images go in batches `FULLER` times as large."""

    memory: int
    room: float


def workers_on(free: int, need: Need) -> int:
    """How many trainings to run at once on a GPU with `free` bytes."""
    fitting = int(0.9 * free) // need.memory
    helpful = 1 if need.room < WORTH else round(3 * need.room)
    return max(1, min(MOST, fitting, helpful))


def training_of(stages: Sequence[Stage]) -> Stage:
    """The large network's training that the first of the stages is or rests on."""
    stage = stages[0]
    while stage.needs:
        stage = stage.needs[0]
    return stage


def probe(stage: Stage, device: str) -> int:
    """How many trainings of the stage's network to run at once on the GPU; to be called in a
    process that uses it for nothing else."""
    import torch

    from rethinklab.data.streamed import StreamedData
    from rethinklab.devices import pick_device
    from rethinklab.experiments.stages import build_stage_model, stage_data
    from rethinklab.trainers.evaluate import evaluate

    target, spec = pick_device(device), stage.spec
    images = stage_data(stage)
    if isinstance(images, StreamedData):
        return 1  # photographs of ImageNet's size fill a card, and the disk
    free, _ = torch.cuda.mem_get_info(target)
    data, seconds, memory = images.to(target), [], 0
    batch = min(spec["recipe"]["batch_size"], len(data.train) // 2)
    for size in (batch, min(batch * FULLER, len(data.train))):
        model = build_stage_model(spec.get("large", spec)).to(target)
        try:
            seconds.append(seconds_per_image(model, data, size, spec["precision"], target))
        except torch.OutOfMemoryError:
            return 1
        if not memory:
            evaluate(model, data)
            memory = torch.cuda.max_memory_reserved(target) + CONTEXT
    torch.cuda.empty_cache()
    return workers_on(free + CONTEXT, Need(memory, seconds[0] / seconds[1]))


def seconds_per_image(model: nn.Module, data: AnyData, batch_size: int, precision: str,
                      device: torch.device) -> float:
    """Of training steps as a run does them, the augmentation left out."""
    import torch

    from rethinklab.data.batches import training_batches
    from rethinklab.trainers.callbacks import TrainState
    from rethinklab.trainers.recipe import Recipe
    from rethinklab.trainers.step import make_step

    recipe = Recipe(lr=1e-4, batch_size=batch_size)
    optimizer = torch.optim.SGD(model.train().parameters(), recipe.lr, recipe.momentum,
                                weight_decay=recipe.weight_decay, fused=True)
    batches = training_batches(data, batch_size, 0)
    full = list(islice((b for b in batches.epoch(0) if len(b[1]) == batch_size), 2))
    step = make_step(TrainState(model, optimizer, recipe, len(batches), range(1)), precision, [],
                     device)
    for number in range(WARM + STEPS):
        if number == WARM:
            torch.cuda.synchronize(device)
            start = time.perf_counter()
        step(*full[number % len(full)])
    torch.cuda.synchronize(device)
    step.close()
    return (time.perf_counter() - start) / STEPS / batch_size
