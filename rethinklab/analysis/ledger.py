"""The budget ledger: what work was spent, counted where it is done.

A comparison of budgets is only as good as what it counts: epochs of training, but also the
passes over calibration images and the training that a pruning method does by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

BACKWARD = 2  # a backward pass computes two gradients, of inputs and of weights, for each layer


@dataclass
class Ledger:
    """Work so far. epochs: passes over the training images. train_images: images trained on, each
    as often as it was. forward_macs, backward_macs: multiply-adds of that training, the backward
    pass counted as twice the forward one. calibration_passes: images passed through the network,
    or a part of it, without training. seconds: wall time."""

    epochs: int = 0
    train_images: int = 0
    forward_macs: int = 0
    backward_macs: int = 0
    calibration_passes: int = 0
    seconds: float = 0.0

    def train(self, images: int, epochs: int, macs: int) -> None:
        """Adds training for `epochs` on `images` images with a network of `macs` multiply-adds."""
        self.epochs += epochs
        self.train_images += images * epochs
        self.forward_macs += images * epochs * macs
        self.backward_macs += BACKWARD * images * epochs * macs

    def calibrate(self, images: int) -> None:
        """Adds one pass of `images` images."""
        self.calibration_passes += images

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


_OPEN: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def keeping(ledger: Ledger) -> Iterator[Ledger]:
    """What the block spends is entered into `ledger`."""
    token = _OPEN.set(ledger)
    try:
        yield ledger
    finally:
        _OPEN.reset(token)


def open_ledger() -> Ledger | None:
    """The ledger that work is entered into at present; None where nobody keeps one."""
    return _OPEN.get()
