"""Numbers of channels: the width multiplier, and widths given one by one."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from rethinklab.errors import ConfigError


def scale(channels: int, width: float) -> int:
    """`channels` times the width multiplier, at least 1."""
    return max(1, int(channels * width))


def explicit(widths: Sequence[int], count: int, network: str) -> list[int]:
    """`widths` as a list. Raises ConfigError unless it is `count` whole numbers of 1 or more."""
    whole = all(isinstance(entry, Integral) and not isinstance(entry, bool) for entry in widths)
    if not whole or len(widths) != count or min(widths, default=0) < 1:
        raise ConfigError(f"{network} needs {count} widths of 1 or more, got {list(widths)}.")
    return [int(entry) for entry in widths]
