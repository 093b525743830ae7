"""Separate random streams from one seed: initialisation, data order, augmentation, and so on.

Each stream is a hash of the seed and the stream's name, so that drawing more numbers in one
place never shifts another, and two regimes of a pair can share a stream by naming it alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rethinklab.values import whole

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**31 - 1


def check_seed(seed: object) -> int:
    """`seed` as an int. Raises ConfigError unless it is a whole number in [0, 2**31)."""
    return whole("seed", seed, 0, MAX_SEED)


def stream(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names`, the same on every machine and version."""
    text = "/".join(str(part) for part in (check_seed(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for one stream."""
    import torch

    return torch.Generator().manual_seed(stream(seed, *names))


@contextmanager
def global_stream(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block with torch's global generators set to one stream, then put them back.

    For code that draws from the global generator and takes no other: `nn.init`, dropout.
    """
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream(seed, *names))
        yield
