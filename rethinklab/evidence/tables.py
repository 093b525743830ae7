"""A table of evidence as a file: a CSV whose first line says where the numbers are from."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from rethinklab.errors import ConfigError

DIGITS = "%.6g"
MARK = "# "


def labelled(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with `label` in `attrs["label"]`, where the figures look for it."""
    frame.attrs["label"] = label
    return frame


def save_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write the table, its label as a comment in the first line."""
    text = frame.to_csv(index=False, float_format=DIGITS, lineterminator="\n")
    label = " ".join(str(frame.attrs.get("label", "")).split())
    Path(path).write_text(f"{MARK}{label}\n{text}", encoding="utf-8")


def load_table(path: str | Path) -> pd.DataFrame:
    """The table that `save_table` wrote, its label back in `attrs`. Raises ConfigError where the
    file is not such a one."""
    try:
        head, _, body = Path(path).read_text(encoding="utf-8").partition("\n")
        if not head.startswith(MARK):
            raise ConfigError(f"{path} is not a table that `rethinklab record` wrote: its first "
                              f"line does not begin with {MARK.strip()!r}.")
        frame = pd.read_csv(io.StringIO(body))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a table ({error}).") from error
    if frame.empty:
        raise ConfigError(f"{path} is not a table that `rethinklab record` wrote: it has no rows.")
    return labelled(frame, head.removeprefix(MARK))
