"""Several processes on one store divide the work: what one holds, the others pass over."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import start
from scripted_engine import MemoryStore, Script, graphs, independent
from small_studies import outcome, run, small_study, write_network, write_pair
from stores import put, stage

import rethinklab as rl
from rethinklab.errors import RethinkError, StageHeld
from rethinklab.experiments.engines import drive
from rethinklab.experiments.engines.task import attempt
from rethinklab.experiments.progress import Display, status
from rethinklab.experiments.stages import Setting
from rethinklab.experiments.store import Store
from rethinklab.experiments.time_limit import Countdown
from rethinklab.experiments.upkeep import check

# The loop, with others played by the test

@given(st.data(), graphs(), st.integers(1, 3))
def test_nobody_waits_while_a_stage_is_free_and_nothing_is_done_twice(data, stages, slots):
    """Other processes hold stages; whenever this one rests, one of those ends or dies."""
    store = MemoryStore()
    store.held = data.draw(st.sets(st.sampled_from([one.address for one in stages])))
    executor = Script(store, slots, {}, lambda running: data.draw(st.sampled_from(running)))
    done_elsewhere, ended = set(), []

    def rest(limit):
        for one in stages:
            free = not store.has(one) and one.address not in store.held
            assert not (free and all(map(store.has, one.needs))), "it rests beside free work"
        able = [one for one in stages if one.address in store.held]
        one = data.draw(st.sampled_from(able))
        store.held.discard(one.address)
        if data.draw(st.booleans()) and all(map(store.has, one.needs)):
            store.stored.add(one.address)
            done_elsewhere.add(one.address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "rest", rest)
        ran_out = drive.run_stages(
            stages, store, executor, limit=Countdown(), started=lambda one: None,
            ended=lambda one, error: ended.append((one.address, error)), tick=lambda: None)
    assert not ran_out
    assert store.stored == {one.address for one in stages}
    here = Counter(one.address for one in executor.given)
    assert here == dict.fromkeys(store.stored - done_elsewhere, 1)
    assert sorted(ended, key=str) == sorted(((a, None) for a in store.stored), key=str)


def test_a_stage_that_turns_out_to_be_held_is_no_failure_and_comes_again(monkeypatch):
    """Another process was faster between the look and the claim, or trains what it shares."""
    stages, store = independent(3), MemoryStore()
    store.held = {"shared"}
    executor = Script(store, 1, {stages[0].address: [StageHeld("shared")]})
    passed, ended = [], {}
    monkeypatch.setattr(drive, "rest", lambda limit: store.held.clear())
    drive.run_stages(stages, store, executor, limit=Countdown(), started=lambda one: None,
                     ended=lambda one, error: ended.setdefault(one.address, error),
                     tick=lambda: None,
                     passed=lambda one, address: passed.append((one, address)))
    assert executor.given == [stages[0], stages[1], stages[2], stages[0]]
    assert passed == [(stages[0], "shared")]
    assert list(ended.values()) == [None] * 3


def test_time_that_runs_out_in_waiting_is_said(monkeypatch):
    (one,), store = independent(1), MemoryStore()
    store.held, limit = {one.address}, Countdown(1000)
    monkeypatch.setattr(drive, "rest", lambda limit: setattr(limit, "end", 0.0))
    executor = Script(store, 1, {})
    assert drive.run_stages([one], store, executor, limit=limit, started=None, ended=None,
                            tick=lambda: None)
    assert executor.given == []


# The store

def test_a_claim_that_does_not_wait_tells_held_from_done(tmp_path):
    store = Store(tmp_path)
    with store.claim(stage()) as first:
        assert first is True
        with Store(tmp_path).claim(stage(), wait=False) as second:
            assert second is None
        assert Store(tmp_path).is_held(stage().address)
    assert not store.is_held(stage().address)
    assert store.attempts(stage()) == 1
    put(store, stage())
    with store.claim(stage(), wait=False) as third:
        assert third is False
    assert not list((tmp_path / "work").iterdir())


def test_a_worker_does_not_wait_for_a_held_stage_and_a_plain_call_does(tmp_path):
    images = write_pair(tmp_path / "images")
    study, store = small_study(images, seeds=1, regimes=[]), Store(tmp_path / "runs")
    (large,) = study.trials(study.load())[0].stages
    with store.claim(large):
        outcome = attempt(large, Store(store.root), Setting("cpu"))
        assert isinstance(outcome, StageHeld)
        assert outcome.address == large.address
        assert store.attempts(large) == 1
    assert attempt(large, store, Setting("cpu")) is None
    assert store.result(large)["attempts"] == 2  # the test's own is one


def test_held_tells_what_it_is_about_wherever_it_travels():
    import pickle

    error = pickle.loads(pickle.dumps(StageHeld("large-0")))
    assert isinstance(error, RethinkError)
    assert (error.address, str(error)) == (
        "large-0", "another process works on large-0; wait until it is done.")


# Real processes

WORKER = """
import json, os, sys, time
import rethinklab as rl
from rethinklab.experiments import progress, runner
from rethinklab.experiments.engines import drive
from rethinklab.experiments.engines import task

def say(*what):
    with open({log!r}, "a") as log:
        log.write(json.dumps([os.getpid(), *what]) + "\\n")

class Told(progress.Display):
    def started(self, stage):
        say("started", stage.address)
        super().started(stage)
    def ended(self, stage, error):
        say("ended" if stage.address in self.running else "seen", stage.address)
        super().ended(stage, error)

runner.Display = Told
rest = drive.rest
drive.rest = lambda limit: (say("rests", ""), rest(limit))
study = rl.Study(**{settings!r}, recipe=rl.Recipe(epochs={epochs}, lr=0.02, batch_size=8))
say("ready", "")
while not os.path.exists({log!r} + ".go"):
    time.sleep(0.01)
rl.run(study, {store!r}, workers=0, progress=False, device="cpu")
say("done", "")
"""


class Pair:
    """Two processes that run one study of a tiny network."""

    def __init__(self, folder, monkeypatch, epochs, **settings):
        self.folder, self.log, self.root = folder, folder / "log", folder / "runs"
        images = write_pair(folder / "images")
        write_network(folder / "tiny_shared.py")
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        settings = {"dataset": images, "model": "tiny_shared:build", "target": 0.5, **settings}
        self.study = rl.Study(**settings, recipe=rl.Recipe(epochs=epochs, lr=0.02, batch_size=8))
        code = WORKER.format(log=str(self.log), settings=settings, epochs=epochs,
                             store=str(self.root))
        self.workers = [start(code) for _ in range(2)]
        self.wait(lambda events: sum(what == "ready" for _, what, _ in events) == 2)
        self.log.with_name("log.go").touch()

    def events(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def wait(self, until):
        deadline = time.monotonic() + 600
        while not until(self.events()):
            assert time.monotonic() < deadline, "nothing happens"
            time.sleep(0.01)

    def ended(self):
        for worker in self.workers:
            worker.join(600)
        return [worker.exitcode for worker in self.workers]

    def close(self):
        for worker in self.workers:
            worker.kill()
            worker.join(60)


@pytest.fixture
def pair(tmp_path, monkeypatch):
    pairs = []

    def start(*arguments, **settings):
        pairs.append(Pair(tmp_path, monkeypatch, *arguments, **settings))
        return pairs[-1]

    yield start
    for one in pairs:
        one.close()


@pytest.mark.slow
def test_two_processes_divide_a_study(pair, tmp_path):
    two = pair(12, seeds=6, regimes=["finetune", "scratch-e"])
    assert two.ended() == [0, 0]
    events = two.events()
    did = {pid: [a for p, what, a in events if p == pid and what == "ended"]
           for pid in (worker.pid for worker in two.workers)}
    stages = {s.address for t in two.study.trials(two.study.load()) for s in t.stages}
    assert sorted(a for own in did.values() for a in own) == sorted(stages)
    assert all(did.values())
    store = Store(two.root)
    assert {row["attempts"] for row in store.scan()} == {1}
    # Of the six large networks, which come first and are free, each did another one first; both
    # may have reached for the same.
    assert all(own[0].startswith("large-") for own in did.values())
    for number, (_, what, _) in enumerate(events):
        if what == "rests":  # then no large network is free any more
            begun = {a for _, what, a in events[:number] if what == "started"}
            assert sum(a.startswith("large-") for a in begun) == 6
    assert check(store) == []
    alone = run(two.study, tmp_path / "alone")
    assert outcome(rl.run(two.study, store, workers=0, progress=False)) == outcome(alone)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_either_is_killed_and_the_other_finishes(pair, number):
    two = pair(30, seeds=4, regimes=["scratch-e"])
    victim = two.workers[number]
    two.wait(lambda events: any(p == victim.pid and what == "started" for p, what, _ in events))
    os.kill(victim.pid, signal.SIGKILL)
    assert sorted(two.ended()) == [-signal.SIGKILL, 0]
    begun = [a for p, what, a in two.events() if p == victim.pid and what == "started"]
    store = Store(two.root)
    assert all(map(store.has, [s for t in two.study.trials(two.study.load()) for s in t.stages]))
    again = {row["address"] for row in store.scan() if row["attempts"] > 1}
    assert again <= set(begun[-1:]) | {a for a in store.addresses() if a.startswith("scratch")}
    assert check(store) == []


# What displays say

def test_displays_tell_what_other_runs_hold(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # nobody watches: lines, no bar
    images = write_pair(tmp_path / "images")
    study, store = small_study(images, seeds=2, regimes=[]), Store(tmp_path / "runs")
    first, second = (t.stages[0] for t in study.trials(study.load()))
    shown = Display("study", [first, second], [first, second], store, 2.0, True)
    shown.started(second)
    shown.passed(first, first.address)
    shown.passed(first, first.address)
    standing = shown.standing()
    assert "1 running, 1 running in other runs;" in standing.headline
    assert "(another run)" in str(standing)
    run(study, store)
    shown.ended(first, None)
    shown.ended(second, None)
    shown.close()
    said = "".join(capsys.readouterr())
    assert said.count("unpruned seed 0 is held by another run") == 1
    assert said.count(", by another run") == 1
    assert shown.standing().is_done
    assert status(store).studies == ()
