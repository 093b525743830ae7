"""The local engine: stages in this process or in several worker processes on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.experiments.engines.cores import available_cores
from rethinklab.experiments.stages import Setting, run_stage
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage

POLL_SECONDS = 0.5
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Started = Callable[[Stage], None]
Ended = Callable[[Stage, "RethinkError | None"], None]


def check_workers(workers: int | None, threads: int, device: str) -> int:
    """How many workers to start. Raises ConfigError where they would want more threads than
    there are cores, which slows all of them down many times over."""
    cores = available_cores()
    if threads < 1:
        raise ConfigError(f"threads {threads} must be 1 or more.")
    if workers is None:
        import torch

        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        return 1 if on_gpu else max(1, cores // threads)
    if workers < 0:
        raise ConfigError(f"workers {workers} must be 0 (this process) or more.")
    if max(workers, 1) * threads > max(cores, 1):
        raise ConfigError(f"{max(workers, 1)} workers of {threads} thread(s) want more than the "
                          f"{cores} core(s) here; choose fewer.")
    return workers


def run_stages(stages: Sequence[Stage], store: Store, *, workers: int, threads: int, device: str,
               started: Started, ended: Ended, tick: Callable[[], None]) -> None:
    """Run stages in an order that respects what each needs; those whose need failed are left out.

    workers: processes, 0 for this one. started, ended: called here for each stage, `ended` with
    the error where there was one. tick: called about twice a second while workers run.
    """
    if workers == 0:
        _run_here(stages, store, threads, device, started, ended)
    else:
        _run_in_workers(stages, store, workers, threads, device, started, ended, tick)


def _run_here(stages: Sequence[Stage], store: Store, threads: int, device: str, started: Started,
              ended: Ended) -> None:
    waiting = list(stages)
    with capped_threads(threads):
        while ready := ready_stages(waiting, store):
            stage = ready[0]
            waiting.remove(stage)
            started(stage)
            error = None
            try:
                run_stage(stage, store, Setting(device))
            except RethinkError as raised:
                error = raised
            ended(stage, error)


def ready_stages(waiting: Sequence[Stage], store: Store) -> list[Stage]:
    """Those whose needs are stored."""
    return [s for s in waiting if all(store.has(need) for need in s.needs)]


def _run_in_workers(stages: Sequence[Stage], store: Store, workers: int, threads: int,
                    device: str, started: Started, ended: Ended,
                    tick: Callable[[], None]) -> None:
    from loky import ProcessPoolExecutor
    from loky.process_executor import TerminatedWorkerError

    waiting = list(stages)
    running: dict[Future[None], Stage] = {}
    pool = ProcessPoolExecutor(workers, env=dict.fromkeys(THREAD_VARIABLES, str(threads)),
                               initializer=_start_worker, initargs=(os.getpid(), threads))
    try:
        while waiting or running:
            for stage in ready_stages(waiting, store)[: workers - len(running)]:
                waiting.remove(stage)
                running[pool.submit(run_stage, stage, store, Setting(device))] = stage
                started(stage)
            if not running:
                break  # what is left needs a stage that failed
            finished, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            tick()
            for future in finished:
                stage = running.pop(future)
                error = None
                try:
                    future.result()
                except TerminatedWorkerError as lost:
                    raise RethinkError(
                        f"a worker process was killed during {stage.label}, perhaps for want of "
                        "memory. What was finished is stored: run again, with fewer workers if it "
                        "recurs.") from lost
                except RethinkError as raised:
                    error = raised
                ended(stage, error)
    finally:
        pool.shutdown(wait=True, kill_workers=True)


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
