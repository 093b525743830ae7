"""Training on one processor core: the kit against a bare step and against the usual loop.

`python -m benchmarks.cpu [--precision bf16 --out benchmarks/results]` prints milliseconds of a
step at batch 64, the median over rounds in which the ways take turns so that all see the same
machine: forward, backward and update on one batch that never changes; the kit's loop, augmentation
included; and torchvision's transforms on PIL images with a DataLoader in the same process.
Evaluation is not counted. Writes cpu-PRECISION.csv.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn.functional import cross_entropy

import rethinklab as rl
from benchmarks.usual import usual_seconds
from rethinklab.data.batches import TrainingBatches
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.step import make_step

NETWORKS: dict[str, dict[str, Any]] = {
    "vgg11": {"width": 0.125}, "vgg16": {"width": 0.25}, "resnet20": {}, "preresnet20": {},
    "densenet40": {}}
CPU, BATCH = torch.device("cpu"), 64


def ways(name: str, precision: str, steps: int) -> dict[str, Callable[[], float]]:
    """Each way to train, as a function that gives the seconds of a step."""
    # crop and flip as on CIFAR, whatever the embedded task would do
    data = replace(rl.load_data("digits").subset(BATCH * steps, 10), pad=4, flip=True)
    built = rl.build_model(name, **NETWORKS[name])
    model = deepcopy(built).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4,
                                fused=True)
    batches = TrainingBatches(data, BATCH, seed=0)
    recipe = rl.Recipe(batch_size=BATCH)
    step = make_step(TrainState(model, optimizer, recipe, len(batches), range(1)), precision, [],
                     CPU)
    images, labels = next(iter(batches.epoch(0)))

    def bare() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                outputs = model(images)
            cross_entropy(outputs.float(), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def kit() -> None:
        for batch in batches.epoch(0):
            step(*batch)

    def timed(work: Callable[[], None]) -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / steps

    return {"bare": lambda: timed(bare), "kit": lambda: timed(kit),
            "usual": lambda: usual_seconds(deepcopy(built), 0, steps, BATCH, CPU)}


def measure(name: str, precision: str, steps: int, rounds: int) -> dict[str, Any]:
    """A row: median milliseconds of a step each way, and how the kit compares."""
    functions = ways(name, precision, steps)
    turns = pd.DataFrame([{way: seconds() for way, seconds in functions.items()}
                          for _ in range(rounds + 1)])
    median = turns.iloc[1:].median()  # the first round warms up
    return {"network": name, "width": NETWORKS[name].get("width", 1.0), "precision": precision,
            **{f"{way}_ms": 1000 * value for way, value in median.items()},
            "of_bare": median["bare"] / median["kit"], "of_usual": median["usual"] / median["kit"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = pd.DataFrame([measure(name, options.precision, options.steps, options.rounds)
                         for name in options.models])
    rows = rows.assign(device=f"cpu ({platform.machine()}), 1 thread", torch=torch.__version__,
                       date=time.strftime("%Y-%m-%d", time.gmtime()))
    print(rows.drop(columns=["device", "torch", "date"]).round(2).to_string(index=False))
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / f"cpu-{options.precision}.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
