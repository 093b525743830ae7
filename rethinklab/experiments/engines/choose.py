"""The engines by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rethinklab.devices import pick_device
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.engines.drive import Executor
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage

ENGINES = ("local", "ray", "slurm")


def check_engine(engine: str, workers: int | None, gpus_per_trial: float | None,
                 slurm: Mapping[str, Any]) -> None:
    """Raises ConfigError for an engine that there is not, or options that it does not have."""
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if slurm and engine != "slurm":
        raise ConfigError(f"options of Slurm jobs ({', '.join(slurm)}) mean nothing to the engine "
                          f"{engine}; choose the engine slurm, or leave them out.")
    if gpus_per_trial is not None and engine == "local":
        raise ConfigError(f"gpus_per_trial {gpus_per_trial} means nothing to the engine local, "
                          "where workers share the GPUs; give a number of workers instead.")
    if workers == 0 and engine != "local":
        raise ConfigError(f"workers 0 is this process, which the engine {engine} does not use; "
                          "give 1 or more.")


def make_executor(engine: str, store: Store, *, workers: int | None, threads: int, device: str,
                  events: str | None, gpus_per_trial: float | None,
                  slurm: Mapping[str, Any], stages: Sequence[Stage]) -> Executor:
    """The executor of an engine that `check_engine` let pass, for these stages. Raises ConfigError
    where it cannot be used here."""
    if engine == "ray":
        from rethinklab.experiments.engines.on_ray import RayCluster

        return RayCluster(store, threads, device, events, workers, gpus_per_trial)
    if engine == "slurm":
        from rethinklab.experiments.engines.on_slurm import SlurmJobs

        return SlurmJobs(store, threads, device, events, workers, gpus_per_trial, slurm)
    from rethinklab.experiments.engines import local

    if workers == 0:
        return local.InProcess(store, threads, device, events)
    if local.count_gpus(device):
        return local.gpu_workers(store, stages, threads, device, events, workers)
    if workers is None and pick_device(device).type != "cpu":
        workers = 1  # another maker's GPU, which processes were not seen to share
    return local.LocalWorkers(store, threads, [device] * local.check_workers(workers, threads),
                              events)
