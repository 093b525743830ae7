"""Numbers of channels: the width multiplier, and widths given one by one."""

from __future__ import annotations

from collections.abc import Sequence

from rethinklab.errors import ConfigError
from rethinklab.values import listed, plain


def scale(channels: int, width: float) -> int:
    """`channels` times the width multiplier, at least 1."""
    return max(1, int(channels * width))


def explicit(widths: Sequence[int], count: int, network: str) -> list[int]:
    """`widths` as a list. Raises ConfigError unless it is `count` whole numbers of 1 or more."""
    found = listed(widths)
    if found is None or len(found) != count or not all(type(w) is int and w >= 1 for w in found):
        raise ConfigError(f"{network} needs {count} widths of 1 or more, got {plain(widths)}.")
    return found
