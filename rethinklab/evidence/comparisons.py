"""Tables over several studies: what they show together that none shows alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rethinklab.analysis.ledger import BACKWARD
from rethinklab.evidence.tables import labelled
from rethinklab.experiments.results import Results
from rethinklab.trainers.regimes import UNPRUNED

WEIGHTS = ("weight-level", "lottery")  # methods whose target is a share of weights
NAMES = ("method", "model", "data", "scale")  # that make the name of a group
ALIKE = ("dataset", "width", "lr", "options", "precision", "train_images", "test_images")
TICKETS = ("ticket", "scratch-e")


def budget_table(results: Results) -> pd.DataFrame:
    """What each trial cost and reached: regime, seed, test_accuracy (a fraction), macs_spent,
    macs_own.

    macs_spent: multiply-adds of forward and backward passes of all training that the trial rests
    on. macs_own: of its own training alone. Tables from before the kit kept a ledger: epochs x
    images x MACs x 3, with those of the unpruned network of the seed; training that a method does
    besides is not known there. NaN where the unpruned network is missing.
    """
    frame = results.frame
    own = ((1 + BACKWARD) * frame["epochs"] * frame["macs"]
           * (frame.get("train_images", math.nan)))
    unpruned = frame["regime"] == UNPRUNED
    large = own[unpruned].groupby(frame.loc[unpruned, "seed"]).first()
    counted = own + frame["seed"].map(large).where(~unpruned, 0.0)
    spent = _ledger(frame)
    table = pd.DataFrame({
        "regime": frame["regime"].astype(str), "seed": frame["seed"],
        "test_accuracy": frame["test_accuracy"],
        "macs_spent": counted if spent is None else spent.fillna(counted), "macs_own": own})
    return labelled(table, results.label)


def _ledger(frame: pd.DataFrame) -> pd.Series | None:
    """The multiply-adds that the ledger has, where the table has one."""
    if "spent_macs" in frame:
        return frame["spent_macs"].astype(float)
    parts = ["spent_forward_macs", "spent_backward_macs"]
    if not set(parts) <= set(frame):
        return None
    return frame[parts].astype(float).sum(axis=1, skipna=False)


def ratio_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """The studies that differ in their target only, where at least two targets are shares: a
    table a group, with columns regime, seed, ratio (the share removed), test_accuracy (both
    fractions) and removed ("channels" or "weights"). The unpruned network has ratio 0.

    Lottery tickets are left to `lottery_tables`.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, Results]]] = {}
    for results in studies:
        ratio = share(_first(results, "target"))
        if not math.isnan(ratio) and _first(results, "method") != "lottery":
            groups.setdefault(_key(results), []).append((ratio, results))
    groups = {key: found for key, found in groups.items() if len({r for r, _ in found}) > 1}
    tables = {}
    for key, name in _named(list(groups)).items():
        parts = [results.frame.assign(ratio=ratio) for ratio, results in groups[key]]
        table = pd.concat(parts, ignore_index=True)
        table["regime"] = table["regime"].astype(str)
        table.loc[table["regime"] == UNPRUNED, "ratio"] = 0.0
        table = _once(table, ["regime", "ratio", "seed"]).assign(removed=_unit(groups[key][0][1]))
        tables[name] = labelled(table[["regime", "seed", "ratio", "test_accuracy", "removed"]],
                                _label([results for _, results in groups[key]]))
    return tables


def lottery_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """Winning tickets and the same masks with new weights, of studies by the method lottery: a
    table for each network and data, with columns kind ("one-shot" or "iterative"), regime
    ("ticket" or "scratch-e"), lr (of the large network; NaN where it is not known), seed, ratio
    (the share removed after all rounds), test_accuracy, removed.

    Studies whose target is no share, or whose rounds are not known, are left out.
    """
    groups: dict[tuple[Any, ...], list[tuple[int, float, Results]]] = {}
    for results in studies:
        options = _options(results)
        ratio = share(_first(results, "target"))
        if _first(results, "method") != "lottery" or "rounds" not in options or math.isnan(ratio):
            continue
        rounds = int(options.pop("rounds"))
        total = 1 - (1 - ratio) ** rounds
        key = _key(results, free=("lr",), options=json.dumps(options, sort_keys=True))
        groups.setdefault(key, []).append((rounds, total, results))
    tables = {}
    for key, name in _named(list(groups)).items():
        parts = [results.frame.assign(
            kind="one-shot" if rounds == 1 else "iterative", ratio=round(total, 9),
            lr=_first(results, "lr", math.nan), removed=_unit(results))
            for rounds, total, results in groups[key]]
        table = pd.concat(parts, ignore_index=True)
        table["regime"] = table["regime"].astype(str)
        table = table[table["regime"].isin(TICKETS)]
        if len(table):
            table = _once(table, ["kind", "regime", "lr", "ratio", "seed"])
            tables[name] = labelled(
                table[["kind", "regime", "lr", "seed", "ratio", "test_accuracy", "removed"]],
                _label([results for _, _, results in groups[key]]))
    return tables


def share(target: Any) -> float:
    """The target as a share to remove, above 0 and below 1; NaN where it is something else."""
    try:
        value = float(target)
    except (TypeError, ValueError):
        return math.nan
    return value if 0 < value < 1 else math.nan


def _first(results: Results, column: str, unknown: Any = "") -> Any:
    if column not in results.frame:
        return unknown
    value = results.frame[column].iloc[0]
    return unknown if pd.isna(value) else value


def _options(results: Results) -> dict[str, Any]:
    try:
        found = json.loads(_first(results, "options") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unit(results: Results) -> str:
    method, options = _first(results, "method"), _options(results)
    base = options.get("of", method)
    return "weights" if base in WEIGHTS and not options.get("structured") else "channels"


def _key(results: Results, free: Sequence[str] = (), **instead: Any) -> tuple[Any, ...]:
    """All that a study is about but its target, as far as its table says: the name of each
    setting with its value."""
    settings = {column: str(_first(results, column)) for column in (*NAMES, *ALIKE)
                if column not in free}
    large = results.frame[results.frame["regime"] == UNPRUNED]
    for column in ("params", "macs", "epochs"):  # of the same network, trained for as long
        settings[f"large {column}"] = str(large[column].iloc[0]) if len(large) else ""
    return tuple((settings | {name: str(value) for name, value in instead.items()}).items())


def _named(keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """A short name for each group: method, network, data and scale, and where these are the same
    for several, what else sets them apart."""
    names: dict[tuple[Any, ...], str] = {}
    for key in keys:
        settings = dict(key)
        main = [settings[name].split(":")[-1].rstrip("/").split("/")[-1] for name in NAMES]
        twins = [dict(other) for other in keys if other != key
                 and all(dict(other)[name] == settings[name] for name in NAMES)]
        apart = [f"{name} {value}" for name, value in settings.items()
                 if any(other[name] != value for other in twins)]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, [*main, *apart]))).strip("-")
        while slug in names.values():  # of values that differ in signs only
            slug += "-more"
        names[key] = slug
    return names


def _once(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row for each trial: studies share their unpruned networks."""
    return table.drop_duplicates(by).sort_values(by, ignore_index=True)


def _label(studies: Sequence[Results]) -> str:
    """One label for several studies that differ in their target, where their labels show it."""
    targets = list(dict.fromkeys(str(_first(results, "target")) for results in studies))
    every = f"target{'s' * (len(targets) > 1)} {', '.join(targets)}"
    labels = [results.label.replace(f"target {_first(results, 'target')},", f"{every},")
              for results in studies]
    return " | ".join(dict.fromkeys(labels))
