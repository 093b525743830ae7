"""A recorded study: a folder of small files that say all but the networks themselves.

    NAME/study.json    settings, schema of the addresses, provenance, notes on the tables
    NAME/trials.csv    a row a trial
    NAME/KIND.csv      a table of each kind that was recorded, such as widths.csv

What is the same for all trials stands once, in study.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rethinklab.errors import ConfigError, Missing
from rethinklab.experiments.store import read_json, reason
from rethinklab.experiments.trial import SCHEMA
from rethinklab.results.label import Settings, make_label, short_name
from rethinklab.trainers.regimes import UNPRUNED, find_regime

STUDY, TRIALS = "study.json", "trials.csv"
PROVENANCE = ("data", "classes", "train_images", "test_images", "precision", "threads", "engine",
              "workers", "mps", "commit", "device", "rethinklab", "torch", "python", "date",
              "attempts")
NUMBERS = ("seed", "test_accuracy", "params", "macs", "epochs", "seconds")
OF_THE_STUDY = ("dataset", "model", "method", "target", "scale", "preset", "width", "lr")
DIGITS = "%.6g"  # of a table; trials keep all


def labelled(frame: pd.DataFrame, label: str, note: str = "") -> pd.DataFrame:
    """The table with where it is from in `attrs["label"]`, where the figures look for it. note:
    how the table was made, which follows the label and stands alone in `attrs["note"]`."""
    frame.attrs |= {"label": "; ".join(filter(None, (label, note))), "note": note}
    return frame


def with_settings(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The trials with what their study was about in columns of their own."""
    about = {**settings, "dataset": short_name(settings["dataset"]),
             "target": str(settings["target"]), "lr": settings["recipe"]["lr"]}
    return frame.assign(**{name: about[name] for name in OF_THE_STUDY})


class RecordedStudy:
    """A study in its folder. Raises ConfigError where that is not one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        content = self._read(STUDY, read_json)
        try:
            self.name, self.settings = str(content["name"]), dict(content["settings"])
            self.provenance, self.notes = dict(content["provenance"]), dict(content["notes"])
            self.schema = int(content["schema"])
            trials = self._read(TRIALS, pd.read_csv)
            self.frame = _checked(with_settings(trials.assign(**self.provenance), self.settings),
                                  self.folder / TRIALS)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.folder / STUDY} is not the description of a recorded study "
                              f"({error!r}); `rethinklab record` writes one.") from error
        self.label = make_label([(self.settings, self.frame)])

    def _read(self, name: str, read: Any) -> Any:
        try:
            return read(self.folder / name)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.folder / name} cannot be read ({reason(error)}); a folder "
                              "that `rethinklab record` wrote holds it.") from error

    def table(self, kind: str) -> pd.DataFrame:
        """A recorded table. Raises Missing where it was not recorded."""
        if not (self.folder / f"{kind}.csv").is_file():
            raise Missing(f"no table {kind} is recorded of {self.folder.name}; `rethinklab record` "
                          "writes it where the study gives one.")
        frame: pd.DataFrame = self._read(f"{kind}.csv", pd.read_csv)
        if frame.empty:
            raise ConfigError(f"{self.folder / kind}.csv has no rows; record the study again.")
        return labelled(frame, self.label, self.notes.get(kind, ""))

    def origin(self) -> list[str]:
        """Its files with their SHA-256."""
        return [f"{self.folder.name}/{path.name} sha256:"
                f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
                for path in sorted(self.folder.iterdir()) if path.suffix in (".json", ".csv")]


def write_study(folder: Path, name: str, settings: Settings, frame: pd.DataFrame,
                tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write a study as `RecordedStudy` reads it, in place of what the folder holds of one; the
    paths written. tables: by kind, as `labelled` gives them. Raises OSError."""
    known = frame.reindex(columns=PROVENANCE).dropna(axis=1)
    once = known.loc[:, known.nunique() == 1].iloc[:1].to_dict("records")[0]
    content = {"name": name, "schema": SCHEMA, "provenance": once,
               "settings": {**settings, "dataset": _placeless(settings["dataset"]), "root": None},
               "notes": {kind: table.attrs["note"] for kind, table in tables.items()
                         if table.attrs.get("note")}}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()
    (folder / STUDY).write_text(_lines(content), encoding="utf-8")
    trials = frame.drop(columns=[*once, *OF_THE_STUDY], errors="ignore")
    trials.to_csv(folder / TRIALS, index=False, lineterminator="\n")
    for kind, table in tables.items():
        table.to_csv(folder / f"{kind}.csv", index=False, float_format=DIGITS, lineterminator="\n")
    return [folder / STUDY, folder / TRIALS, *(folder / f"{kind}.csv" for kind in tables)]


def _lines(content: Mapping[str, Any]) -> str:
    """JSON with a line for each fact, so that two records can be laid beside one another."""
    parts = [f'"{name}": ' + (json.dumps(value) if not isinstance(value, Mapping) or not value else
                              "{\n  " + ",\n  ".join(f'"{key}": {json.dumps(fact)}' for key, fact
                                                     in value.items()) + "}")
             for name, value in content.items()]
    return "{" + ",\n ".join(parts) + "}\n"


def _placeless(dataset: str) -> str:
    """A data set as a record names it, without where it lies on this machine."""
    kind, found, _ = dataset.partition(":")
    return f"{kind}:{short_name(dataset)}" if found else dataset


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    lacking = {*NUMBERS, "regime", "address"} - set(frame.columns)
    if lacking or frame.empty:
        what = f"column {', '.join(sorted(lacking))}" if lacking else "row"
        raise ConfigError(f"{path} is not a table of results: it has no {what}.")
    for column in NUMBERS:
        values = pd.to_numeric(frame[column], errors="coerce")
        if values.isna().any():
            wrong = frame.loc[values.isna(), column].iloc[0]
            raise ConfigError(f"{path}: {wrong!r} in column {column} is not a number.")
    for regime in set(frame["regime"]) - {UNPRUNED}:
        find_regime(regime)
    return frame
