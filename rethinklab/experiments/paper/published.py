"""The numbers that the paper and its released README print for the presets.

Not all could be checked: those that are recalled from the paper are marked wherever they appear.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("preset", "regime", "accuracy", "sd", "relative", "verified", "source", "note")
MARK = "?"
LEGEND = (f"{MARK}  not checked against the paper: the number, or a part of it, is recalled. A "
          "sign in front (+ or -): the difference to the unpruned network, in percentage points.")
README = "released README"


def published(name: str) -> pd.DataFrame:
    """A row for each number printed for the preset `name`; none where none is known.

    accuracy: in percent, or with `relative` (bool) the difference to the base of its own
    framework. sd: over seeds, NaN where there is none. verified: "yes", "no", or "accuracy" where
    the sd is not. source: a table of the paper, its "Appendix", or "released README".
    Raises ConfigError for an unknown preset.
    """
    import pandas as pd

    from rethinklab.experiments.paper.choice import find

    rows = rows_of(find(name).name)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["accuracy"] = frame["accuracy"].astype(float)
    frame["sd"] = pd.to_numeric(frame["sd"])
    frame["relative"] = frame["relative"] == "yes"
    return frame


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of the table for a preset, as text."""
    return [row for row in _table() if row["preset"] == name]


def cells(name: str) -> dict[str, str]:
    """What the paper prints for each regime of a preset, such as "93.41 ±0.12 ?"."""
    return {row["regime"]: cell(row) for row in rows_of(name) if row["source"] != README}


def cell(row: Mapping[str, str]) -> str:
    """Accuracy, sd and, where not all of it is verified, the mark."""
    value = float(row["accuracy"])
    text = f"{value:+.2f}" if row["relative"] == "yes" else f"{value:.2f}"
    spread = f" ±{float(row['sd']):.2f}" if row["sd"] else ""
    return text + spread + ("" if row["verified"] == "yes" else f" {MARK}")


@lru_cache
def _table() -> tuple[dict[str, str], ...]:
    text = (files("rethinklab.experiments") / "published.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
