"""The ray engine on a cluster of two nodes, one of which goes away in the middle."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import lives, wait_until
from small_studies import NETWORK, outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, StoreError
from rethinklab.experiments.engines.on_ray import check_room, gpu_share, on_node, room
from rethinklab.experiments.stages import Setting

MEMORY = 100 * 2**20


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


HELD = """
import os
import time

class Held(Tiny):
    def forward(self, images):
        end = time.monotonic() + 300
        while (self.training and len(images) > 2 and time.monotonic() < end
               and not os.path.exists({flag!r})):
            time.sleep(0.02)
        return super().forward(images)

def held(num_classes):
    return Held(num_classes)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes of one CPU each, which know a network that does not train until one is lost."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    (tmp_path / "held.py").write_text(NETWORK + HELD.format(flag=str(tmp_path / "lost")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (
        str(tmp_path), os.environ.get("PYTHONPATH")))))
    found = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False})
    found.second = found.add_node(num_cpus=1, object_store_memory=MEMORY)
    found.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found
    found.shutdown()
    sys.modules.pop("held", None)


@pytest.mark.slow
def test_a_study_survives_the_loss_of_a_node(cluster, images, tmp_path):
    study = small_study(images, model="held:held", width=None, regimes=["finetune"])
    store = rl.Store(tmp_path / "runs")
    hit = []

    def lose_a_node():
        """As soon as both nodes train, for each has room for one stage."""
        work = store.root / "work"
        wait_until(lambda: len(list(work.glob("*/progress.json"))) == 2, 300)
        running = list(work.glob("*/progress.json"))
        workers = [json.loads(path.read_text())["process"] for path in running]
        cluster.remove_node(cluster.second, allow_graceful=False)
        wait_until(lambda: sum(map(lives, workers)) == 1)
        hit.extend(path.parent.name for path in running)
        (tmp_path / "lost").touch()

    watcher = threading.Thread(target=lose_a_node, daemon=True)
    watcher.start()
    found = run(study, store, workers=None, engine="ray")
    watcher.join(60)
    attempts = {row["address"]: row["attempts"] for row in store.scan()}
    assert sorted(attempts[address] for address in hit) == [1, 2]
    assert outcome(found) == outcome(run(study, tmp_path / "local"))
    assert not list((store.root / "work").glob("driver-*"))


def test_a_store_that_nodes_do_not_see_is_named(images, tmp_path):
    study = small_study(images, seeds=1, regimes=["finetune"])
    stage = study.trials(study.load())[0].stages[0]
    other = rl.Store(tmp_path / "of the same name on another disk")
    found = on_node(stage, str(other.root), "driver-0123.lock", Setting("cpu"), 1)
    assert isinstance(found, StoreError)
    assert f"store {other.root} " in str(found)
    assert not other.has(stage)


@given(workers=st.integers(1, 64), gpus=st.integers(1, 16))
def test_shares_of_gpus_let_all_workers_run_at_once(workers, gpus):
    share = gpu_share("auto", workers, gpus, None)
    nodes = [{"CPU": 64.0, "GPU": float(gpus)}]
    assert 0 < share <= 1
    assert room(nodes, 1, share) >= min(workers, 64)


def brute_room(nodes, threads, gpus):
    """Put tasks onto nodes one by one, each on a single GPU where it takes a share."""
    count = 0
    for node in nodes:
        cpus, free = node["CPU"], [1.0] * int(node["GPU"])
        while cpus >= threads:
            if gpus <= 1:
                place = next((i for i, f in enumerate(free) if f >= gpus - 1e-9), None)
                if gpus and place is None:
                    break
                if gpus:
                    free[place] -= gpus
            else:
                if len(free) < gpus:
                    break
                free = free[int(gpus):]
            cpus -= threads
            count += 1
    return count


@given(st.lists(st.fixed_dictionaries({"CPU": st.integers(0, 9), "GPU": st.integers(0, 4)}),
                max_size=4), st.integers(1, 4), st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 1,
                                                                  2, 3]))
def test_how_many_tasks_fit_is_what_putting_them_there_gives(nodes, threads, gpus):
    count = room(nodes, threads, gpus)
    assert count == brute_room(nodes, threads, gpus)
    if count:
        check_room(nodes, threads, gpus)
    else:
        with pytest.raises(ConfigError, match="more than any node"):
            check_room(nodes, threads, gpus)


def test_shares_by_device_and_as_given():
    assert gpu_share("cpu", 4, 8, None) == 0
    assert gpu_share("auto", 4, 0, None) == 0
    assert gpu_share("cuda", None, 2, None) == 1
    assert gpu_share("auto", 3, 2, None) == 0.5
    assert gpu_share("auto", 3, 2, 0.2) == 0.2
    assert gpu_share("auto", 3, 2, 2) == 2
    for wrong in (-0.5, 1.5, True, float("nan")):
        with pytest.raises(ConfigError, match="gpus_per_trial"):
            gpu_share("auto", 3, 2, wrong)


def test_a_missing_package_is_a_sentence_with_the_remedy(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'rethinklab\[ray\]'"):
        run(small_study(images), tmp_path / "runs", engine="ray", workers=2)
    assert not list((Path(tmp_path) / "runs" / "stages").iterdir())
