"""ThiNet's greedy choice from the Gram matrix against the definition, on the same samples.

`python -m benchmarks.gram [--channels 512 --samples 2000 --remove 256]`
prints seconds and whether the channels chosen are the same ones in the same order. "definition"
adds up the removed channels for every candidate; "running sum" keeps that sum between steps;
"Gram matrix" includes the time of X^T X.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from rethinklab.pruners.gram import greedy_removal


def by_definition(samples: np.ndarray, remove: int) -> list[int]:
    taken: list[int] = []
    for _ in range(remove):
        best, chosen = np.inf, -1
        for candidate in range(samples.shape[1]):
            if candidate in taken:
                continue
            value = float((samples[:, [*taken, candidate]].sum(1) ** 2).sum())
            if value < best:
                best, chosen = value, candidate
        taken.append(chosen)
    return taken


def by_running_sum(samples: np.ndarray, remove: int) -> list[int]:
    taken: list[int] = []
    lost = np.zeros(len(samples))
    for _ in range(remove):
        values = ((lost[:, None] + samples) ** 2).sum(0)
        values[taken] = np.inf
        taken.append(int(values.argmin()))
        lost += samples[:, taken[-1]]
    return taken


def by_gram(samples: np.ndarray, remove: int) -> list[int]:
    values = torch.from_numpy(samples)
    return greedy_removal(values.T @ values, remove)


def timed(method: Callable[[np.ndarray, int], list[int]], samples: np.ndarray,
          remove: int) -> tuple[float, list[int]]:
    start = time.perf_counter()
    order = method(samples, remove)
    return time.perf_counter() - start, order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--remove", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    random = np.random.default_rng(0)
    samples = random.standard_normal((options.samples, options.channels))
    samples *= random.uniform(0.1, 2, options.channels)
    print(f"{options.channels} channels, {options.samples} samples, {options.remove} removed, "
          f"{options.threads} thread(s)")
    by_gram(samples, 1)  # the first product starts the library
    fast, order = min(timed(by_gram, samples, options.remove) for _ in range(5))
    print(f"{'way':12} {'seconds':>9} {'times':>7}  same choice")
    print(f"{'Gram matrix':12} {fast:9.4f} {1:7.0f}")
    for name, method in (("running sum", by_running_sum), ("definition", by_definition)):
        spent, other = timed(method, samples, options.remove)
        print(f"{name:12} {spent:9.4f} {spent / fast:7.0f}  {'yes' if other == order else 'NO'}")


if __name__ == "__main__":
    main()
