"""Seconds per epoch and seed on a GPU: one training at a time, four and eight at once, and the loop
that one would write without the kit.

`python -m benchmarks.gpu [--models vgg16 resnet56 --out benchmarks/results]` times steps of each
network at batch 64 in bf16, augmentation included, and scales them to the 50,000 images of CIFAR.
Several at once are processes that share the GPU by MPS where that can be had. The usual loop is
torchvision's transforms on PIL images, a DataLoader with 4 and with 12 workers, fp32 and a loss
that is read back in every step. Writes gpu.csv and gpu.svg. Ends with 1 where networks that train
together do not learn what one learns alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import rethinklab as rl
from benchmarks.usual import usual_seconds
from rethinklab.data.batches import TrainingBatches
from rethinklab.experiments.engines.mps import serve
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.gathered import GATHER_VARIABLE
from rethinklab.trainers.step import EagerStep, GraphStep, make_step

NETWORKS: dict[str, dict[str, Any]] = {
    "vgg16": {}, "vgg19": {"variant": "slimming"}, "resnet56": {}, "resnet110": {},
    "preresnet164": {}, "densenet40": {}, "vgg11": {"width": 0.125}}
IMAGES, BATCH, CHECKED, TOLERANCE = 50_000, 64, 8, 0.02
TOGETHER, USUAL, LOADERS = (1, 4, 8), ("vgg16", "resnet56"), (4, 12)
PATIENCE = 120  # seconds for which a process waits for the others


def random_images(total: int = IMAGES) -> rl.ImageData:
    draws = torch.Generator().manual_seed(0)

    def part(size: int) -> rl.Images:
        return rl.Images(torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8,
                                       generator=draws),
                         torch.randint(0, 10, (size,), generator=draws))

    return rl.ImageData("random", part(total), part(100), tuple("abcdefghij"),
                        (0.5,) * 3, (0.25,) * 3)


def prepare(model: nn.Module, precision: str, device: torch.device) -> EagerStep:
    """Steps on a copy of `model`, as a training does them."""
    model = deepcopy(model).to(device, memory_format=torch.channels_last).train()
    recipe = rl.Recipe(lr=0.01, batch_size=BATCH)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum,
                                weight_decay=recipe.weight_decay, fused=True)
    state = TrainState(model, optimizer, recipe, IMAGES // BATCH, range(1))
    return make_step(state, precision, [], device)


def endless(batches: TrainingBatches) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches, epoch after epoch."""
    every = chain.from_iterable(batches.epoch(epoch) for epoch in count())
    return (batch for batch in every if len(batch[1]) == BATCH)


def begin_again(step: EagerStep, model: nn.Module) -> None:
    """Set weights, buffers and momentum to what they are in a new training of `model`."""
    with torch.no_grad():
        for own, first in zip((*step.state.model.parameters(), *step.state.model.buffers()),
                              (*model.parameters(), *model.buffers()), strict=True):
            own.copy_(first)
        for memory in step.state.optimizer.state.values():
            memory["momentum_buffer"].zero_()


def learn(step: EagerStep, model: nn.Module, batches: TrainingBatches) -> float:
    """The mean loss of the first steps of a training of `model`."""
    begin_again(step, model)
    step.start_epoch()
    for batch in islice(endless(batches), CHECKED):
        step(*batch)
    return step.totals()[0] / (CHECKED * BATCH)


def run_steps(step: EagerStep, batches: TrainingBatches, steps: int) -> float:
    """Seconds that so many steps take."""
    supply = islice(endless(batches), steps)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batch in supply:
        step(*batch)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def work(number: int, names: Sequence[str], together: Sequence[int], steps: int, turn: Any,
         rows: Any) -> None:
    """One of the processes: all record their steps, learn alone (the first) and together, and run
    so many at once."""
    device = torch.device("cuda")
    batches = TrainingBatches(random_images().to(device), BATCH, seed=0)
    for name in names:
        torch.cuda.reset_peak_memory_stats()
        model = rl.build_model(name, **NETWORKS[name])
        step = prepare(model, "bf16", device)
        run_steps(step, batches, 20)
        turn.wait(PATIENCE)
        alone = learn(step, model, batches) if number == 0 else None
        turn.wait(PATIENCE)
        beside = learn(step, model, batches)
        memory = torch.cuda.max_memory_reserved() / 2**30
        recorded = isinstance(step, GraphStep) and step.graph is not None
        for trainings in together:
            turn.wait(PATIENCE)
            seconds = run_steps(step, batches, steps) if number < trainings else None
            rows.put({"network": name, "trainings": trainings, "process": number,
                      "seconds": seconds, "alone": alone, "together": beside,
                      "gib": memory, "recorded": recorded})
        step.close()
        del step, model
        torch.cuda.empty_cache()
    turn.wait(PATIENCE)


def crew(names: Sequence[str], together: Sequence[int], steps: int) -> pd.DataFrame:
    """What all processes measured."""
    served = serve()
    print(f"{max(together)} processes: {served.remark}", flush=True)
    os.environ.update(served.environment())
    spawn = multiprocessing.get_context("spawn")
    turn, rows = spawn.Barrier(max(together)), spawn.Queue()
    processes = [spawn.Process(target=work, args=(number, names, together, steps, turn, rows),
                               daemon=True) for number in range(max(together))]
    try:
        for process in processes:
            process.start()
        wanted = len(names) * len(together) * len(processes)
        found = [rows.get(timeout=2 * PATIENCE) for _ in range(wanted)]
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            process.terminate()
        served.close()
    return pd.DataFrame(found).assign(mps=bool(served.variables) or "runs here" in served.remark)


def summarise(measured: pd.DataFrame, steps: int) -> pd.DataFrame:
    """A row for each network and number of trainings at once: seconds of an epoch and seed."""
    rows = []
    for (name, trainings), group in measured.groupby(["network", "trainings"], sort=False):
        alone = group["alone"].dropna().iloc[0]
        apart = (group["together"] - alone).abs().max() / alone
        rows.append({
            "network": name, "how": "several at once" if trainings > 1 else "one at a time",
            "trainings": trainings, "precision": "bf16",
            "seconds": group["seconds"].max() / steps * IMAGES / BATCH / trainings,
            "gib": group["gib"].max(), "loss_apart": apart,
            "same": bool(apart < TOLERANCE and group["recorded"].all()),
            "mps": bool(group["mps"].iloc[0])})
    return pd.DataFrame(rows)


def usual(names: Sequence[str], steps: int) -> pd.DataFrame:
    rows = [{"network": name, "how": f"usual loop, {loaders} loaders", "trainings": 1,
             "precision": "fp32", "seconds": IMAGES / BATCH * usual_seconds(
                 rl.build_model(name, **NETWORKS[name]), loaders, steps, BATCH,
                 torch.device("cuda"))}
            for name in names for loaders in LOADERS]
    return pd.DataFrame(rows)


def kernels(name: str, steps: int = 20) -> str:
    """Where the time of a recorded step goes: the share of each kind of kernel, and of waiting."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    device = torch.device("cuda")
    batches = TrainingBatches(random_images(10_000).to(device), BATCH, seed=0)
    step = prepare(rl.build_model(name, **NETWORKS[name]), "bf16", device)
    run_steps(step, batches, 20)
    wall = run_steps(step, batches, 100) / 100 * 1e6
    with watch(activities=[ProfilerActivity.CUDA]) as seen:
        run_steps(step, batches, steps)
    times = pd.DataFrame([(e.key, e.self_device_time_total / steps, e.count / steps)
                          for e in seen.key_averages()], columns=["kernel", "us", "count"])
    times = times[times["us"] > 0].sort_values("us", ascending=False)
    lines = [f"{name}: a step takes {wall:.0f} us, its {times['count'].sum():.0f} kernels "
             f"{times['us'].sum():.0f} us"]
    lines += [f"  {row.us:7.1f} us {row.count:5.1f} times  {row.kernel[:90]}"
              for row in times.head(14).itertuples(index=False)]
    step.close()
    return "\n".join(lines)


def draw(rows: pd.DataFrame, path: Path, title: str) -> None:
    """Seconds by network, one mark a way to train."""
    import seaborn as sns
    from matplotlib.figure import Figure

    labels = rows["how"].where(rows["trainings"] == 1,
                               rows["trainings"].astype(str) + " at once")
    figure = Figure(figsize=(7, 0.55 * rows["network"].nunique() + 1.4), layout="constrained")
    axes = figure.subplots()
    sns.scatterplot(rows.assign(way=labels), y="network", x="seconds", hue="way", style="way",
                    s=70, ax=axes, palette="colorblind")
    axes.grid(axis="y", alpha=0.4)
    axes.set(xscale="log", xlabel="seconds per epoch of 50,000 images and seed", ylabel="")
    axes.set_title(title, fontsize=9)
    axes.legend(title="", frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--together", nargs="+", type=int, default=list(TOGETHER))
    parser.add_argument("--usual", nargs="*", default=list(USUAL), choices=list(NETWORKS),
                        help="networks that the usual loop trains, too")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--profile", nargs="*", default=[], choices=list(NETWORKS),
                        help="say which kernels take the time of these networks' steps")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This benchmark needs a GPU that torch can use.")
    start = time.perf_counter()
    device, version = torch.cuda.get_device_name(), torch.__version__
    print(f"{device}, torch {version}, batch {BATCH}", flush=True)
    for name in options.profile:
        print(kernels(name), flush=True)
    frames = [usual(options.usual, options.steps)]
    print(frames[0].to_string(index=False), flush=True)
    measured = crew(options.models, options.together, options.steps)
    frames.append(summarise(measured, options.steps))
    gathered = os.environ.get(GATHER_VARIABLE) != "0"
    rows = pd.concat(frames).assign(gathered=gathered, device=device, torch=version,
                                    date=time.strftime("%Y-%m-%d", time.gmtime()))
    print(frames[1].round(3).to_string(index=False), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "gpu.csv", index=False, float_format="%.4g")
    draw(rows, options.out / "gpu.svg", f"{device}, torch {version}, batch {BATCH}")
    same = frames[1]["same"]
    print(f"{same.sum()} of {len(same)} learn the same; {time.perf_counter() - start:.0f} s in all")
    sys.exit(0 if same.all() else 1)


if __name__ == "__main__":
    main()
