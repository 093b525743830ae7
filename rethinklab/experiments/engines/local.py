"""The local engine: stages in this process or in several worker processes on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.experiments.engines.cores import available_cores
from rethinklab.experiments.engines.drive import Lost, Outcome
from rethinklab.experiments.engines.gpu_share import probe, training_of
from rethinklab.experiments.engines.mps import Mps, serve
from rethinklab.experiments.engines.task import attempt, attempt_or_end
from rethinklab.experiments.stages import Setting
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage
from rethinklab.values import whole

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def check_workers(workers: int | None, threads: int) -> int:
    """How many workers to start; by default as many as the cores allow. Raises ConfigError where
    they would want more threads than there are cores, which slows all of them down many times
    over."""
    cores = available_cores()
    threads = check_threads(threads)
    if workers is None:
        return max(1, cores // threads)
    workers = whole("workers", workers, 0, rule="0 (this process) or more")
    if max(workers, 1) * threads > max(cores, 1):
        raise ConfigError(f"{max(workers, 1)} workers of {threads} thread(s) want more than the "
                          f"{cores} core(s) here; choose fewer.")
    return workers


def check_threads(threads: int) -> int:
    """`threads` as an int. Raises ConfigError for a number of threads that is none."""
    return whole("threads", threads, 1)


def count_gpus(device: str) -> int:
    """The GPUs that `device` stands for on this machine."""
    if device not in ("auto", "cuda"):
        return int(device.startswith("cuda"))
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def spread(device: str, workers: int, gpus: int) -> list[str]:
    """The device of each worker: "auto" and "cuda" are dealt out over the GPUs in turn where
    there are several of both; any other device is everybody's."""
    if device in ("auto", "cuda") and workers > 1 and gpus > 1:
        return [f"cuda:{number % gpus}" for number in range(workers)]
    return [device] * workers


class InProcess:
    """Runs stages here, one after the other."""

    def __init__(self, store: Store, threads: int, device: str, events: str | None = None) -> None:
        self.store, self.threads, self.device, self.events = store, threads, device, events
        self.slots, self.remark = 1, ""
        self.given: list[tuple[Stage, float | None]] = []

    def submit(self, stages: Sequence[Stage], seconds: float | None) -> None:
        self.given += [(stage, seconds) for stage in stages]

    def poll(self, timeout: float) -> list[tuple[Stage, Outcome]]:
        done: list[tuple[Stage, Outcome]] = []
        with capped_threads(self.threads):
            while self.given:
                stage, seconds = self.given.pop()
                done.append((stage, attempt(stage, self.store,
                                            Setting(self.device, seconds, self.events))))
        return done

    def cancel(self) -> None:
        self.given.clear()

    def close(self) -> None:
        self.given.clear()


class LocalWorkers:
    """Runs stages in worker processes, one for each of `devices`, of `threads` threads. mps: how
    those on a GPU share it; ended with the workers.

    Each worker is a pool of its own, so that one that is killed takes no other stage along and
    is replaced, and its stage is known.
    """

    def __init__(self, store: Store, threads: int, devices: Sequence[str],
                 events: str | None = None, mps: Mps | None = None) -> None:
        self.store, self.threads, self.devices, self.events = store, threads, devices, events
        self.mps, self.slots, self.remark = mps, len(devices), ""
        self.pools: list[ProcessPoolExecutor | None] = [None] * self.slots
        self.running: dict[Future[RethinkError | None], tuple[Stage, int]] = {}

    def submit(self, stages: Sequence[Stage], seconds: float | None) -> None:
        busy = {slot for _, slot in self.running.values()}
        free = [slot for slot in range(self.slots) if slot not in busy]
        end = None if seconds is None else time.monotonic() + seconds
        for stage, slot in zip(stages, free, strict=False):
            setting = Setting(self.devices[slot], events=self.events, workers=self.slots,
                              mps=self.mps is not None and self.mps.serves)
            task = (stage, self.store, setting, end)
            try:
                future = self._pool(slot).submit(attempt_or_end, *task)
            except BrokenProcessPool:  # killed while it had nothing to do
                self._drop(slot)
                future = self._pool(slot).submit(attempt_or_end, *task)
            self.running[future] = stage, slot

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        from loky import ProcessPoolExecutor

        pool = self.pools[slot]
        if pool is None:
            pool = self.pools[slot] = ProcessPoolExecutor(
                1, env=dict.fromkeys(THREAD_VARIABLES, str(self.threads))
                | (self.mps.environment() if self.mps else {}), initializer=_start_worker,
                initargs=(os.getpid(), self.threads))
        return pool

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns in the first worker, while it has nothing else to do."""
        return self._pool(0).submit(function, *arguments).result()

    def grow(self, devices: Sequence[str]) -> None:
        """Be more workers, of which the first stays."""
        self.devices, self.slots = devices, len(devices)
        self.pools += [None] * (self.slots - len(self.pools))

    def poll(self, timeout: float) -> list[tuple[Stage, Outcome]]:
        finished, _ = wait(self.running, timeout=timeout, return_when=FIRST_COMPLETED)
        ended: list[tuple[Stage, Outcome]] = []
        for future in finished:
            stage, slot = self.running.pop(future)
            try:
                ended.append((stage, future.result()))
            except BrokenProcessPool:
                self._drop(slot)
                ended.append((stage, Lost("its worker process was killed, perhaps for want of "
                                          "memory, or lost its GPU")))
        return ended

    def _drop(self, slot: int) -> None:
        pool, self.pools[slot] = self.pools[slot], None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        self.running.clear()
        for slot in range(self.slots):
            self._drop(slot)
        if self.mps is not None:
            self.mps.close()


def gpu_workers(store: Store, stages: Sequence[Stage], threads: int, device: str,
                events: str | None, workers: int | None) -> LocalWorkers:
    """Workers on this machine's GPUs, several on each where that helps: as many as asked for, or
    as a probe of the first stage's network says."""
    gpus = count_gpus(device)
    mps = serve() if workers is None or workers > gpus else None
    crew = LocalWorkers(store, threads, spread(device, workers or 1, gpus), events, mps)
    if workers is None:
        try:
            each = crew.ask(probe, training_of(stages), spread(device, 2, gpus)[0])
            most = max(1, min(check_workers(None, threads), len(stages)))
        except BaseException:
            crew.close()
            raise
        crew.grow(spread(device, min(most, each * gpus), gpus))
    if mps is not None:
        crew.remark = f"{crew.slots} worker(s) on {gpus} GPU(s): {mps.remark}."
    return crew


def _start_worker(parent: int, threads: int) -> None:
    """One torch thread each, quiet on Ctrl-C, and gone within a second of the parent's death."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def capped_threads(threads: int) -> Iterator[None]:
    """Torch limited to `threads` threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
