"""The ray engine: each stage a task on a cluster, or on this machine where there is none."""

from __future__ import annotations

import logging
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from rethinklab.errors import ConfigError, RethinkError, StoreError
from rethinklab.experiments.engines.cores import available_cores
from rethinklab.experiments.engines.drive import Lost, Outcome
from rethinklab.experiments.engines.local import check_threads
from rethinklab.experiments.engines.task import attempt
from rethinklab.experiments.stages import Setting
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage
from rethinklab.values import number, whole


class RayCluster:
    """Runs stages as ray tasks of `threads` CPUs and a share of a GPU each.

    Joins the cluster that this process is connected to, or else the one that RAY_ADDRESS names or
    that runs on this machine, or else starts one here. workers: tasks at once; None for as many
    as the cluster takes. gpus_per_trial: a share of a GPU; by default what lets the workers share
    all GPUs, a whole one without `workers`, and none where the cluster has none.
    Raises ConfigError where ray is not installed, or no node can have what a task needs.
    """

    def __init__(self, store: Store, threads: int, device: str, events: str | None = None,
                 workers: int | None = None, gpus_per_trial: float | None = None) -> None:
        threads = check_threads(threads)
        if workers is not None:
            workers = whole("workers", workers, 1, rule="1 or more with the engine ray")
        self.ray = import_ray()
        self.root = store.root.resolve()
        self.device, self.events = device, events and str(Path(events).resolve())
        self.own = not self.ray.is_initialized()
        if self.own:
            connect(self.ray)
        try:
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            gpus = gpu_share(device, workers, sum(n.get("GPU", 0) for n in nodes), gpus_per_trial)
            check_room(nodes, threads, gpus)
        except ConfigError:
            self._disconnect()
            raise
        self.slots = workers or room(nodes, threads, gpus)
        self.running: dict[Any, Stage] = {}
        self.remark = ""
        # The driver's own counting of losses is the only one, so that every engine has one rule.
        self.task = self.ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(on_node)
        self.threads = threads
        # Workers look for it: a folder of this name on another disk is not the same store.
        self.marker = FileLock(self.root / "work" / f"driver-{uuid.uuid4().hex}.lock")
        self.marker.acquire()

    def submit(self, stages: Sequence[Stage], seconds: float | None) -> None:
        setting = Setting(self.device, seconds, self.events, "ray", self.slots)
        for stage in stages:
            task = self.task.remote(stage, str(self.root), Path(self.marker.lock_file).name,
                                    setting, self.threads)
            self.running[task] = stage

    def poll(self, timeout: float) -> list[tuple[Stage, Outcome]]:
        finished, _ = self.ray.wait(list(self.running), timeout=timeout)
        return [(self.running.pop(task), self._outcome(task)) for task in finished]

    def _outcome(self, task: Any) -> Outcome:
        errors = self.ray.exceptions
        try:
            return self.ray.get(task)
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RaySystemError as error:  # such as a package that a node lacks
            reason = str(error).strip().splitlines()[-1]
            raise RethinkError(f"a ray node could not begin a stage ({reason}); install the same "
                               "rethinklab there as here.") from error
        except errors.RayError as error:  # a worker killed, a node lost
            return Lost(f"ray lost it ({type(error).__name__})")

    def cancel(self) -> None:
        for task in self.running:
            self.ray.cancel(task, force=True)

    def close(self) -> None:
        self.cancel()
        self.running.clear()
        self.marker.release()
        Path(self.marker.lock_file).unlink(missing_ok=True)
        self._disconnect()

    def _disconnect(self) -> None:
        if self.own:
            self.ray.shutdown()


def on_node(stage: Stage, root: str, marker: str, setting: Setting,
            threads: int) -> RethinkError | None:
    """A stage in a ray worker."""
    import platform

    import torch

    torch.set_num_threads(threads)
    if not (Path(root) / "work" / marker).is_file():
        return StoreError(f"the store {root} of the computer that started the study is not seen on "
                          f"the node {platform.node()}; name a folder that all nodes share with "
                          "--store.")
    return attempt(stage, Store(root, create=False), setting)


def import_ray() -> Any:
    """The module ray. Raises ConfigError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("the engine ray needs the package ray, which is not installed; "
                          "pip install 'rethinklab[ray]'.") from error
    return ray


def connect(ray: Any) -> None:
    """Join a cluster, or start one on this machine with its cores."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    named = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address=named or "auto", **quiet)
    except ConnectionError as error:
        if named:
            raise ConfigError(f"no ray cluster answers at {named}, which RAY_ADDRESS names; start "
                              "it, or unset the variable.") from error
        ray.init(address="local", num_cpus=available_cores(), include_dashboard=False, **quiet)


def gpu_share(device: str, workers: int | None, gpus: float, given: float | None) -> float:
    """The share of a GPU for each task: as given, else such that `workers` fit onto `gpus`.

    Raises ConfigError for a share that ray cannot give: it is 0 to 1, or a whole number.
    """
    if given is not None:
        rule = "a share from 0 to 1, or a whole number"
        given = number("gpus_per_trial", given, 0, rule=rule)
        return given if given <= 1 else whole("gpus_per_trial", given, floats=True, rule=rule)
    if device == "cpu" or gpus < 1:
        return 0.0
    return 1.0 if workers is None else 1 / math.ceil(workers / gpus)


def room(nodes: Sequence[Mapping[str, float]], threads: int, gpus: float) -> int:
    """How many tasks of so many CPUs and GPUs the nodes take at once."""
    count = 0
    for node in nodes:
        places = int(node.get("CPU", 0) // threads)
        if 0 < gpus <= 1:
            places = min(places, int(node.get("GPU", 0)) * int(1 / gpus + 1e-6))
        elif gpus:
            places = min(places, int(node.get("GPU", 0) // gpus))
        count += places
    return count


def check_room(nodes: Sequence[Mapping[str, float]], threads: int, gpus: float) -> None:
    """Raises ConfigError where a task would wait for ever, because no node is large enough."""
    if not room(nodes, threads, gpus):
        largest = {name: max((node.get(name, 0) for node in nodes), default=0)
                   for name in ("CPU", "GPU")}
        raise ConfigError(f"{threads} thread(s) and {gpus:g} GPU(s) for a trial are more than any "
                          f"node of the ray cluster has (at most {largest['CPU']:g} CPUs and "
                          f"{largest['GPU']:g} GPUs); ask for less with --threads or "
                          "--gpus-per-trial.")
