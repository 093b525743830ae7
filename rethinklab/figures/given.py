"""What figures are given, checked at the door, and numbers put into their captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from rethinklab.errors import ConfigError


def expect(frame: pd.DataFrame, columns: Sequence[str], remedy: str) -> None:
    """Raises ConfigError where a column is missing or there are no rows."""
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty:
        what = f"column {', '.join(missing)}" if missing else "rows"
        raise ConfigError(f"the table of this figure has no {what}; {remedy}.")


def told(value: float, form: str) -> str:
    """A number of a caption, or that there is none."""
    return "unknown" if math.isnan(value) else format(value, form)
