"""Recorded trials run anew: is what was recorded what comes out?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rethinklab.errors import ConfigError
from rethinklab.experiments.queue import Entry, load_queue
from rethinklab.experiments.stages import run_one
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import SCHEMA, Trial
from rethinklab.results.files import STUDY, RecordedStudy
from rethinklab.trainers.regimes import UNPRUNED


@dataclass(frozen=True)
class Repetition:
    """A recorded trial and what it gave when it was run anew. recorded, repeated: test accuracy, a
    fraction. spread: standard deviation of the regime's recorded accuracies over seeds."""

    address: str
    study: str
    regime: str
    seed: int
    recorded: float
    repeated: float
    spread: float
    device: str
    device_now: str

    @property
    def verdict(self) -> str:
        """How the two compare, in words."""
        if self.repeated == self.recorded:
            return "identical"
        gap = f"{100 * (self.repeated - self.recorded):+.2f} points"
        if abs(self.repeated - self.recorded) <= 2 * self.spread:
            return f"{gap}, within twice the spread of seeds ({100 * self.spread:.2f})"
        return f"{gap}, MORE than twice the spread of seeds ({100 * self.spread:.2f})"


def is_recorded(entry: Entry, folder: Path) -> bool:
    """Whether `folder` holds a study of the entry's name with every regime and seed of it. Raises
    ConfigError where it is damaged."""
    if not (folder / entry.name / STUDY).is_file():
        return False
    there, study = RecordedStudy(folder / entry.name), entry.study()
    if study.name == there.name:
        return True
    # The name of a study tells where a folder of images lies, which differs between machines.
    done = set(zip(there.frame["regime"], there.frame["seed"], strict=True))
    return study.images_from.startswith("folder:") and done >= {
        (regime, seed) for regime in (UNPRUNED, *study.regime_names)
        for seed in study.seed_numbers}


def recorded_rows(folder: Path) -> pd.DataFrame:
    """All recorded trials that the queue of the folder can run: entry, address, regime, seed,
    schema.

    A trial that several studies share is listed once. Raises ConfigError where there is none.
    """
    found = []
    for entry in load_queue(folder / "queue.toml"):
        if (folder / entry.name / STUDY).is_file():
            study = RecordedStudy(folder / entry.name)
            found.append(study.frame[["address", "regime", "seed"]].assign(
                entry=entry.name, schema=study.schema))
    if not found:
        raise ConfigError(f"no study of the queue {folder / 'queue.toml'} is recorded there.")
    return pd.concat(found).drop_duplicates("address").reset_index(drop=True)


def pick(folder: Path, count: int, seed: int) -> list[str]:
    """The addresses of so many recorded trials, drawn at random among those that can be run here:
    their images are there, they want no GPU, and they were recorded as this version records.
    Raises ConfigError where none was."""
    here = {e.name for e in load_queue(folder / "queue.toml") if not e.obstacle(gpu=False)}
    rows = recorded_rows(folder)
    if not (rows["schema"] == SCHEMA).any():
        _check_schema(rows.iloc[0])
    addresses = sorted(rows.loc[rows["entry"].isin(here) & (rows["schema"] == SCHEMA), "address"])
    return random.Random(seed).sample(addresses, min(count, len(addresses)))


def rerun(folder: Path, addresses: Sequence[str], store: Store,
          device: str = "auto") -> list[Repetition]:
    """Run recorded trials anew, with all that they rest on, in `store`.

    Raises ConfigError for an address that is not recorded, or was under another schema, or whose
    study, as the queue has it now, gives it no more: its images or settings are others.
    """
    rows = recorded_rows(folder).set_index("address", drop=False)
    for address in addresses:
        if address not in rows.index:
            raise ConfigError(f"no trial {address} of the queue is recorded in {folder}; its "
                              "files trials.csv have a column address.")
        _check_schema(rows.loc[address])
    entries = {entry.name: entry for entry in load_queue(folder / "queue.toml")}
    return [_repeat(folder, entries[rows.loc[address, "entry"]], address, store, device)
            for address in addresses]


def _check_schema(row: pd.Series) -> None:
    if row["schema"] != SCHEMA:
        raise ConfigError(f"{row['address']} of {row['entry']} was recorded under schema "
                          f"{row['schema']} of results, and this version has schema {SCHEMA}, "
                          "under which the same settings may train otherwise; record the study "
                          "anew, or rerun it with the version that its column commit names.")


def _repeat(folder: Path, entry: Entry, address: str, store: Store, device: str) -> Repetition:
    obstacle = entry.obstacle(gpu=True)
    if obstacle:
        raise ConfigError(f"{address} of {entry.name} cannot be run: {obstacle}.")
    frame = RecordedStudy(folder / entry.name).frame
    row = frame[frame["address"] == address].iloc[0]
    study = entry.study()
    trials = {trial.address: trial for trial in study.trials(study.load())}
    if address not in trials:
        raise ConfigError(f"{entry.name} as the queue has it has no trial {address}: the images or "
                          "the settings are not those of the recorded results.")
    trial: Trial = trials[address]
    result = run_one(trial, store, device)
    alike = frame.loc[frame["regime"] == row["regime"], "test_accuracy"]
    return Repetition(address, entry.name, str(row["regime"]), int(row["seed"]),
                 float(row["test_accuracy"]), float(result["test_accuracy"]),
                 float(alike.std()) if len(alike) > 1 else 0.0, str(row["device"]),
                 str(result["device"]))

