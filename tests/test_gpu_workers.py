"""Several workers on one GPU: the life of the MPS daemon, played by a stand-in, and their number.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import lives, wait_until
from small_studies import outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.experiments.engines import choose, local, mps, mps_guard, task
from rethinklab.experiments.engines.drive import Lost
from rethinklab.experiments.engines.gpu_share import CONTEXT, MOST, Need, training_of, workers_on

# What the real program does, as far as the kit uses it: -f serves until it is told to quit, and
# without an argument it passes a command on, or fails where nobody serves.
STAND_IN = """#!/bin/sh
control=$CUDA_MPS_PIPE_DIRECTORY/control
if [ "$1" = -f ]; then
  echo $$ >> "$STAND_IN_RECORD"
  case $STAND_IN in
    dies) exit 1 ;;
    hangs) exec sleep 1000 ;;
  esac
  echo $$ > "$control"
  while [ -e "$control" ]; do sleep 0.02; done
  exit 0
fi
read -r command
kill -0 "$(cat "$control")" 2>/dev/null || exit 1
case $STAND_IN,$command in
  deaf,quit*) ;;
  *,quit*) rm "$control" ;;
esac
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The stand-in on the PATH; its value lists the processes that served."""
    folder, record = tmp_path / "bin", tmp_path / "served"
    folder.mkdir()
    (folder / mps.PROGRAM).write_text(STAND_IN)
    (folder / mps.PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_RECORD", str(record))
    monkeypatch.setenv(mps_guard.PIPES, str(tmp_path / "nobody"))
    record.touch()
    return lambda: [int(line) for line in record.read_text().split()]


def test_a_daemon_of_the_runs_own_serves_and_ends(program):
    served = mps.serve()
    (daemon,), folder = program(), Path(served.variables[mps_guard.PIPES]).parent
    assert served.serves
    assert lives(daemon)
    assert folder.stat().st_mode & 0o077 == 0, "others could reach the pipes"
    assert len(str(folder / "pipe" / "control")) < 108
    assert served.environment() == mps_guard.places(folder)
    served.close()
    served.close()
    assert not served.serves
    assert not lives(daemon)
    assert not folder.exists()


@pytest.mark.parametrize("fate", ["dies", "hangs"])
def test_a_daemon_that_does_not_start_is_told_and_nothing_stays(program, fate, monkeypatch):
    monkeypatch.setenv("STAND_IN", fate)
    monkeypatch.setattr(mps, "START_SECONDS", 2.0)
    monkeypatch.setattr(mps.tempfile, "mkdtemp", lambda prefix, dir: str(made(dir)))
    folders = []

    def made(place):
        folders.append(Path(os.environ["STAND_IN_RECORD"]).parent / "m")
        folders[-1].mkdir()
        return folders[-1]

    served = mps.serve()
    assert not served.serves
    assert served.environment() == {}
    assert "did not start, so the workers take turns" in served.remark
    assert not any(map(lives, program()))
    assert not folders[0].exists()


def test_where_there_is_no_program_the_workers_take_turns(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    served = mps.serve()
    assert (served.serves, served.environment()) == (False, {})
    assert "is not installed, so the workers take turns" in served.remark


def test_a_daemon_that_does_not_quit_is_killed(program, monkeypatch):
    monkeypatch.setenv("STAND_IN", "deaf")
    served = mps.serve()
    served.close()
    assert not any(map(lives, program()))


def test_a_daemon_that_dies_serves_no_more(program):
    served = mps.serve()
    (daemon,) = program()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not served.serves)
    assert served.environment() == {}
    served.close()


def test_a_daemon_that_runs_already_is_used_and_left(program, tmp_path, monkeypatch):
    own = tmp_path / "nobody"
    own.mkdir()
    daemon = subprocess.Popen([mps.PROGRAM, "-f"])
    wait_until(lambda: (own / "control").exists())
    served = mps.serve()
    assert served.serves
    assert served.guard is None
    assert served.environment() == {}, "the environment as it is leads there"
    served.close()
    assert len(program()) == 1
    assert daemon.poll() is None
    (own / "control").unlink()
    daemon.wait()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_daemon_ends_with_the_run_however_that_ends(program, ending):
    driver = subprocess.Popen(
        [sys.executable, "-c", "from rethinklab.experiments.engines.mps import serve\n"
         "served = serve()\nprint(served.serves, flush=True)\nimport time\ntime.sleep(1000)"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert driver.stdout.readline() == "True\n"
    (daemon,) = program()
    driver.send_signal(ending)
    driver.communicate()
    wait_until(lambda: not lives(daemon))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture
def one_gpu(monkeypatch):
    """The processor stands for a GPU that takes two trainings at once."""
    monkeypatch.setattr(local, "count_gpus", lambda device: 1)
    monkeypatch.setattr(local, "available_cores", lambda: 16)
    monkeypatch.setattr(local, "probe", lambda stage, device: 2)


@pytest.mark.slow
def test_a_study_on_a_gpu_says_how_it_was_shared(program, one_gpu, images, tmp_path, capsys):
    study = small_study(images, regimes=["finetune"])
    found = rl.run(study, tmp_path / "runs")
    (daemon,) = program()
    assert not lives(daemon)
    assert set(found.frame["workers"]) == {2}
    assert set(found.frame["mps"]) == {True}
    alone = run(study, tmp_path / "others", workers=0)
    assert outcome(found) == outcome(alone)
    assert set(alone.frame["workers"]) == {1}
    assert set(alone.frame["mps"]) == {False}


@pytest.mark.slow
def test_workers_find_the_daemon_and_a_killed_one_is_replaced(program, one_gpu, images, tmp_path):
    store = rl.Store(tmp_path / "runs")
    study = small_study(images, seeds=1, regimes=["finetune"])
    large = study.trials(study.load())[0].stages[0]
    crew = local.gpu_workers(store, [large], 1, "auto", None, 2)
    try:
        assert "2 worker(s) on 1 GPU(s): the workers share the GPU" in crew.remark
        place = crew.ask(os.getenv, mps_guard.PIPES)
        assert place == crew.mps.variables[mps_guard.PIPES]
        os.kill(crew.ask(os.getpid), signal.SIGKILL)
        ended = [(large, Lost("not begun"))]
        while isinstance(ended[0][1], Lost):  # the kill may be noticed after the stage is given out
            crew.submit([large], None)
            while not (ended := crew.poll(1)):
                pass
        assert ended == [(large, None)]
        assert crew.ask(os.getenv, mps_guard.PIPES) == place
    finally:
        crew.close()
    assert not any(map(lives, program()))


@pytest.mark.slow
def test_a_worker_whose_gpu_fails_hands_its_stage_on(images, tmp_path):
    study = small_study(images, seeds=1, regimes=["finetune"])
    regime = study.trials(study.load())[1].stages[-1]  # what it needs is not there: it fails
    crew = local.LocalWorkers(rl.Store(tmp_path / "runs"), 1, ["cpu"])
    try:
        for broken in (False, True):
            if broken:
                crew.ask(setattr, task, "device_answers", lambda: False)
            crew.submit([regime], None)
            while not (ended := crew.poll(1)):
                pass
            assert isinstance(ended[0][1], Lost) == broken
    finally:
        crew.close()


@pytest.mark.parametrize(("kind", "workers"), [("mps", 1), ("xpu", 1), ("cpu", 16)])
def test_gpus_of_other_makers_have_one_worker_unless_asked(monkeypatch, tmp_path, kind, workers):
    monkeypatch.setattr(choose, "pick_device", lambda device: torch.device(kind))
    monkeypatch.setattr(local, "available_cores", lambda: 16)
    options = {"threads": 1, "device": kind, "events": None, "gpus_per_trial": None, "slurm": {},
               "stages": []}
    crew = choose.make_executor("local", rl.Store(tmp_path / "runs"), workers=None, **options)
    asked = choose.make_executor("local", rl.Store(tmp_path / "runs"), workers=3, **options)
    assert (crew.slots, asked.slots) == (workers, 3)


GIB = 2**30


@pytest.mark.parametrize(("free", "memory", "room", "workers"), [
    (80 * GIB, 2 * GIB, 2.7, 8), (80 * GIB, 2 * GIB, 1.6, 5), (80 * GIB, 2 * GIB, 1.0, 1),
    (80 * GIB, 2 * GIB, 0.9, 1), (8 * GIB, 2 * GIB, 2.7, 3), (8 * GIB, 9 * GIB, 2.7, 1)])
def test_the_number_of_workers_fits_memory_and_helps(free, memory, room, workers):
    assert workers_on(free, Need(memory, room)) == workers <= MOST
    assert workers * memory <= free or workers == 1
    assert memory >= CONTEXT, "a process takes some memory whatever it trains"


def test_the_probe_trains_the_large_network(images):
    study = small_study(images, seeds=1)
    stages = [stage for trial in study.trials(study.load()) for stage in trial.stages]
    for stage in stages:
        assert training_of([stage]).kind == "large"
        assert "model" in training_of([stage]).spec
