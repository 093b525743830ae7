"""A whole study on ImageNet's path under torchrun, from the command line, against one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from image_folders import write_images
from safetensors.torch import load_file

LINE = ("run", "--model", "resnet18", "--width", "0.125", "--method", "l1", "--target", "0.5",
        "--size", "32", "--regimes", "finetune,scratch-b-capped", "--epochs", "2", "--lr", "0.01",
        "--batch-size", "8", "--seeds", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The store of one process and that of two, after the same command."""
    folder = tmp_path_factory.mktemp("torchrun")
    for part, count in (("train", 11), ("val", 6)):
        write_images(folder / "images" / part, {"dark": count, "light": count}, side=40)
    kit = ("-m", "rethinklab.cli", *LINE, "--data", f"imagenet:{folder / 'images'}")
    ways = {"one": [sys.executable, *kit, "--workers", "0"],
            "two": [sys.executable, "-m", "torch.distributed.run", "--standalone",
                    "--nproc-per-node", "2", *kit]}
    found = {}
    for name, command in ways.items():
        done = subprocess.run([*command, "--store", str(folder / name)], capture_output=True,
                              text=True, timeout=300, check=False,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr[-3000:]
        found[name] = folder / name, done.stdout
    return found


def histories(store):
    return {path.parent.name: pd.read_csv(path)
            for path in sorted((store / "stages").glob("*/history.csv"))}


def test_two_processes_store_the_same_stages_once(stores):
    (one, _), (two, said) = stores["one"], stores["two"]
    assert [p.name for p in sorted((one / "stages").iterdir())] == [
        p.name for p in sorted((two / "stages").iterdir())]
    assert said.count("Stored as") == 1  # one process speaks
    attempts = [json.loads(path.read_text())["attempts"]
                for path in (two / "stages").glob("*/result.json")]
    assert set(attempts) == {1}


def test_the_first_network_is_that_of_one_process_within_rounding(stores):
    (one, _), (two, _) = stores["one"], stores["two"]
    (stage,) = [name for name in histories(one) if name.startswith("large")]
    alone, together = (histories(store)[stage] for store in (one, two))
    # In float32 rounding grows from step to step; in float64 test_distributed.py is exact.
    for column in ("train_loss", "test_loss"):
        assert together[column].tolist() == pytest.approx(alone[column].tolist(), rel=2e-2)
    weights = [load_file(store / "stages" / stage / "weights.safetensors")
               for store in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert weights[1][name].numpy() == pytest.approx(value.numpy(), abs=2e-2), name


def test_both_keep_the_same_filters(stores):
    plans = []
    for store, _ in stores.values():
        (path,) = (store / "stages").glob("plan-*/plan.json")
        plans.append({name: len(kept) for name, kept in
                      json.loads(path.read_text())["keep"].items()})
    assert plans[0] == plans[1]
