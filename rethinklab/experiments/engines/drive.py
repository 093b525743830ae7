"""The loop that all engines share: which stage is given out when, and what becomes of it."""

from __future__ import annotations

import heapq
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from rethinklab.errors import OutOfTime, RethinkError, StageHeld
from rethinklab.experiments.store import Store
from rethinklab.experiments.time_limit import Countdown
from rethinklab.experiments.trial import Stage
from rethinklab.trainers import distributed

POLL_SECONDS = 0.5
RETRIES = 2
GRACE_SECONDS = 2.0

Started = Callable[[Stage], None]
Ended = Callable[[Stage, "RethinkError | None"], None]
Passed = Callable[[Stage, str], None]


@dataclass(frozen=True)
class Lost:
    """A stage that stopped through no fault of its own, as far as one can tell: its worker was
    killed, its node went away. reason: for "...: REASON". counts: whether it may happen only
    `RETRIES` times; not where the stage came further and left a checkpoint."""

    reason: str
    counts: bool = True


Outcome = RethinkError | Lost | None


class Executor(Protocol):
    """Where stages run. slots: how many it takes at once. remark: what there is to say of it, in
    a sentence or none."""

    slots: int
    remark: str

    def submit(self, stages: Sequence[Stage], seconds: float | None) -> None:
        """Begin with stages, at most as many as slots are free. seconds: after which each is to
        stop at the end of an epoch; None is never."""

    def poll(self, timeout: float) -> list[tuple[Stage, Outcome]]:
        """Those that ended, after `timeout` seconds at the latest (in this process: when it is
        done); None for one that is stored."""

    def cancel(self) -> None:
        """End the stages that still run."""

    def close(self) -> None:
        """Free what belongs to this process; safe to call at any time."""


def run_stages(stages: Sequence[Stage], store: Store, executor: Executor, *, limit: Countdown,
               started: Started, ended: Ended, tick: Callable[[], None],
               passed: Passed = lambda stage, address: None) -> bool:
    """Run stages, the first ones first, each when what it needs is stored; those that need one
    that failed are left out. Returns whether the time ran out before all was tried.

    What another process works on is passed over for the next that is free, and looked at again
    about twice a second: it may be done by then, or its process dead and the stage free.
    limit: once a stage stopped early for it nothing more is started, and what still runs at its
    end is cancelled. started, ended: called here for each stage, `ended` with the error where
    there was one, which is OutOfTime for a stage that stopped early; for one that another process
    did, `ended` alone. passed: called for one that is passed over, each time, with the address
    that is held: its own, or that of the training that it shares. tick: called about twice a
    second meanwhile. A stage whose worker was lost is given out again, twice at most.
    """
    queue, running, losses = Queue(stages, store), 0, Counter[str]()
    closing = False
    try:
        while not distributed.broadcast_object(limit.over):
            batch = [] if closing else queue.take(executor.slots - running, ended, passed)
            if batch:
                executor.submit(batch, before_end(limit.left))
                running += len(batch)
                for stage in batch:
                    started(stage)
            if not running and (closing or not queue.held):
                break  # all are done, or need one that failed
            if not running:
                rest(limit)
            for stage, outcome in executor.poll(pause(limit)) if running else []:
                running -= 1
                if isinstance(outcome, StageHeld):
                    queue.pass_over(stage, outcome.address)
                    passed(stage, outcome.address)
                    continue
                if isinstance(outcome, Lost):
                    losses[stage.address] += outcome.counts
                    if losses[stage.address] <= RETRIES:
                        queue.put_back(stage)
                        continue
                closing |= isinstance(outcome, OutOfTime)
                ended(stage, queue.settle(stage, outcome))
            tick()
        if running:
            executor.cancel()
        return closing or running > 0 or bool(queue.ready or queue.held)
    finally:
        executor.close()


def pause(limit: Countdown) -> float:
    """Seconds until it is time to look around again."""
    return min(POLL_SECONDS, limit.left or POLL_SECONDS)


def rest(limit: Countdown) -> None:
    """Wait where all that is left is held by other processes."""
    time.sleep(pause(limit))


def before_end(left: float | None) -> float | None:
    """When a stage is to stop, so that its checkpoint is written before it would be cancelled."""
    return None if left is None else left - min(GRACE_SECONDS, left / 10)


class Queue:
    """The stages that wait, in their order; those come out whose needs are stored and that no
    other process holds.

    Other processes change the store meanwhile, so where several train one network together, the
    first alone looks at it, and all do alike. held: by address, what is locked elsewhere: the
    stage itself, or the training that it shares.
    """

    def __init__(self, stages: Sequence[Stage], store: Store) -> None:
        self.store = store
        self.held: dict[str, str] = {}
        self.order = {stage.address: number for number, stage in enumerate(stages)}
        self.stages = list(stages)
        self.unmet = distributed.broadcast_object(
            {stage.address: {need.address for need in stage.needs if not store.has(need)}
             for stage in stages})
        self.needed_by: dict[str, list[str]] = {}
        for address, needs in self.unmet.items():
            for need in needs:
                self.needed_by.setdefault(need, []).append(address)
        self.ready = [number for number, stage in enumerate(stages)
                      if not self.unmet[stage.address]]

    def take(self, most: int, ended: Ended, passed: Passed) -> list[Stage]:
        """Up to `most` stages that can be run now. On the way to them those are settled that
        another process has done, and those passed over that one holds."""
        batch: list[Stage] = []
        if most > 0:
            self._recall()
        while len(batch) < most and self.ready:
            stage = self.stages[heapq.heappop(self.ready)]
            found = self._look(stage, stage.address)
            if found == "stored":
                ended(stage, self.settle(stage, None))
            elif found == "held":
                self.pass_over(stage, stage.address)
                passed(stage, stage.address)
            else:
                batch.append(stage)
        return batch

    def pass_over(self, stage: Stage, address: str) -> None:
        """Have a stage wait until no other process holds `address`."""
        self.held[stage.address] = address

    def _recall(self) -> None:
        """Have those come out again that nobody else works on any more."""
        for address, lock in list(self.held.items()):
            stage = self.stages[self.order[address]]
            if self._look(stage, lock) != "held":
                del self.held[address]
                self.put_back(stage)

    def _look(self, stage: Stage, lock: str) -> str:
        """"stored", "held" by another process, or "free"."""
        found = ""
        if distributed.is_main():
            found = ("held" if self.store.is_held(lock) else
                     "stored" if arrived(self.store, stage) else "free")
        return distributed.broadcast_object(found)

    def put_back(self, stage: Stage) -> None:
        """Have a stage come out again."""
        heapq.heappush(self.ready, self.order[stage.address])

    def settle(self, stage: Stage, outcome: Outcome) -> RethinkError | None:
        """Note how a stage ended, so that those come out that waited for it; the error, if any."""
        if isinstance(outcome, Lost):
            return RethinkError(f"it was lost {RETRIES + 1} times, the last time because "
                                f"{outcome.reason}; what was finished is stored, so run again with "
                                "fewer workers, or with more memory for each.")
        if outcome is not None:
            return outcome
        if not arrived(self.store, stage):
            return RethinkError(f"it ended, but its result is not in {self.store.root} as seen "
                                "from here; workers must write to the same folder.")
        for address in self.needed_by.get(stage.address, ()):
            self.unmet[address].discard(stage.address)
            if not self.unmet[address]:
                heapq.heappush(self.ready, self.order[address])
        return None


def arrived(store: Store, stage: Stage) -> bool:
    """Whether a stage is stored, a network file system's memory of what was not there cleared."""
    if store.has(stage):
        return True
    with suppress(OSError):
        os.listdir(store.folder(stage).parent)
    return store.has(stage)

