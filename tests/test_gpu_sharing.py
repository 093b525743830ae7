"""On a GPU: studies by several workers, by MPS where there is its daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import wait_until

import rethinklab as rl
from rethinklab.experiments.engines import local, mps
from rethinklab.experiments.engines.gpu_share import MOST, probe, training_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(),
                                reason="these tests need a GPU that torch can use")


def little_study(seeds=3, epochs=2):
    return rl.Study(model="vgg11", width=0.25, target=0.4, images=2000, epochs=epochs, seeds=seeds,
                    regimes=["finetune", "scratch-e"], precision="bf16")


def daemons():
    """The processes of MPS on this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = place.read_text()
        except OSError:
            continue
        if "nvidia-cuda-mps" in text.split("\0")[0]:
            found.append(int(place.parent.name))
    return found


@pytest.fixture(autouse=True)
def none_of_the_machines_own():
    if daemons():
        pytest.skip("an MPS daemon runs here already")
    yield
    wait_until(lambda: not daemons())


def test_a_study_is_shared_and_says_so(tmp_path):
    study = little_study()
    found = rl.run(study, tmp_path / "runs", device="cuda")
    assert len(found.frame) == 9
    assert found.frame["workers"].nunique() == 1
    assert set(found.frame["mps"]) == {shutil.which(mps.PROGRAM) is not None}
    assert found.frame["device"].str.startswith("cuda").all()


def test_the_probe_gives_a_number_that_fits(tmp_path):
    study = little_study()
    stages = [stage for trial in study.trials(study.load()) for stage in trial.stages]
    assert 1 <= probe(training_of(stages), "cuda") <= MOST


DRIVER = """
import sys
import rethinklab as rl
study = rl.Study.from_dict({study!r})
rl.run(study, {store!r}, device="cuda", workers=3, progress=False)
"""


def start(study, store):
    return subprocess.Popen([sys.executable, "-c", DRIVER.format(study=study.to_dict(),
                                                                 store=str(store))],
                            stderr=subprocess.PIPE, text=True)


def training(store):
    return list((store / "work").glob("*/progress.json"))


def workers_of(process):
    """Its children that have torch in memory."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children
            if "libcuda" in Path(f"/proc/{child}/maps").read_text()]


def test_a_killed_worker_is_replaced_and_the_study_ends(tmp_path):
    driver = start(little_study(epochs=30), tmp_path / "runs")
    wait_until(lambda: training(tmp_path / "runs"))
    os.kill(workers_of(driver)[0], signal.SIGKILL)
    _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, errors


def test_a_killed_driver_leaves_no_daemon_and_the_study_goes_on(tmp_path):
    study = little_study(epochs=30)
    driver = start(study, tmp_path / "runs")
    wait_until(lambda: training(tmp_path / "runs"))
    driver.kill()
    driver.communicate()
    wait_until(lambda: not daemons())
    found = rl.run(study, tmp_path / "runs", device="cuda", workers=3, progress=False)
    assert len(found.frame) == 9


def test_workers_of_one_gpu_are_counted_by_what_is_asked_for(tmp_path):
    study = little_study()
    stages = [stage for trial in study.trials(study.load()) for stage in trial.stages]
    crew = local.gpu_workers(rl.Store(tmp_path / "runs"), stages, 1, "cuda", None, 2)
    try:
        assert crew.slots == 2
    finally:
        crew.close()
