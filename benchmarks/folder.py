"""How long a folder of images takes to load, and what memory many processes need for it.

`python -m benchmarks.folder PATH` empties nothing: it keeps its decoded images in a cache of its
own. It loads the folder a first time, then again and again, fingerprint included, each time in a
new process that has imported everything before the clock starts. Then so many `--workers` load it
at once and go through a batch of training, and their proportional set size tells what they hold,
shared pages counted once (Linux only).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

LOAD = """
import sys, time
import rethinklab as rl
from rethinklab.data.batches import TrainingBatches
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
data = rl.load_data("folder:" + sys.argv[1], size=int(sys.argv[2]) or None, progress=False)
data.fingerprint
print(time.perf_counter() - start, data.train.pixels.numel() + data.test.pixels.numel(), flush=True)
sys.stdin.readline()
batches = TrainingBatches(data, 64, seed=0)
next(batches.epoch(0))
print("trained", flush=True)
sys.stdin.readline()
"""


class Loader:
    """A process that loads the folder step by step, as it is told."""

    def __init__(self, path: str, size: int) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", LOAD, path, str(size)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the folder was not loaded")
        return line

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def step(self) -> str:
        self.go_on()
        return self.answer()

    def close(self) -> None:
        self.process.communicate("go\ngo\n")

    def held(self, file: str = "smaps_rollup", of: str = "[rollup]") -> float:
        """MB of the process's proportional set size, of all or, from "smaps", of mapped files
        whose names end so."""
        found, counts = 0, False
        for line in Path(f"/proc/{self.process.pid}/{file}").read_text().splitlines():
            if not line.split(maxsplit=1)[0].endswith(":"):  # the head of a mapping
                counts = line.endswith(of)
            elif counts and line.startswith("Pss:"):
                found += int(line.split()[1])
        return found * 1024 / 1e6


def seconds(path: str, size: int) -> tuple[float, float]:
    """How long one loading takes, and how many MB of pixels there are."""
    loader = Loader(path, size)
    taken, values = loader.step().split()
    loader.close()
    return float(taken), int(values) / 1e6


def memory(path: str, size: int, workers: int) -> tuple[float, float]:
    """MB that all workers hold together of the mapped pixels while they train on them, and what
    they hold besides that they did not before they loaded the folder."""
    loaders = [Loader(path, size) for _ in range(workers)]
    before = sum(loader.held() for loader in loaders)
    for _ in range(2):  # load, then train
        for loader in loaders:
            loader.go_on()
        for loader in loaders:
            loader.answer()
    after = sum(loader.held() for loader in loaders)
    mapped = sum(loader.held("smaps", ".pixels") for loader in loaders)
    for loader in loaders:
        loader.close()
    return mapped, after - before - mapped


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="the folder of images")
    parser.add_argument("--size", type=int, default=0, help="side in pixels [default: their own]")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args(arguments)
    path = str(Path(options.path).expanduser())
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CACHE_HOME"] = home
        first, pixels = seconds(path, options.size)
        print(f"{pixels:.0f} MB of pixels\nfirst load   {first:6.2f} s", flush=True)
        later = [seconds(path, options.size)[0] for _ in range(options.repeats)]
        print(f"later loads  {min(later):6.2f} s at best, {median(later):.2f} s in the median of "
              f"{len(later)} (goal: 1.5 s for 60,000 small images)", flush=True)
        if Path("/proc/self/smaps_rollup").exists():
            mapped, more = memory(path, options.size, options.workers)
            print(f"{options.workers} workers    {mapped:6.0f} MB of pixels together, and "
                  f"{more / options.workers:.0f} MB more in each than before it loaded them")


if __name__ == "__main__":
    main()
