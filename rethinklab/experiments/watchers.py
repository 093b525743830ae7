"""What watches a stage while it trains: its progress for displays, and the time that it has."""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

from rethinklab.devices import pick_device
from rethinklab.files import write_atomically
from rethinklab.trainers.callbacks import Callback, TrainState

PROGRESS_SECONDS = 1.0


class TimeUp:
    """Says that a run must stop because another epoch, as long as the longest so far, would not
    end in time. seconds: from now on. Looks at no clock that can be set."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def __call__(self, state: TrainState) -> bool:
        longest = max(row["seconds"] for row in state.history)
        return time.monotonic() + longest > self.end


class ProgressFile(Callback):
    """Writes how far a run is into a small file, for displays in other processes."""

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.step, self.written = path, 0, 0.0
        self.place = {"host": platform.node(), "device": str(pick_device(device)),
                      "process": os.getpid()}
        self.begun, self.first = time.monotonic(), 0

    def on_start(self, state: TrainState) -> None:
        self.step = self.first = state.epoch * state.steps_per_epoch
        self._write(state)

    def after_step(self, state: TrainState) -> None:
        self.step += 1
        if time.monotonic() - self.written > PROGRESS_SECONDS:
            self._write(state)

    def after_epoch(self, state: TrainState) -> None:
        self._write(state)

    def _write(self, state: TrainState) -> None:
        last = state.history[-1]["test_accuracy"] if state.history else None
        done, end = self.step - self.first, state.epochs.stop * state.steps_per_epoch
        spent = time.monotonic() - self.begun
        content = {"epoch": self.step / state.steps_per_epoch, "epochs": state.recipe.epochs,
                   "first": state.epochs.start, "end": state.epochs.stop, "test_accuracy": last,
                   "seconds_left": spent / done * (end - self.step) if done else None,
                   **self.place}
        with suppress(OSError):  # a display is not worth a run
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(content))
        self.written = time.monotonic()
