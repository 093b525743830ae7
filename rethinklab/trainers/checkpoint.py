"""Checkpoints from which a run goes on exactly as if it had never stopped."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rethinklab.errors import first_line
from rethinklab.trainers import distributed
from rethinklab.trainers.callbacks import Callback, TrainState


class Checkpoint(Callback):
    """Keeps the state of a run in `path`, replaced atomically, at most every `seconds`.

    key: names the run; a file with another key is not this run's and is never resumed from.
    Where several processes train together, process 0 alone reads and writes the file.
    """

    def __init__(self, path: Path, key: str, seconds: float = 10.0) -> None:
        self.path, self.key, self.seconds = path, key, seconds
        self.saved_at = time.monotonic()

    def restore(self, state: TrainState) -> bool:
        """Load the file into `state`; False where there is none that fits."""
        saved = distributed.broadcast_object(self._read() if distributed.is_main() else None)
        if saved is None:
            return False
        weights = deepcopy(state.model.state_dict())
        try:
            epoch, history = saved["epoch"], saved["history"]
            state.model.load_state_dict(saved["model"])
            state.optimizer.load_state_dict(saved["optimizer"])
        except Exception:  # a file of another kind raises anything
            self._warn()
            state.model.load_state_dict(weights)
            return False
        state.epoch, state.history = epoch, history
        return True

    def _read(self) -> dict[str, Any] | None:
        """What the file holds; None where there is none, or one of another run or kind."""
        if not self.path.is_file():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            if not isinstance(saved, dict):
                raise TypeError(f"the file holds a {type(saved).__name__}")
            return saved if saved["key"] == self.key else None
        except Exception:  # a file cut short raises anything
            self._warn()
            return None

    def _warn(self) -> None:
        warnings.warn(f"{self.path} is not a readable checkpoint; training starts over.",
                      stacklevel=3)

    def after_epoch(self, state: TrainState) -> None:
        if time.monotonic() - self.saved_at < self.seconds:
            return
        try:
            self.save(state)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError of a full disk
            warnings.warn(f"the checkpoint {self.path} could not be written ({first_line(error)}); "
                          "training goes on without.", stacklevel=2)
            self.saved_at = time.monotonic()

    def save(self, state: TrainState) -> None:
        if not distributed.is_main():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}.tmp")
        try:
            torch.save({"key": self.key, "epoch": state.epoch + 1, "history": state.history,
                        "model": state.model.state_dict(),
                        "optimizer": state.optimizer.state_dict()}, draft)
            os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)
        self.saved_at = time.monotonic()


def layout(model: nn.Module) -> str:
    """A short hash of the names, shapes and types of a network's tensors."""
    tensors = [(name, tuple(value.shape), value.dtype) for name, value in
               (*model.named_parameters(), *model.named_buffers())]
    return hashlib.sha256(repr(tensors).encode()).hexdigest()[:8]


def run_key(model: nn.Module, *settings: object) -> str:
    """A hash of where a run starts from: every weight, and the settings as printed."""
    digest = hashlib.sha256(repr(settings).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
