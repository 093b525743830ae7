"""Training against a bare loop on a fixed batch, and the cost of augmentation.

`python -m benchmarks.throughput [--model vgg16 --width 0.125 --batch-size 64]`
prints images per second of `rl.train`'s loop and of forward-backward-step on one batch that never
changes, in turns so that both see the same machine, and microseconds per augmented image.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

import torch
from torch.nn.functional import cross_entropy

import rethinklab as rl
from rethinklab.data.batches import TrainingBatches
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.loop import _epoch, pick_device
from rethinklab.trainers.step import make_step


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    # crop and flip as on CIFAR, whatever the embedded task would do
    data = replace(rl.load_data("digits").subset(options.images, 10), pad=4, flip=True).to(device)
    model = rl.build_model(options.model, width=options.width).to(
        device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4,
                                fused=True)
    batches = TrainingBatches(data, options.batch_size, seed=0)
    recipe = rl.Recipe(batch_size=options.batch_size)
    state = TrainState(model, optimizer, recipe, len(batches), range(1))
    step = make_step(state, options.precision, [], device)
    images, labels = next(iter(batches.epoch(0)))

    def bare() -> None:
        for _ in range(len(batches)):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
                outputs = model(images)
            cross_entropy(outputs.float(), labels).backward()
            optimizer.step()

    def ours() -> None:
        _epoch(state, batches, step, [])

    def augment() -> None:
        for _ in batches.epoch(0):
            pass

    spent: dict[str, list[float]] = {"bare": [], "ours": [], "augment": []}
    for number in range(options.rounds + 1):
        for name, work in (("bare", bare), ("ours", ours), ("augment", augment)):
            wait(device)
            start = time.perf_counter()
            work()
            wait(device)
            if number:  # the first round warms up
                spent[name].append((time.perf_counter() - start) / options.images)
    bare_time, our_time, augment_time = (median(spent[n]) for n in ("bare", "ours", "augment"))
    print(f"{options.model}, width {options.width:g}, batch {options.batch_size}, {device.type}, "
          f"{options.precision}, {options.threads} thread(s)")
    print(f"bare loop    {1 / bare_time:8.0f} images/s")
    print(f"rl.train     {1 / our_time:8.0f} images/s, {bare_time / our_time:.3f} of it")
    print(f"augmentation {1e6 * augment_time:8.1f} us/image")


if __name__ == "__main__":
    main()
