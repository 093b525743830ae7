"""Two hundred trials, killed twenty times: nothing lost, nothing rewritten, little done twice."""

from __future__ import annotations

import os
import random
import sys
import time

import pytest
from processes import start
from small_studies import outcome, write_network, write_task

import rethinklab as rl
from rethinklab.experiments.upkeep import gc

KILLS, PROCESSES = 20, 2

DRIVER = """
import rethinklab as rl
study = rl.Study(**{settings!r}, recipe=rl.Recipe(epochs=1, lr=0.02, batch_size=8))
rl.run(study, {store!r}, workers=0, progress=False, device="cpu")
"""


def stored_stages(store):
    return os.listdir(store / "stages") if (store / "stages").is_dir() else []


def fingerprints(store):
    """What tells whether a file of a stored stage was ever written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in (store / "stages").rglob("*") if path.is_file()}


def run_until_killed(code, store, more, moment):
    """Have two processes run the study and kill both with SIGKILL, a moment after `more` further
    stages were stored; whether one was still running then."""
    drivers = [start(code) for _ in range(PROCESSES)]
    before, deadline = len(stored_stages(store)), time.monotonic() + 120
    while len(stored_stages(store)) < before + more and any(d.exitcode is None for d in drivers):
        assert time.monotonic() < deadline, "the study makes no progress"
        time.sleep(0.005)
    time.sleep(moment)
    running = any(driver.exitcode is None for driver in drivers)
    for driver in drivers:
        driver.kill()
    for driver in drivers:
        driver.join(60)
    return running


@pytest.mark.slow
def test_two_hundred_trials_survive_twenty_kills(tmp_path, monkeypatch):
    images = write_task(tmp_path / "images", images=10)
    write_network(tmp_path / "survivor.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"dataset": images, "model": "survivor:build", "target": 0.5, "seeds": 50}
    study = rl.Study(**settings, recipe=rl.Recipe(epochs=1, lr=0.02, batch_size=8))
    store, chance = tmp_path / "runs", random.Random(9)
    code = DRIVER.format(settings=settings, store=str(store))

    kills, seen = 0, {}
    while kills < KILLS:
        running = run_until_killed(code, store, chance.randint(1, 9), chance.uniform(0, 0.1))
        assert running, "the study was done before it was killed often enough"
        kills += 1
        now = fingerprints(store)
        assert {path: now.get(path) for path in seen} == seen, "a stored stage was written again"
        seen = now
    results = rl.run(study, store, workers=0, progress=False, device="cpu")

    now = fingerprints(store)
    assert {path: now.get(path) for path in seen} == seen, "a stored stage was written again"
    assert len(results.frame) == 200
    done = list(rl.Store(store).scan())
    shared = {result["address"] for result in done if result["stage"] == "scratch"}
    assert shared == {row["trained_at"] for _, row in results.frame.iterrows()
                      if row["regime"].startswith("scratch")}
    # Whoever trains a shared one has begun a regime, too; the regime's attempts are counted here.
    attempts = [result["attempts"] for result in done if result["address"] not in shared]
    assert len(attempts) == 50 + 50 + 150  # large networks, plans, and what was made of them
    assert min(attempts) == 1
    assert sum(attempts) - len(attempts) <= KILLS * PROCESSES, "more than what was in flight"
    assert sum(attempts) > len(attempts), "no kill hit a stage at work"
    whole = rl.run(study, tmp_path / "whole", workers=0, progress=False, device="cpu")
    assert outcome(results) == outcome(whole)

    gc(rl.Store(store))
    assert list((store / "work").iterdir()) == []
    assert sorted(path.name for path in store.iterdir()) == ["stages", "store.json", "studies",
                                                             "work"]
    assert [p.name for p in (store / "studies").iterdir()] == [f"{study.name}.json"]
    known = {"result.json", "spec.json", "plan.json", "history.csv", "weights.safetensors",
             "correct.safetensors"}
    assert {path.name for path in now} == known
    sys.modules.pop("survivor", None)
