"""How long a run may take, as people write it, and how much of that is left."""

from __future__ import annotations

import math
import re
import time

from rethinklab.errors import ConfigError
from rethinklab.values import number

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in UNITS))


def parse_duration(text: str, name: str = "time limit") -> float:
    """Seconds of a duration such as "90s", "25m", "1h30m" or "2d". name: for the error.

    Raises ConfigError for anything else, and for one that is not above 0.
    """
    found = PATTERN.fullmatch(text.replace(" ", "").lower()) if isinstance(text, str) else None
    seconds = sum(float(number) * scale for number, scale in
                  zip(found.groups(), UNITS.values(), strict=True) if number) if found else 0.0
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{name} {text!r} must be a duration above 0 such as 90s, 25m or 1h30m.")
    return seconds


def describe_duration(seconds: float) -> str:
    """A duration in the two units that matter: "3 d 4 h", "1 h 30 min", "4 min", "50 s"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


class Countdown:
    """Time from now on until a limit, by a clock that nobody can set.

    limit: seconds, a text that `parse_duration` takes, None for no limit, or another countdown,
    whose end is taken over. Raises ConfigError for a limit that is none.
    """

    def __init__(self, limit: float | str | Countdown | None = None) -> None:
        self.end: float | None = None
        if isinstance(limit, Countdown):
            self.end = limit.end
            return
        if isinstance(limit, str):
            limit = parse_duration(limit)
        if limit is not None:
            self.end = time.monotonic() + number(
                "time limit", limit, above=0,
                rule="a number of seconds above 0, or a text such as 90s, 25m or 1h30m")

    @property
    def left(self) -> float | None:
        """Seconds left, 0 where there are none; None without a limit."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.left == 0
