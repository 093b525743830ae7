"""What every engine has its workers do: one stage, told of in a value that travels."""

from __future__ import annotations

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
