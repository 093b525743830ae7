"""Own results for the rows of the paper: from recorded tables and from a store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import rethinklab
from rethinklab.errors import ConfigError
from rethinklab.experiments.results import Results, stored_results
from rethinklab.experiments.store import Store

COLUMNS = ["preset", "regime", "mean", "sd", "n", "scale", "label"]


def own_results(store: str | Path = "runs", folder: str | Path | None = None) -> pd.DataFrame:
    """A row for each preset, study and regime with results: preset, regime, mean and sd in
    percent, n, scale, label.

    store: a results store, passed over where there is none. folder: of recorded tables; by
    default the project's data/results, where that is at hand.
    """
    found = [*_recorded(folder or recorded_folder()), *_stored(Path(store))]
    rows = [{"preset": str(results.frame["preset"].iloc[0]), "regime": regime, "mean": row["mean"],
             "sd": row["sd"], "n": int(row["n"]), "scale": str(results.frame["scale"].iloc[0]),
             "label": f"{results.label} [{results.name}]"}
            for results in found for regime, row in results.summary().iterrows()]
    return pd.DataFrame(rows, columns=COLUMNS)


def recorded_folder() -> Path | None:
    """data/results of the working folder, or else of the project that the package lies in."""
    for root in (Path.cwd(), Path(rethinklab.__file__).resolve().parents[1]):
        if (root / "data" / "results").is_dir():
            return root / "data" / "results"
    return None


def _recorded(folder: str | Path | None) -> Iterable[Results]:
    for path in sorted(Path(folder).glob("*.csv")) if folder else []:
        try:
            results = Results.load(path)
        except ConfigError:  # a table of something else
            continue
        if _of_a_preset(results):
            yield results


def _stored(root: Path) -> Iterable[Results]:
    if not (root / "store.json").is_file():
        return
    place = Store(root, create=False)
    for name, content in place.studies().items():
        if not content.get("study", {}).get("preset"):
            continue
        try:
            yield stored_results(name, place)
        except ConfigError:  # begun, and nothing finished yet
            continue


def _of_a_preset(results: Results) -> bool:
    return "preset" in results.frame and bool(results.frame["preset"].iloc[0])
