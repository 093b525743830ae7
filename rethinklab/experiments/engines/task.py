"""What every engine has its workers do: one stage, told of in a value that travels."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

from rethinklab.errors import OutOfTime, RethinkError
from rethinklab.experiments.stages import Setting, run_stage
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage


def attempt(stage: Stage, store: Store, setting: Setting,
            end: float | None = None) -> RethinkError | None:
    """Do a stage; the error where it failed for a known reason, None where it is stored. One that
    another process holds is not waited for: StageHeld.

    end: in place of the setting's seconds, when to stop by the monotonic clock of this machine,
    which all its processes share: a worker may take long to start.
    """
    if end is not None:
        left = end - time.monotonic()
        if left <= 0:
            return OutOfTime("the time was up before it began.")
        setting = replace(setting, seconds=left)
    try:
        run_stage(stage, store, replace(setting, wait=False))
    except RethinkError as error:
        return error
    return None


def attempt_or_end(stage: Stage, store: Store, setting: Setting,
                   end: float | None = None) -> RethinkError | None:
    """`attempt` in a worker of its own, which ends where its GPU no longer takes any work, so that
    another does the stage: after a fault, nothing that a process asks of CUDA succeeds."""
    outcome = attempt(stage, store, setting, end)
    if outcome is not None and not device_answers():
        os._exit(1)
    return outcome


def device_answers() -> bool:
    """Whether CUDA, where this process uses it, still takes work."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
