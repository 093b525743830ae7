"""The slurm engine: the stages that can be run, as arrays of Slurm jobs, by way of submitit."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rethinklab.errors import ConfigError, OutOfTime, RethinkError, StageHeld
from rethinklab.experiments.engines.cores import available_cores
from rethinklab.experiments.engines.drive import RETRIES, Lost, Outcome
from rethinklab.experiments.engines.local import check_threads
from rethinklab.experiments.engines.task import attempt
from rethinklab.experiments.stages import Setting
from rethinklab.experiments.store import Store
from rethinklab.experiments.time_limit import parse_duration
from rethinklab.experiments.trial import Stage
from rethinklab.values import whole

CLUSTERS = ("slurm", "local", "debug")
USUAL_TIME = "1h"
MOST_JOBS = 1000  # in one array, as Slurm is usually set up
LOOK_SECONDS = 2.0


class SlurmJobs:
    """Runs stages as Slurm jobs of `threads` CPUs each.

    workers: jobs at once; None for as many as Slurm takes. options: of the jobs: partition; time,
    such as "4h", after which a job is put into the queue again and goes on from its checkpoint;
    gpus; cpus, in place of `threads`; cluster, "local" to run jobs on this machine or "debug" to
    run them in this process; and any other option of sbatch by its long name. A driver that is
    stopped leaves its jobs, whose results the next one finds.
    Raises ConfigError where submitit is not installed, or for an option that cannot be used.
    """

    def __init__(self, store: Store, threads: int, device: str, events: str | None = None,
                 workers: int | None = None, gpus_per_trial: float | None = None,
                 options: Mapping[str, Any] | None = None) -> None:
        threads = check_threads(threads)
        if workers is not None:
            workers = whole("workers", workers, 1, rule="1 or more with the engine slurm")
        submitit = import_submitit()
        wanted = Job.settle(threads, gpus_per_trial, options or {})
        if wanted.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError("there is no Slurm here, for sbatch is not found; run this on a "
                              "login node, or give the option cluster=local to run the jobs on "
                              "this machine.")
        usual = MOST_JOBS if wanted.cluster == "slurm" else available_cores() // wanted.cpus
        self.slots, self.remark = min(workers or max(1, usual), MOST_JOBS), ""
        self.store = Store(store.root.resolve())
        self.setting = Setting(device, events=events and str(Path(events).resolve()),
                               engine="slurm", workers=self.slots)
        self.threads, self.seconds = threads, wanted.stage_seconds
        # Not under work/ADDRESS: jobs outlive their driver and hold no lock while they wait.
        self.folder = self.store.root / "work" / "slurm" / uuid.uuid4().hex
        self.submitter = submitit.AutoExecutor(self.folder, cluster=wanted.cluster,
                                               slurm_max_num_timeout=10_000)
        self.submitter.update_parameters(**wanted.parameters(self.slots))
        self.lost = submitit.core.utils.UncompletedJobError
        self.failed = submitit.core.utils.FailedJobError
        self.running: list[tuple[Stage, Any]] = []
        self.all_well = True

    def submit(self, stages: Sequence[Stage], seconds: float | None) -> None:
        works = [Work(stage, self.store, replace(self.setting, seconds=seconds), self.threads,
                      self.seconds) for stage in stages]
        with self.submitter.batch():
            jobs = [self.submitter.submit(work) for work in works]
        self.running += zip(stages, jobs, strict=True)

    def poll(self, timeout: float) -> list[tuple[Stage, Outcome]]:
        end = time.monotonic() + timeout
        while True:
            done = [(stage, job) for stage, job in self.running if job.done()]
            if done or time.monotonic() >= end:
                break
            time.sleep(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))
        over = {id(job) for _, job in done}
        self.running = [(stage, job) for stage, job in self.running if id(job) not in over]
        return [(stage, self._outcome(job)) for stage, job in done]

    def _outcome(self, job: Any) -> Outcome:
        try:
            outcome: Outcome = job.result()
        except self.failed as error:
            raise RethinkError(f"the Slurm job {job.job_id} failed; its log is {job.paths.stderr}."
                               ) from error
        except self.lost:
            outcome = Lost(f"the Slurm job {job.job_id} ended without a result ({job.state}; its "
                           f"log is {job.paths.stderr})")
        self.all_well &= outcome is None or isinstance(outcome, (OutOfTime, StageHeld))
        return outcome

    def cancel(self) -> None:
        for _, job in self.running:
            job.cancel(check=False)
        self.running.clear()

    def close(self) -> None:
        if self.all_well and not self.running:  # logs of what went wrong stay, and of what goes on
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm for a job. seconds: its time. more: options of sbatch by name."""

    cluster: str
    seconds: float
    cpus: int
    gpus: int
    partition: str | None
    more: Mapping[str, Any]

    @classmethod
    def settle(cls, threads: int, gpus_per_trial: float | None, options: Mapping[str, Any]) -> Job:
        """From the options of the engine. Raises ConfigError for one that cannot be used."""
        more = dict(options)
        cluster = more.pop("cluster", "slurm")
        if cluster not in CLUSTERS:
            raise ConfigError(f"slurm option cluster {cluster!r} must be one of "
                              f"{', '.join(CLUSTERS)}.")
        seconds = parse_duration(more.pop("time", USUAL_TIME), "slurm option time")
        partition = more.pop("partition", None)
        cpus = whole("cpus", more.pop("cpus", threads), threads, floats=True, of="a Slurm job",
                     rule=f"a whole number, at least {threads}")
        gpus = whole("gpus", more.pop("gpus", gpus_per_trial or 0), 0, floats=True,
                     of="a Slurm job")
        return cls(cluster, seconds, cpus, gpus, partition, more)

    @property
    def minutes(self) -> int:
        """The job's time in minutes, as Slurm counts it."""
        return max(1, -int(-self.seconds // 60))

    @property
    def stage_seconds(self) -> float:
        """After how long a stage stops, so that it can begin and end, and its checkpoint be
        written, before Slurm warns the job, 90 s before its end."""
        return max(self.seconds / 2, self.seconds - 150)

    def parameters(self, slots: int) -> dict[str, Any]:
        """For submitit's AutoExecutor; those of Slurm alone are passed over elsewhere."""
        found = {"name": "rethinklab", "timeout_min": self.minutes, "cpus_per_task": self.cpus,
                 "gpus_per_node": self.gpus, "slurm_partition": self.partition,
                 "slurm_array_parallelism": slots,
                 "slurm_additional_parameters": dict(self.more) or None}
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class Work:
    """A stage as a job that can be put into the queue again.

    job_seconds: after which a stage is to stop for the sake of the job's own time. fruitless: how
    many jobs before this one ended without a new checkpoint.
    """

    stage: Stage
    store: Store
    setting: Setting
    threads: int
    job_seconds: float
    fruitless: int = 0
    found: tuple[int, int] | None = None

    def __call__(self) -> Outcome:
        import torch

        torch.set_num_threads(self.threads)
        self.found = self._checkpoint_stamp()
        given = self.setting.seconds
        own = given is None or self.job_seconds < given
        seconds = self.job_seconds if own else given
        outcome = attempt(self.stage, self.store, replace(self.setting, seconds=seconds))
        if own and isinstance(outcome, OutOfTime):
            if given is not None:
                self.setting = replace(self.setting, seconds=given - self.job_seconds)
            requeue_this_job()
            return Lost("the time of its job was over", counts=False)
        return outcome

    def checkpoint(self) -> Any:
        """What submitit puts into the queue in place of this when Slurm says that time is nearly
        over or that the job must make way. Raises RethinkError where jobs do not bring the stage
        any further."""
        from submitit.helpers import DelayedSubmission

        further = self._checkpoint_stamp() != self.found
        fruitless = 0 if further else self.fruitless + 1
        if fruitless > RETRIES:
            raise RethinkError(f"{fruitless} Slurm jobs in turn ended before a checkpoint was "
                               "written; give them more time with the slurm option time=...")
        return DelayedSubmission(replace(self, fruitless=fruitless))

    def _checkpoint_stamp(self) -> tuple[int, int] | None:
        try:
            status = (self.store.work(self.stage) / "checkpoint.pt").stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def requeue_this_job() -> None:
    """Do what submitit does at the end of a job's time, which ends this process; nothing where no
    queue would take the job back (cluster "debug")."""
    number = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"))
    if callable(signal.getsignal(number)):
        os.kill(os.getpid(), number)


def import_submitit() -> Any:
    """The module submitit. Raises ConfigError where it is not installed."""
    try:
        import submitit
    except ImportError as error:
        raise ConfigError("the engine slurm needs the package submitit, which is not installed; "
                          "pip install 'rethinklab[slurm]'.") from error
    return submitit
