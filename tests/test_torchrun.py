"""A whole study on ImageNet's path under torchrun, from the command line, beside one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from image_folders import write_images
from processes import start

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.experiments.stages import run_one
from rethinklab.experiments.upkeep import needed

pytestmark = pytest.mark.slow
LINE = ("run", "--model", "resnet18", "--width", "0.125", "--method", "l1", "--target", "0.5",
        "--size", "32", "--regimes", "finetune,scratch-b-capped", "--epochs", "2", "--lr", "0.01",
        "--batch-size", "8", "--seeds", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The store of one process and then two, and what the two said."""
    folder = tmp_path_factory.mktemp("torchrun")
    for part, count in (("train", 11), ("val", 6)):
        write_images(folder / "images" / part, {"dark": count, "light": count}, side=40)
    words = (*LINE, "--data", f"imagenet:{folder / 'images'}", "--store", str(folder / "runs"))
    one = start("from rethinklab.cli import main\nmain()", *words, "--workers", "0")
    one.join(300)
    assert one.exitcode == 0
    two = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "rethinklab.cli", *words], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert two.returncode == 0, two.stderr[-3000:]
    return folder / "runs", two.stdout


@pytest.fixture(scope="module")
def studies(runs):
    """Of each number of parts the study's settings and its stages' results."""
    store = rl.Store(runs[0])
    found = {}
    for path in (runs[0] / "studies").glob("*.json"):
        content = json.loads(path.read_text())
        addresses = needed(store, content["addresses"].values())
        found[content["study"]["batch_parts"]] = (
            rl.Study.from_dict(content["study"]),
            {address: store.read_address(address) for address in addresses})
    return found


def test_statistics_of_parts_make_it_another_study_with_stages_of_its_own(runs, studies):
    assert studies.keys() == {None, 2}
    (alone, one), (together, two) = studies[None], studies[2]
    assert alone.name != together.name
    assert not one.keys() & two.keys()
    assert sorted(name.split("-")[0] for name in one) == sorted(name.split("-")[0] for name in two)
    assert {result["attempts"] for result in two.values()} == {1}
    assert runs[1].count(f"Stored as {together.name}") == 1  # one process speaks


def test_both_keep_as_many_filters(runs, studies):
    plans = []
    for _, stages in studies.values():
        (address,) = [name for name in stages if name.startswith("plan")]
        keep = json.loads((runs[0] / "stages" / address / "plan.json").read_text())["keep"]
        plans.append({name: len(kept) for name, kept in keep.items()})
    assert plans[0] == plans[1]


def test_one_process_does_not_go_on_with_what_two_normalised(runs, studies):
    study = studies[2][0]
    with pytest.raises(ConfigError, match=r"in 2 parts .*here in 1; start 2 processes"):
        rl.run(study, runs[0], workers=0)
    trial = replace(study.trials(study.load())[0], seed=1)
    with pytest.raises(ConfigError, match="--nproc-per-node 2"):
        run_one(trial, rl.Store(runs[0]))
