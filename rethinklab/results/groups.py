"""Which studies belong together: what a study is about, as far as its table says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rethinklab.pruners import METHODS
from rethinklab.results.files import labelled
from rethinklab.results.label import make_label, short_name
from rethinklab.results.results import Results
from rethinklab.trainers.regimes import UNPRUNED

MASKING = tuple(name for name, method in METHODS.items()
                if method.cuts == "weights")  # whose target is a share of single weights
NAMES = ("method", "model", "data", "scale")  # that make the name of a group
MEASURED = ("data", "train_images", "test_images")  # that the trials say, not the settings
LARGE = ("params", "macs", "epochs")  # of the same network, trained for as long
Key = tuple[tuple[str, str], ...]


def lr_of(results: Results) -> float:
    """The initial learning rate of the large network; NaN where it is not known."""
    return float(results.settings.get("recipe", {}).get("lr", math.nan))


def options_of(results: Results) -> dict[str, Any]:
    """The hyper-parameters of the study's method; empty where they are not known."""
    return dict(results.settings.get("method_options", {}))


def share(target: Any) -> float:
    """The target as a share to remove, above 0 and below 1; NaN where it is something else."""
    try:
        value = float(target)
    except (TypeError, ValueError):
        return math.nan
    return value if 0 < value < 1 else math.nan


def unit(results: Results) -> str:
    """What the study removes: "weights" or "channels"."""
    method, options = results.settings.get("method", ""), options_of(results)
    base = options.get("of", method)
    if method == "transferred":
        return "channels" if {"channels", "read"} & set(options.get("stages", {})) else "weights"
    return "weights" if base in MASKING and not options.get("structured") else "channels"


def setting(results: Results, free: Sequence[str] = (), **instead: Any) -> Key:
    """All that a study is about but its target, as far as that is known: the name of each
    setting with its value. free: settings that may differ. instead: values in their place."""
    frame, known = results.frame, results.settings
    found = {name: frame[name].iloc[0] if name in frame else "" for name in MEASURED}
    settings = {"method": known.get("method", ""), "model": known.get("model", ""),
                "data": found.pop("data"), "scale": known.get("scale", ""),
                "dataset": short_name(known.get("dataset", "")), "width": known.get("width", ""),
                "lr": lr_of(results), "options": options_of(results),
                "precision": known.get("precision", ""), **found}
    large = frame[frame["regime"] == UNPRUNED]
    settings |= {f"large {name}": large[name].iloc[0] if len(large) else "" for name in LARGE}
    return tuple((name, _text(value)) for name, value in (settings | instead).items()
                 if name not in free and name.removeprefix("large ") not in free)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else str(value)


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


def of_studies(frame: pd.DataFrame, label: str, studies: Sequence[Results],
               note: str = "") -> pd.DataFrame:
    """The table with its label, and with the names of the studies it was made from, where the
    exporter looks for them."""
    labelled(frame, label, note).attrs["studies"] = [results.name for results in studies]
    return frame


def joint_label(studies: Sequence[Results]) -> str:
    """One label for several studies; those that differ in method and target alone share it."""
    if all(results.settings for results in studies):
        return make_label((results.settings, results.frame) for results in studies)
    return " | ".join(dict.fromkeys(results.label for results in studies))


def grouped(studies: Mapping[str, Results], free: Sequence[str]) -> dict[str, list[str]]:
    """The names of the studies that agree in all settings but their target and those in `free`,
    by the name of their group."""
    groups: dict[Key, list[str]] = {}
    for name, results in studies.items():
        groups.setdefault(setting(results, free), []).append(name)
    return {called: groups[key] for key, called in names_of(list(groups)).items()}
