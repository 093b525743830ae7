"""Which studies belong together: what a study is about, as far as its table says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rethinklab.evidence.tables import labelled
from rethinklab.experiments.results import Results
from rethinklab.trainers.regimes import UNPRUNED

MASKING = ("weight-level", "lottery")  # methods whose target is a share of single weights
NAMES = ("method", "model", "data", "scale")  # that make the name of a group
ALIKE = ("dataset", "width", "lr", "options", "precision", "train_images", "test_images")
LARGE = ("params", "macs", "epochs")  # of the same network, trained for as long
METHODS_HERE = "<methods>"
Key = tuple[tuple[str, str], ...]


def first(results: Results, column: str, unknown: Any = "") -> Any:
    """What the table has in a column that is the same for all trials; `unknown` where it does not
    say."""
    if column not in results.frame:
        return unknown
    value = results.frame[column].iloc[0]
    return unknown if pd.isna(value) else value


def options_of(results: Results) -> dict[str, Any]:
    """The hyper-parameters of the study's method; empty where its table does not say."""
    try:
        found = json.loads(first(results, "options") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def share(target: Any) -> float:
    """The target as a share to remove, above 0 and below 1; NaN where it is something else."""
    try:
        value = float(target)
    except (TypeError, ValueError):
        return math.nan
    return value if 0 < value < 1 else math.nan


def unit(results: Results) -> str:
    """What the study removes: "weights" or "channels"."""
    method, options = first(results, "method"), options_of(results)
    base = options.get("of", method)
    if method == "transferred":
        return "channels" if {"channels", "read"} & set(options.get("stages", {})) else "weights"
    return "weights" if base in MASKING and not options.get("structured") else "channels"


def setting(results: Results, free: Sequence[str] = (), **instead: Any) -> Key:
    """All that a study is about but its target, as far as its table says: the name of each
    setting with its value. free: settings that may differ. instead: values in their place."""
    settings = {column: str(first(results, column)) for column in (*NAMES, *ALIKE)
                if column not in free}
    large = results.frame[results.frame["regime"] == UNPRUNED]
    for column in LARGE:
        if column not in free:
            settings[f"large {column}"] = str(large[column].iloc[0]) if len(large) else ""
    return tuple((settings | {name: str(value) for name, value in instead.items()}).items())


def names_of(keys: Sequence[Key]) -> dict[Key, str]:
    """A short name for each group: method, network, data and scale, and where these are the same
    for several, what else sets them apart."""
    names: dict[Key, str] = {}
    for key in keys:
        settings = dict(key)
        known = [name for name in NAMES if name in settings]
        main = [settings[name].split(":")[-1].rstrip("/").split("/")[-1] for name in known]
        twins = [dict(other) for other in keys if other != key
                 and all(dict(other)[name] == settings[name] for name in known)]
        apart = [f"{name} {value}" for name, value in settings.items()
                 if any(other[name] != value for other in twins) and len(value) < 20]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, [*main, *apart]))).strip("-")
        names[key] = free_name(slug, names.values())
    return names


def free_name(name: str, taken: Any) -> str:
    """`name`, numbered where it is taken."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def of_studies(frame: pd.DataFrame, label: str, studies: Sequence[Results]) -> pd.DataFrame:
    """The table with its label, and with the names of the studies it was made from, where the
    exporter looks for them."""
    labelled(frame, label).attrs["studies"] = [results.name for results in studies]
    return frame


def joint_label(studies: Sequence[Results]) -> str:
    """One label for several studies that differ in method and target, where their labels show
    it; each method is named with its own targets."""
    rests: dict[str, dict[str, list[str]]] = {}
    for results in studies:
        found = re.search(r"([^;,]+), target (.*?), on ", results.label)
        rest = results.label.replace(found[0], f" {METHODS_HERE}, on ") if found else results.label
        methods = rests.setdefault(rest, {})
        if found:
            methods.setdefault(found[1].strip(), []).append(found[2])
    labels = []
    for rest, methods in rests.items():
        told = [f"{method}, target{'s' * (len(set(targets)) > 1)} "
                + ", ".join(dict.fromkeys(targets)) for method, targets in methods.items()]
        labels.append(rest.replace(METHODS_HERE, "; ".join(told)))
    return " | ".join(labels)


def grouped(studies: Mapping[str, Results], free: Sequence[str]) -> dict[str, list[str]]:
    """The names of the studies that agree in all settings but their target and those in `free`,
    by the name of their group."""
    groups: dict[Key, list[str]] = {}
    for name, results in studies.items():
        groups.setdefault(setting(results, free), []).append(name)
    return {called: groups[key] for key, called in names_of(list(groups)).items()}
