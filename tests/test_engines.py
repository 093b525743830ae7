"""The loop that all engines share, and the local engine under kills and wrong options."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import MemoryStore, Script, graphs, independent
from small_studies import outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, OutOfTime, RethinkError
from rethinklab.experiments.engines import local
from rethinklab.experiments.engines.drive import RETRIES, Lost, before_end, run_stages
from rethinklab.experiments.engines.local import check_workers, spread
from rethinklab.experiments.time_limit import Countdown


def drive(stages, store, executor, limit=None):
    ended = {}
    started = []
    ran_out = run_stages(stages, store, executor, limit=limit or Countdown(),
                         started=started.append,
                         ended=lambda stage, error: ended.setdefault(stage.address, error),
                         tick=lambda: None)
    assert executor.closed == 1
    assert started == executor.given
    return ended, ran_out


FATES = st.sampled_from([[], [Lost("it was killed")], [Lost("it was killed")] * 2,
                         [Lost("it was killed")] * 3, [RethinkError("it diverged")],
                         [Lost("time", counts=False)] * 9])


@given(st.data(), graphs(), st.integers(1, 4))
def test_each_stage_that_can_be_done_is_done_once_after_its_needs(data, stages, slots):
    fates = {stage.address: data.draw(FATES) for stage in stages}
    doomed = {a for a, fate in fates.items()
              if any(isinstance(f, RethinkError) for f in fate) or fate == FATES.elements[3]}
    tried = {a: len(f) + 1 for a, f in fates.items()}
    tried |= {a: min(RETRIES + 1, len(fates[a])) for a in doomed}
    store = MemoryStore()
    executor = Script(store, slots, {a: list(f) for a, f in fates.items()},
                      lambda running: data.draw(st.sampled_from(running)))
    ended, ran_out = drive(stages, store, executor)
    reached = {s.address for s in stages if not doomed & {need.address for need in s.ancestors}}
    assert not ran_out
    assert ended.keys() == reached
    assert {a for a, error in ended.items() if error} == doomed & reached
    assert store.stored == reached - doomed
    assert Counter(s.address for s in executor.given) == {a: tried[a] for a in reached}


def test_the_first_stages_come_first():
    stages, store = independent(7), MemoryStore()
    executor = Script(store, 2, {})
    drive(stages, store, executor)
    assert executor.given == stages


def test_a_stage_lost_again_and_again_is_a_failure_in_a_sentence():
    (stage,), store = independent(1), MemoryStore()
    executor = Script(store, 1, {stage.address: [Lost("its node went away")] * 3})
    ended, _ = drive([stage], store, executor)
    assert "lost 3 times, the last time because its node went away" in str(ended[stage.address])


def test_a_result_that_does_not_arrive_is_named():
    (stage,), store = independent(1), MemoryStore()
    executor = Script(store, 1, {})
    executor.store = MemoryStore()  # a worker that sees another disk
    ended, _ = drive([stage], store, executor)
    assert "must write to the same folder" in str(ended[stage.address])


def test_after_a_stage_ran_out_of_time_nothing_more_is_started():
    stages, store = independent(5), MemoryStore()
    executor = Script(store, 2, {stages[0].address: [OutOfTime("after epoch 1")]})
    ended, ran_out = drive(stages, store, executor, Countdown(1000))
    assert ran_out
    assert executor.given == stages[:2]
    assert isinstance(ended[stages[0].address], OutOfTime)
    assert store.stored == {stages[1].address}
    assert all(900 < seconds < 1000 for seconds in executor.seconds)


@given(st.floats(1e-3, 1e6))
def test_stages_end_a_little_before_the_limit(left):
    assert 0.899 * left < before_end(left) < left
    assert left - before_end(left) <= 2.0 + 1e-9
    assert before_end(None) is None


def test_what_still_runs_at_the_limit_is_cancelled():
    stages, store = independent(3), MemoryStore()
    limit = Countdown(1000)
    executor = Script(store, 2, {})
    real = executor.poll

    def poll(timeout):
        limit.end = 0.0
        return real(timeout)

    executor.poll = poll
    ended, ran_out = drive(stages, store, executor, limit)
    assert ran_out
    assert list(ended) == [stages[0].address]
    assert executor.cancelled == [stages[1]]


def test_the_executor_is_closed_when_the_user_interrupts():
    stages, store = independent(1), MemoryStore()
    executor = Script(store, 1, {})

    def interrupt(timeout):
        raise KeyboardInterrupt

    executor.poll = interrupt
    with pytest.raises(KeyboardInterrupt):
        drive(stages, store, executor)
    assert executor.closed == 1


@given(device=st.sampled_from(["auto", "cuda", "cpu", "cuda:1", "mps"]),
       workers=st.integers(1, 40), gpus=st.integers(0, 9))
def test_workers_are_dealt_out_over_the_gpus(device, workers, gpus):
    devices = spread(device, workers, gpus)
    assert len(devices) == workers
    if device in ("auto", "cuda") and gpus > 1 and workers > 1:
        counts = Counter(devices)
        assert set(counts) == {f"cuda:{number}" for number in range(min(workers, gpus))}
        assert max(counts.values()) - min(counts.values()) <= 1
        assert devices[0] == "cuda:0"
    else:
        assert set(devices) == {device}


def test_by_default_there_is_a_worker_for_each_core(monkeypatch):
    monkeypatch.setattr(local, "available_cores", lambda: 12)
    assert [check_workers(None, threads) for threads in (1, 2, 5, 20)] == [12, 6, 2, 1]
    with pytest.raises(ConfigError, match="more than the 12 core"):
        check_workers(7, 2)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


NETWORK = """
import os
import signal
import torch
from pathlib import Path
from torch import nn

class Fatal(nn.Module):
    def __init__(self, classes, when):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, classes)
        self.when, self.steps = when, 0

    def forward(self, images):
        if self.training and len(images) > 2:  # two are tried before anything is trained
            self.steps += 1
            pruned = self.conv.out_channels < 8
            if self.when == "pruned" and pruned:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.when == "once" and pruned and self.steps == 3:
                try:
                    Path({flag!r}).touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
        return self.head(torch.relu(self.conv(images)).mean((2, 3)))

def once(num_classes):
    return Fatal(num_classes, "once")

def never(num_classes):
    return Fatal(num_classes, "never")

def pruned(num_classes):
    return Fatal(num_classes, "pruned")
"""


@pytest.fixture
def fatal(images, tmp_path, monkeypatch):
    """A study of a network that kills the process that trains it, when it is called so."""
    import sys

    (tmp_path / "fatal.py").write_text(NETWORK.format(flag=str(tmp_path / "killed")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda when, **changes: small_study(images, model=f"fatal:{when}", width=None, **changes)
    sys.modules.pop("fatal", None)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_is_replaced_and_its_stage_done_again(fatal, tmp_path):
    found = run(fatal("once", regimes=["finetune"]), tmp_path / "runs", workers=2)
    assert (tmp_path / "killed").exists()
    assert sorted(found.frame["attempts"]) == [1] * 3 + [2]
    again = run(fatal("never", regimes=["finetune"]), tmp_path / "others")
    columns = ["test_accuracy", "params", "regime", "seed", "epochs"]
    assert found.frame[columns].equals(again.frame[columns])


@pytest.mark.slow
def test_a_stage_that_always_kills_its_worker_fails_alone(fatal, tmp_path):
    study = fatal("pruned", seeds=1, regimes=["pruned", "finetune"])
    with pytest.raises(RethinkError, match=r"of 4 stages 1 failed, 3 are stored and 0 .*"
                                           r"finetune seed 0: it was lost 3 times, .*killed"):
        run(study, tmp_path / "runs", workers=1)
    stored = [p.name.split("-")[0] for p in (tmp_path / "runs" / "stages").iterdir()]
    assert sorted(stored) == ["large", "plan", "regime"]


@pytest.mark.slow
def test_an_idle_worker_that_was_killed_is_replaced(images, tmp_path):
    import os
    import time

    store = rl.Store(tmp_path / "runs")
    study = small_study(images, seeds=1, regimes=["finetune"])
    large, plan = study.trials(study.load())[1].stages[:2]
    workers = local.LocalWorkers(store, 1, ["cpu"])
    try:
        for number, stage in enumerate((large, plan)):
            workers.submit([stage], None)
            while not (ended := workers.poll(1)):
                pass
            assert ended == [(stage, None)]
            if number == 0:
                (pid,) = workers.pools[0]._processes
                os.kill(pid, signal.SIGKILL)
                while not workers.pools[0]._flags.broken:
                    time.sleep(0.01)
    finally:
        workers.close()
    assert store.has(plan)


@pytest.mark.parametrize(("options", "says"), [
    ({"engine": "rya"}, "Did you mean 'ray'"),
    ({"engine": "local", "gpus_per_trial": 0.5}, "means nothing to the engine local"),
    ({"engine": "ray", "slurm": {"partition": "gpu"}}, "partition.*mean nothing to the engine ray"),
    ({"engine": "ray", "workers": 0}, "workers 0 is this process"),
    ({"threads": 0}, "threads 0"), ({"workers": -1}, "workers -1"),
    ({"workers": 1000}, "choose fewer")])
def test_wrong_options_are_named_before_anything_is_written(images, tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        rl.run(small_study(images), tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_event_files_of_every_training_are_written(images, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = run(small_study(images, seeds=1), tmp_path / "runs", events=tmp_path / "events")
    folders = {p.parent.name.rpartition(" ")[2]: p for p in (tmp_path / "events").rglob("events*")}
    assert set(folders) == set(found.frame["address"])
    for _, row in found.frame.iterrows():
        events = EventAccumulator(str(folders[row["address"]].parent)).Reload()
        values = events.Scalars("test_accuracy")
        assert len(values) == row["epochs"]
        assert values[-1].value == pytest.approx(row["test_accuracy"])
    plain = run(small_study(images, seeds=1), tmp_path / "others")
    assert outcome(plain) == outcome(found)


def test_event_files_without_tensorboard_are_refused_before_any_training(images, tmp_path,
                                                                         monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"rethinklab\[tensorboard\]"):
        run(small_study(images), tmp_path / "runs", events=tmp_path / "events")
    assert not (tmp_path / "runs").exists()
