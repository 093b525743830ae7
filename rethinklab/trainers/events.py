"""TensorBoard event files of a run, on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rethinklab.errors import ConfigError
from rethinklab.trainers.callbacks import Callback, TrainState

SCALARS = ("lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")


class EventFile(Callback):
    """Writes each epoch's row of the history into an event file under `folder`, one folder a run.

    A run that goes on from a checkpoint writes another file beside the first; TensorBoard joins
    them. Raises ConfigError where tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.writer: Any = None
        check_tensorboard()

    def on_start(self, state: TrainState) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=state.epoch + 1)

    def after_epoch(self, state: TrainState) -> None:
        row = state.history[-1]
        for name in SCALARS:
            self.writer.add_scalar(name, row[name], row["epoch"])

    def on_end(self, state: TrainState) -> None:
        if self.writer is not None:
            self.writer.close()


def check_tensorboard() -> None:
    """Raises ConfigError where tensorboard is not installed."""
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        raise ConfigError("event files need tensorboard, which is not installed; "
                          "pip install 'rethinklab[tensorboard]'.")
