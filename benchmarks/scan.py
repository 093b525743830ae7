"""How long a table of all results of a large store takes: `python -m benchmarks.scan`.

`[--results 10000 --runs 3]` makes that many stored stages as runs leave them, but with weights of
a few bytes, in a temporary directory, and prints the median seconds of `Store.frame()`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from rethinklab.analysis.ledger import Ledger
from rethinklab.experiments.store import Store, manifest
from rethinklab.experiments.trial import Stage

GOAL = 2.0  # seconds for 10,000 results


def make(store: Store, results: int) -> None:
    for number in range(results):
        spec = {"regime": "scratch-e", "seed": number, "precision": "fp32"}
        stage = Stage("regime", spec, {"name": "digits"})
        folder = store.folder(stage)
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"weights")
        (folder / "history.csv").write_text("epoch,lr,train_loss\n0,0.1,1.5\n")
        (folder / "spec.json").write_text(json.dumps({"schema": 1, "kind": "regime", **spec}))
        result = {
            "stage": "regime", "address": stage.address, "regime": "scratch-e", "seed": number,
            "test_accuracy": 0.9 + number / results / 100, "epochs": 12, "params": 123_456,
            "nonzero_params": 123_456, "macs": 7_654_321, "flops": 15_308_642,
            "data": "digits (embedded)", "classes": 10, "train_images": 5000, "test_images": 1000,
            "seconds": 12.345, "precision": "fp32", "threads": 1,
            "needs": [f"plan-{number:016x}"], "ledger": Ledger().to_dict(), "device": "cpu (arm64)",
            "rethinklab": "0.1.0", "torch": "2.11.0", "python": "3.11.7", "date": "2026-01-01",
            "attempts": 1, "files": manifest(folder)}
        (folder / "result.json").write_text(json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "runs")
        make(store, options.results)
        spent = []
        for _ in range(options.runs):
            start = time.perf_counter()
            frame = store.frame()
            spent.append(time.perf_counter() - start)
        goal = f" (goal: {GOAL:g} s or less)" if options.results == 10_000 else ""
        print(f"{len(frame):,} results, {len(frame.columns)} columns: {median(spent):.2f} s{goal}")


if __name__ == "__main__":
    main()
