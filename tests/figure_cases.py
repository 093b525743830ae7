"""The hard cases of every figure: what it is drawn from when there is little, much, or a gap."""

from __future__ import annotations

import figure_cases_architectures
import figure_cases_runs
import figure_cases_weights
import numpy as np
import pandas as pd

import rethinklab as rl

REGIMES = ("unpruned", "finetune", "scratch-e", "scratch-b")


def results(seeds=3, regimes=REGIMES, spread=0.01, label="Quick scale; cpu; 3 seeds", broken=False):
    """Made-up results of a study."""
    random = np.random.default_rng(0)
    rows = [{"regime": regime, "seed": seed, "params": 1e6, "macs": 2e6, "epochs": 5,
             "seconds": 1.0, "test_accuracy": 0.9 + spread * random.normal()}
            for regime in regimes for seed in range(seeds)]
    frame = pd.DataFrame(rows)
    if broken:
        frame.loc[2, "test_accuracy"] = np.nan
    return rl.Results(frame, 1.0, label)


def scan(layers=8, ratios=(0.0, 0.25, 0.5, 0.75, 0.9), label="digits"):
    """A made-up sensitivity scan."""
    frame = pd.DataFrame([{"layer": f"features.{layer}", "ratio": ratio,
                           "accuracy": 0.9 - ratio * (0.8 - 0.7 * layer / max(1, layers))}
                          for layer in range(layers) for ratio in ratios])
    frame.attrs["label"] = label
    return frame


def broken_scan():
    frame = scan()
    frame.loc[3, "accuracy"] = np.nan
    return frame


OF_RESULTS = {
    "regimes": {
        "usual": results, "one seed": lambda: results(1),
        "missing regime": lambda: results(regimes=("unpruned", "scratch-e")),
        "one regime": lambda: results(regimes=("finetune",)),
        "all alike": lambda: results(spread=0.0), "many seeds": lambda: results(40),
        "long label": lambda: results(label="word " * 60), "NaN": lambda: results(broken=True),
        "many regimes": lambda: results(regimes=(*REGIMES, "scratch-b-capped", "lr-rewind",
                                                 "weight-rewind", "one-cycle", "linear")),
        "unpruned for longer": lambda: results(regimes=("unpruned-rewind", "unpruned-longer",
                                                        *REGIMES)),
    },
    "sensitivity": {
        "usual": scan, "one layer": lambda: scan(1), "110 layers": lambda: scan(110),
        "NaN": broken_scan, "long label": lambda: scan(label="word " * 60),
        "one ratio": lambda: scan(ratios=(0.5,)),
    },
}
CASES = {**figure_cases_weights.CASES, **figure_cases_architectures.CASES,
         **figure_cases_runs.CASES, **OF_RESULTS}
