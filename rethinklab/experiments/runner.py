"""`run(study)`: do what is missing of a study. `rl.run` gives its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rethinklab.data import MEMORY, ImageData
from rethinklab.devices import pick_device
from rethinklab.errors import ConfigError, OutOfTime, StagesFailed
from rethinklab.experiments.engines.choose import check_engine, make_executor
from rethinklab.experiments.engines.drive import Executor, run_stages
from rethinklab.experiments.engines.local import check_workers
from rethinklab.experiments.progress import Display, longest_first, remember
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.experiments.time_limit import Countdown
from rethinklab.experiments.trial import Stage
from rethinklab.own import lives_here
from rethinklab.pruners import method_digest, method_name
from rethinklab.trainers import distributed
from rethinklab.trainers.events import check_tensorboard


def run(study: Study, store: str | Path | Store = "runs", *, workers: int | None = None,
        threads: int = 1, device: str = "auto", progress: bool = True, engine: str = "local",
        time_limit: float | str | Countdown | None = None, events: str | Path | None = None,
        gpus_per_trial: float | None = None, slurm: Mapping[str, Any] | None = None
        ) -> tuple[Study, Store, list[str]]:
    """Run the trials of a study that are not stored yet; the results of all of them.

    store: the folder of the results. workers: how many trials at once; by default one for each
    core, on a GPU as many as its memory and a short probe allow, and 0 runs in this process; over
    several GPUs they are dealt out in turn, and several on one share it by NVIDIA MPS where that
    can be had. threads: of each worker. On a CPU the results are the same to the bit for any number
    of workers and any engine, stopped and resumed or not.
    engine: "local"; "ray", a cluster or this machine; "slurm", jobs by way of submitit, with
    `slurm` as `SlurmJobs` takes it. gpus_per_trial: share of a GPU, for ray and slurm.
    time_limit: seconds, or a text such as "25m" or "1h30m", after which everything has ended; with
    workers=0 at the end of the epoch under way. events: a folder for TensorBoard's files.
    Several processes on one store, on any nodes with one file system, that run the same study or
    others share the work: what one holds, the others pass over for the next that is free.
    Processes that torchrun started train one network together; where their batch normalisation is
    not synchronised, results rest on their number and are kept as another study's (batch_parts).
    Raises StagesFailed naming each stage that failed, after all that need none of them are
    done and stored; OutOfTime where the time ran out first, and the same call goes on.
    """
    limit = Countdown(time_limit)
    study = as_run_here(study)
    if distributed.world() > 1:  # several processes train one network: stages one by one
        engine, workers, progress = "local", 0, progress and distributed.is_main()
    check_engine(engine, workers, gpus_per_trial, slurm or {})
    if engine == "local":  # elsewhere the devices are those of other computers
        pick_device(device)  # an unusable one fails here, not in every worker
        if check_workers(workers, threads) == 0:
            workers = 0
    if workers != 0:
        check_found_again(study)
    if events is not None:
        check_tensorboard()
    data = _load(study, progress)
    ratio = study.rehearse(data)
    place = store if isinstance(store, Store) else Store(store)
    trials = study.trials(data)
    addresses = {f"{t.seed}/{t.regime}": t.address for t in trials}
    stages = list({stage.address: stage for trial in trials for stage in trial.stages}.values())
    if distributed.is_main():
        place.save_study(study.name, {"study": study.to_dict(), "addresses": addresses,
                                      "stages": remember(stages, ratio)})
    missing = distributed.broadcast_object(
        longest_first([s for s in stages if not place.has(s)], ratio))
    if missing:
        executor = make_executor(engine, place, workers=workers, threads=threads, device=device,
                                 events=None if events is None else str(events),
                                 gpus_per_trial=gpus_per_trial, slurm=slurm or {}, stages=missing)
        display = Display(f"{study.method} {study.network}", stages, missing, place, ratio,
                          progress)
        _drive(executor, display, stages, missing, place, limit)
    return study, place, list(addresses.values())


def _drive(executor: Executor, display: Display, stages: Sequence[Stage],
           missing: Sequence[Stage], store: Store, limit: Countdown) -> None:
    display.say(executor.remark)
    try:
        ran_out = run_stages(missing, store, executor, limit=limit, started=display.started,
                             ended=display.ended, tick=display.tick, passed=display.passed)
    finally:
        display.close()
    check_done(display, stages, missing, store, ran_out)


def as_run_here(study: Study) -> Study:
    """The study with the number of parts in which the processes here normalise a batch. Raises
    ConfigError where it has another."""
    parts = distributed.batch_parts()
    if study.batch_parts is None and parts > 1:
        return replace(study, batch_parts=parts)
    distributed.check_parts(study.batch_parts or 1)
    return study


def check_found_again(study: Study) -> None:
    """Raises ConfigError where another process could not find the study's data, network or
    method."""
    remedy = "run with workers=0, or define it in a module and give \"package.module:name\"."
    if study.images_from.startswith(MEMORY):
        raise ConfigError(f"the images {study.load().name!r} are in this process's memory, and "
                          f"workers have no name to load them by; {remedy}")
    for kind, name in (("dataset", study.images_from), ("model", study.network),
                       ("method", study.method_name), ("method", method_name(type(study.acting)))):
        if lives_here(name):
            raise ConfigError(f"{kind} {name!r} is defined in the script or notebook that runs, "
                              f"which workers do not import; {remedy}")
    acting = type(study.acting)
    if ":" not in method_name(acting) and method_digest(acting):
        raise ConfigError(f"method {method_name(acting)} was registered in this process, and "
                          f"workers do not know it; {remedy}")


def check_done(display: Display, stages: Sequence[Stage], missing: Sequence[Stage], store: Store,
               ran_out: bool) -> None:
    """Raises OutOfTime or StagesFailed unless all that was missing is stored."""
    failed = " ".join(display.failures)
    stored = sum(store.has(stage) for stage in missing)
    if ran_out:
        raise OutOfTime(f"the time was up with {len(stages) - len(missing) + stored} of "
                        f"{len(stages)} stages stored; the same call goes on from there."
                        + f" {failed}".rstrip())
    if failed:
        untried = len(missing) - stored - len(display.failures)
        raise StagesFailed(display.causes, (
            f"of {len(missing)} stages {len(display.failures)} failed, {stored} are stored and "
            f"{untried} that need the failed ones were not tried. {failed}"))


def _load(study: Study, progress: bool) -> ImageData:
    """The study's images; of several processes the first alone downloads what is lacking."""
    if not distributed.is_main():
        distributed.barrier()
    data = study.load(progress)
    if distributed.is_main():
        distributed.barrier()
    return data
