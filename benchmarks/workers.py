"""Trials per hour with one worker process and with two: `python -m benchmarks.workers`.

A study of the embedded digits is run from nothing with each number of workers, start-up of the
workers included. A trial is one seed of one regime, the unpruned network among them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import rethinklab as rl


def trials_per_hour(study: rl.Study, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        results = rl.run(study, Path(folder) / "runs", workers=workers, progress=False,
                         device="cpu")
        return len(results.frame) / (time.perf_counter() - start) * 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--target", default="A")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    study = rl.Study(model=options.model, target=options.target, width=options.width,
                     images=options.images, seeds=options.seeds,
                     recipe=rl.Recipe(epochs=options.epochs, lr=0.05))
    rates = {workers: trials_per_hour(study, workers) for workers in (1, 2)}
    print(f"{options.model}, width {options.width:g}, {options.images} images, {options.epochs} "
          f"epochs, {options.seeds} seeds, CPU, 1 thread each")
    print(f"1 worker   {rates[1]:8.0f} trials/hour")
    print(f"2 workers  {rates[2]:8.0f} trials/hour, {rates[2] / rates[1]:.2f} times as many")


if __name__ == "__main__":
    main()
