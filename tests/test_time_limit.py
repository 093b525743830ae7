"""A limit of time: read as people write it, kept by the loop, and nothing lost by it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, OutOfTime
from rethinklab.experiments import stages, time_limit, watchers
from rethinklab.experiments.engines import task
from rethinklab.experiments.stages import Setting
from rethinklab.experiments.time_limit import Countdown, describe_duration, parse_duration
from rethinklab.trainers.callbacks import Callback


@given(days=st.integers(0, 9), hours=st.integers(0, 99), minutes=st.integers(0, 99),
       seconds=st.integers(0, 99))
def test_durations_add_up(days, hours, minutes, seconds):
    parts = zip((days, hours, minutes, seconds), "dhms", strict=True)
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total:
        assert parse_duration(text) == total
        assert parse_duration(f" {text.upper()} ") == total


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("25m", 1500), ("1h30m", 5400), ("1h 30m", 5400), ("1.5h", 5400), ("2d", 172800)])
def test_durations_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("wrong", ["", "25", "m", "30m1h", "-5m", "0s", "5 minutes", "1h30", "nan",
                                   0, -1, float("nan"), float("inf"), True, [5]])
def test_what_is_no_limit_is_named(wrong):
    with pytest.raises(ConfigError, match=r"time limit .*25m or 1h30m"):
        Countdown(wrong)


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 0 min"), (5400, "1 h 30 min"),
    (86400, "24 h 0 min"), (200000, "2 d 8 h")])
def test_durations_in_words(seconds, words):
    assert describe_duration(seconds) == words


class Clock:
    """Stands in for the module time; only `now` moves its monotonic clock."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(time_limit, "time", found)
    monkeypatch.setattr(watchers, "time", found)
    return found


def test_a_countdown_goes_by_a_clock_that_cannot_be_set(clock, monkeypatch):
    limit = Countdown(100)
    clock.now += 60
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert (limit.left, limit.over) == (40, False)
    again = Countdown(limit)
    clock.now += 50
    assert (limit.left, limit.over) == (0, True)
    assert again.over
    assert (Countdown(None).left, Countdown(None).over) == (None, False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    return run(small_study(images), tmp_path_factory.mktemp("store") / "runs")


class SlowEpochs(Callback):
    """Each epoch takes ten seconds of the clock that the limit goes by."""

    def __init__(self, clock):
        self.clock, self.epochs = clock, 0

    def after_epoch(self, state):
        self.clock.now += 10
        self.epochs += 1
        state.history[-1]["seconds"] = 10.0


def test_no_epoch_is_begun_after_the_limit_and_the_next_calls_go_on(images, whole, tmp_path, clock,
                                                                monkeypatch):
    slow = SlowEpochs(clock)
    real = stages.train
    monkeypatch.setattr(stages, "train", lambda *args, callbacks, **options: real(
        *args, callbacks=[*callbacks, slow], **options))
    stops, words = [], []
    while True:
        begun = clock.now
        try:
            found = run(small_study(images), tmp_path / "runs", time_limit="37s")
            break
        except OutOfTime as stop:
            stops.append(clock.now - begun)
            stored = sum(not folder.name.startswith("scratch-")  # a part of a stage of the study
                         for folder in (tmp_path / "runs" / "stages").iterdir())
            words.append((str(stop), f"the time was up with {stored} of 10 stages stored"))
    # a stage that goes on for another epoch must fit; one that begins is not known to
    assert set(stops) <= {30, 40}
    assert 30 in stops
    assert all(told.startswith(known) for told, known in words)
    assert OutOfTime.exit_code == 4
    assert slow.epochs == whole.frame["epochs"].sum(), "an epoch was done twice"
    assert outcome(found) == outcome(whole)


def test_a_limit_that_is_over_starts_nothing_but_gives_what_is_stored(images, whole, tmp_path,
                                                                      clock):
    limit = Countdown(5)
    clock.now += 5
    with pytest.raises(OutOfTime, match="0 of 10 stages"):
        run(small_study(images), tmp_path / "runs", time_limit=limit)
    assert not list((tmp_path / "runs" / "work").iterdir())
    assert outcome(run(small_study(images), whole.store, time_limit=limit)) == outcome(whole)


@pytest.mark.parametrize(("late", "seconds"), [(0, 50), (20, 30), (50, None), (70, None)])
def test_the_time_that_a_worker_took_to_start_is_not_given_to_its_stage(late, seconds, clock,
                                                                        monkeypatch):
    given = []
    monkeypatch.setattr(task, "time", clock)
    monkeypatch.setattr(task, "run_stage", lambda stage, store, setting: given.append(setting))
    end = clock.monotonic() + 50
    clock.now += late
    found = task.attempt(None, None, Setting("cpu"), end)
    assert given == ([] if seconds is None else [Setting("cpu", seconds, wait=False)])
    assert isinstance(found, OutOfTime) == (seconds is None)


@pytest.mark.slow
def test_workers_are_stopped_at_the_limit_and_calls_in_turn_end_in_the_same(images, whole,
                                                                            tmp_path):
    longer, stops = 3.0, 0
    while True:
        try:
            found = run(small_study(images), tmp_path / "runs", workers=2, time_limit=longer)
            break
        except OutOfTime:
            stops += 1
            longer *= 5
    assert stops, "the study was done before any limit was"
    assert outcome(found) == outcome(whole)


def test_a_wrong_limit_fails_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="time limit 'soon'"):
        rl.run(rl.Study(), tmp_path / "runs", time_limit="soon")
    assert not (tmp_path / "runs").exists()
