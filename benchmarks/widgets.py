"""How long the widgets take to answer: `python -m benchmarks.widgets`.

`[--moves 12]` moves each control that often to values not seen before and prints the median and
the longest milliseconds of CPU time until the new picture is there, its drawing included. Wall
time would count what else the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import time
from statistics import median
from typing import Any

import torch

import rethinklab as rl
from rethinklab.notebook import widgets
from rethinklab.notebook.session import find_root
from rethinklab.notebook.widgets import Explorer
from rethinklab.trainers.histograms import HistogramRecorder

GOALS = {"prune_and_see": 150}  # milliseconds
STUDIES = ("l1-vgg16-digits-quick", "slimming-vgg16-digits-0.6-12-epochs-quick")
MANY_REGIMES = "l1-vgg16-digits-longer-quick"


def explorers() -> dict[str, Explorer]:
    held = rl.load_data("digits").subset(3000, 500).hold_out(0.1)
    recorder = HistogramRecorder()
    model = rl.train(rl.build_model("vgg11", width=0.125), held, rl.Recipe(epochs=3, lr=0.05),
                     progress=False, callbacks=[recorder]).model
    recorded = find_root() / "data" / "results"
    return {
        "prune_and_see": widgets.prune_and_see(model, held),
        "weight_histograms": widgets.weight_histograms(recorder.table()),
        "channel_pictures": widgets.channel_pictures(
            model, rl.pruners.L1Norm(0.5).fit(model, held), held),
        "architecture_patterns": widgets.architecture_patterns(
            {name: rl.load_results(recorded / name).table("widths") for name in STUDIES}),
        "budget_explorer": widgets.budget_explorer(
            rl.load_results(recorded / MANY_REGIMES)),
    }


def offered(control: Any) -> list[Any]:
    if hasattr(control, "options"):
        return [value for _, value in control.options]
    return list(range(control.min, control.max + 1))


def milliseconds(explorer: Explorer, name: str, moves: int) -> list[float]:
    control = explorer.controls[name]
    spent = []
    for value in itertools.islice(itertools.cycle(offered(control)), moves + 1):
        explorer._drawn.clear()
        start = time.process_time()
        control.value = value
        spent.append(1000 * (time.process_time() - start))
    return spent[1:]  # the first may be the value that was there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind, explorer in explorers().items():
        goal = f" (goal: {GOALS[kind]} ms or less)" if kind in GOALS else ""
        print(f"{kind}{goal}")
        for name in explorer.controls:
            spent = milliseconds(explorer, name, options.moves)
            print(f"  {name:8} {median(spent):4.0f} ms, at most {max(spent):.0f} ms")


if __name__ == "__main__":
    main()
