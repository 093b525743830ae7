"""The slurm engine by submitit's local and debug executors, and by an sbatch that takes notes."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace

import pytest
from small_studies import outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, OutOfTime, RethinkError
from rethinklab.experiments.engines import on_slurm
from rethinklab.experiments.engines.drive import Lost
from rethinklab.experiments.engines.on_slurm import Job, SlurmJobs, Work
from rethinklab.experiments.stages import Setting

pytest.importorskip("submitit")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def study(images):
    return small_study(images, seeds=1, regimes=["finetune", "scratch-e"])


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("store") / "runs")


def on_cluster(study, store, cluster, **options):
    return run(study, store, engine="slurm", workers=None, slurm={"cluster": cluster}, **options)


def test_jobs_in_this_process_give_the_same_bits(study, whole, tmp_path):
    assert outcome(on_cluster(study, tmp_path / "runs", "debug")) == outcome(whole)
    assert not list((tmp_path / "runs" / "work").iterdir())


@pytest.mark.slow
def test_a_job_whose_time_is_over_goes_on_in_the_next(study, whole, tmp_path, monkeypatch):
    """In processes of this machine, which end in the same bits as one. Each job has time for one
    epoch, and the stages that train have two or one."""
    monkeypatch.setattr(Job, "stage_seconds", property(lambda self: 1e-3))
    few = replace(study, regimes=("finetune",))
    found = on_cluster(few, tmp_path / "runs", "local")
    assert outcome(found) == outcome(run(few, whole.store))
    assert list(found.frame["attempts"]) == list(found.frame["epochs"])
    assert not list((tmp_path / "runs" / "work").iterdir())


def test_without_a_queue_the_driver_gives_it_out_again(study, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(Job, "stage_seconds", property(lambda self: 1e-3))
    found = on_cluster(study, tmp_path / "runs", "debug")
    assert outcome(found) == outcome(whole)
    assert list(found.frame["attempts"]) == list(found.frame["epochs"])


@pytest.fixture
def work(study, tmp_path):
    store = rl.Store(tmp_path / "runs")
    stage = study.trials(study.load())[0].stages[0]
    return Work(stage, store, Setting("cpu"), 1, 1e9)


def test_the_limit_of_the_study_is_no_reason_to_queue_again(work, monkeypatch):
    monkeypatch.setattr(on_slurm, "requeue_this_job", lambda: pytest.fail("it was queued again"))
    work.setting = Setting("cpu", seconds=1e-3)
    assert isinstance(work(), OutOfTime)


def test_the_time_of_the_job_is_one_and_takes_it_off_the_limit(work, monkeypatch):
    left = []
    monkeypatch.setattr(on_slurm, "requeue_this_job", lambda: left.append(work.setting.seconds))
    work.setting, work.job_seconds = Setting("cpu", seconds=100.0), 1e-3
    assert work() == Lost("the time of its job was over", counts=False)
    assert left == [100.0 - 1e-3]


def test_a_job_is_queued_again_while_it_comes_further_and_twice_when_it_does_not(work):
    work.job_seconds = 1e-3
    work()
    assert work.checkpoint().function.fruitless == 0
    again = work.checkpoint().function
    again.found = again._checkpoint_stamp()  # a job that ends where it began
    for fruitless in (1, 2):
        again = again.checkpoint().function
        assert again.fruitless == fruitless
    with pytest.raises(RethinkError, match=r"3 Slurm jobs in turn .* time="):
        again.checkpoint()
    moved = replace(again, found=None)  # where it had found no checkpoint, and now there is one
    assert moved.checkpoint().function.fruitless == 0


def test_the_queue_is_asked_by_the_signal_that_submitit_waits_for(monkeypatch):
    heard = []
    monkeypatch.delenv("SUBMITIT_PREEMPT_SIGNAL", raising=False)
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        on_slurm.requeue_this_job()
        assert heard == [signal.SIGUSR2]
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)  # which would end the process
        on_slurm.requeue_this_job()
        assert len(heard) == 1
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Stands in for Slurm's: keeps the script that it is given, in `jobs`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (folder / name).write_text(
            f"#!/bin/sh\ncp \"$1\" {tmp_path}/script 2>/dev/null\n"
            f"echo \"$0 $@\" >> {tmp_path}/calls\necho Submitted batch job 17\n")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def test_jobs_are_an_array_with_the_options_that_were_given(study, sbatch):
    store = rl.Store(sbatch / "runs")
    options = {"partition": "gpu", "time": "4h", "gpus": 1, "cpus": 6, "account": "abc",
               "constraint": "h100"}
    jobs = SlurmJobs(store, 2, "auto", workers=7, options=options)
    stages = [trial.stages[0] for trial in replace(study, seeds=(0, 1, 2)).trials(study.load())
              if trial.regime == "unpruned"]
    jobs.submit(stages, None)
    lines = (sbatch / "script").read_text().splitlines()
    given = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert {"partition=gpu", "time=240", "gpus-per-node=1", "cpus-per-task=6", "account=abc",
            "constraint=h100", "array=0-2%3", "job-name=rethinklab", "signal=USR2@90"} <= given
    assert [stage for stage, _ in jobs.running] == stages
    jobs.close()  # a driver that ends leaves its jobs, and what they read
    assert jobs.folder.is_dir()
    assert "scancel" not in (sbatch / "calls").read_text()
    jobs.cancel()
    assert (sbatch / "calls").read_text().count("scancel 17_") == 3


@pytest.mark.parametrize(("options", "says"), [
    ({"cluster": "moon"}, "cluster 'moon' must be one of slurm, local, debug"),
    ({"time": 240}, "slurm option time 240 must be a duration"),
    ({"time": "04:00:00"}, "such as 90s, 25m or 1h30m"),
    ({"cpus": 1}, "cpus 1 of a Slurm job must be a whole number, at least 2"),
    ({"gpus": 0.5}, "gpus 0.5 of a Slurm job must be a whole number"),
    ({"gpus": "a100:1"}, "gpus 'a100:1'"),
    ({}, "no Slurm here")])
def test_wrong_options_of_jobs_are_named(tmp_path, options, says, monkeypatch):
    monkeypatch.setattr(on_slurm.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=says):
        SlurmJobs(rl.Store(tmp_path / "runs"), 2, "auto", options=options)


def test_a_stage_stops_before_slurm_warns_its_job():
    for time in ("1m", "5m", "1h", "1d"):
        job = Job.settle(1, None, {"time": time})
        assert 0 < job.stage_seconds < job.seconds
        if job.seconds >= 300:
            assert job.seconds - job.stage_seconds > 90  # the delay of submitit's signal


def test_a_missing_package_is_a_sentence_with_the_remedy(study, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'rethinklab\[slurm\]'"):
        on_cluster(study, tmp_path / "runs", "local")
