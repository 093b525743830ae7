"""Checks of hyper-parameters, as methods take them from Python, JSON and the command line."""

from __future__ import annotations

import math
from typing import Any

from rethinklab.errors import ConfigError


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises ConfigError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} {value!r} must be a whole number, {least} or more.")


def check_number(name: str, value: Any, above: bool = False) -> None:
    """Raises ConfigError unless `value` is a finite number of 0 or more, or above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (above and value == 0):
        raise ConfigError(f"{name} {value!r} must be a number "
                          f"{'above 0' if above else 'of 0 or more'}.")


def check_flag(name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} {value!r} must be true or false.")
