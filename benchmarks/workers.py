"""Trials per hour with one worker process and with two, or by one run and by two on one store.

`python -m benchmarks.workers` runs a study of the embedded digits from nothing with each number of
workers, start-up of the workers included. A trial is one seed of one regime, the unpruned network
among them. `--runs` trains as many unpruned networks as there are `--seeds`, first by one
`rethinklab run` without workers, then by two at once on one store, from when all are ready.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rethinklab as rl

RUN = """
import sys
import rethinklab as rl
study = rl.Study.from_dict({study!r})
study.rehearse(study.load())
print("ready", flush=True)
sys.stdin.readline()
rl.run(study, {store!r}, workers=0, progress=False, device="cpu")
"""


def trials_per_hour(study: rl.Study, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        results = rl.run(study, Path(folder) / "runs", workers=workers, progress=False,
                         device="cpu")
        return len(results.frame) / (time.perf_counter() - start) * 3600


def shared_seconds(study: rl.Study, runs: int) -> float:
    """Seconds that so many runs on one store take for a study, start-up left out."""
    with tempfile.TemporaryDirectory() as folder:
        code = RUN.format(study=study.to_dict(), store=str(Path(folder) / "runs"))
        processes = [subprocess.Popen([sys.executable, "-c", code], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                     for _ in range(runs)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        start = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        codes = [process.wait() for process in processes]
        if any(codes):
            raise SystemExit("a run failed")
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--target", default="A")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--runs", action="store_true", help="one run against two on one store")
    options = parser.parse_args()
    study = rl.Study(model=options.model, target=options.target, width=options.width,
                     images=options.images, seeds=options.seeds,
                     regimes=[] if options.runs else None,
                     recipe=rl.Recipe(epochs=options.epochs, lr=0.05))
    print(f"{options.model}, width {options.width:g}, {options.images} images, {options.epochs} "
          f"epochs, {options.seeds} seeds, CPU, 1 thread each")
    if options.runs:
        seconds = {runs: shared_seconds(study, runs) for runs in (1, 2)}
        print(f"1 run on a store   {seconds[1]:8.1f} s\n2 runs on a store  {seconds[2]:8.1f} s, "
              f"{seconds[2] / seconds[1]:.2f} of the time")
        return
    rates = {workers: trials_per_hour(study, workers) for workers in (1, 2)}
    print(f"1 worker   {rates[1]:8.0f} trials/hour")
    print(f"2 workers  {rates[2]:8.0f} trials/hour, {rates[2] / rates[1]:.2f} times as many")


if __name__ == "__main__":
    main()
