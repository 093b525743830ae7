"""What figures are drawn from, checked at the door, and numbers put into their captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.results import Results


def table_of(given: pd.DataFrame | Results, kind: str) -> pd.DataFrame:
    """The table that a figure is drawn from: as it is given, or that of a study's results. Raises
    Missing where they give none."""
    return given.table(kind) if isinstance(given, Results) else given


def table_over(given: pd.DataFrame | Sequence[Results],
               group: Callable[[Sequence[Results]], Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """The table that a figure is drawn from: as it is given, or the one that `group` makes of
    several studies. Raises ConfigError where they do not belong together."""
    if isinstance(given, pd.DataFrame):
        return given
    tables = group(given)
    if len(tables) != 1:
        raise ConfigError(f"these {len(given)} studies make {len(tables)} tables "
                          f"({', '.join(tables) or 'none'}), where one is drawn; leave out the "
                          "studies that differ in more than this figure shows.")
    return next(iter(tables.values()))


def expect(frame: pd.DataFrame, columns: Sequence[str], remedy: str) -> None:
    """Raises ConfigError where a column is missing or there are no rows."""
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty:
        what = f"column {', '.join(missing)}" if missing else "rows"
        raise ConfigError(f"the table of this figure has no {what}; {remedy}.")


def number_text(value: float, form: str) -> str:
    """A number of a caption, or that there is none."""
    return "unknown" if math.isnan(value) else format(value, form)
