"""Accuracy against size of architectures trained from scratch: found, uniform, guided and
transferred designs, gathered over studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rethinklab.pruners import METHODS, Control, find_method
from rethinklab.results.comparisons import THEORY
from rethinklab.results.groups import (
    MASKING,
    Key,
    joint_label,
    names_of,
    of_studies,
    options_of,
    setting,
    unit,
)
from rethinklab.results.results import Results

REGIME = "scratch-e"
DESIGNED = ("uniform", "guided", "transferred")
COLUMNS = ["design", "of", "settings", "target", "seed", "params", "macs", "accuracy", "regime"]


def efficiency_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """For each group of comparable studies a table of the networks trained for as many epochs as
    the large one (Scratch-E): design ("found", "uniform", "guided" or "transferred"), of (the
    method that found it or that it is made after), settings (of a design, in words), target,
    seed, params (those that are not zero, of masks), macs, accuracy (a fraction) and regime.

    Comparable are the studies of one method, with its hyper-parameters, and its designs on the
    same images and large network, trained alike; a transferred design belongs to all methods that
    remove what it removes, channels or weights. Groups with a single design are left out.
    Source of the form: Liu et al. (ICLR 2019), Figures 3, 5 and 6.
    """
    groups: dict[Key, list[tuple[pd.DataFrame, Results]]] = {}
    transferred = []
    for results in studies:
        frame = results.frame[results.frame["regime"].astype(str) == REGIME]
        known = _design(results) if len(frame) else None
        if known is None:
            continue
        table = pd.DataFrame({
            **{name: known[name] for name in ("design", "of", "settings")},
            "target": str(results.settings["target"]), "seed": frame["seed"],
            "params": frame["params"], "macs": frame["macs"],
            "accuracy": frame["test_accuracy"], "regime": REGIME})[COLUMNS]
        if known["design"] == "transferred":
            transferred.append((table, results))
        else:
            key = setting(results, method=known["of"], options=known["base"])
            groups.setdefault(key, []).append((table, results))
    for key, parts in groups.items():
        parts += [(table, results) for table, results in transferred
                  if unit(results) == unit(parts[0][1]) and _training(results) == _plain(key)]
    tables = {}
    kept = {key: parts for key, parts in groups.items()
            if len({table["design"].iloc[0] for table, _ in parts}) > 1}
    for key, name in names_of(list(kept)).items():
        parts = kept[key]
        together = pd.concat([table for table, _ in parts], ignore_index=True)
        used = [results for _, results in parts]
        theory = THEORY if unit(used[0]) == "weights" else ""
        tables[name] = of_studies(together, joint_label(used), used, theory)
    return tables


def _training(results: Results) -> Key:
    """What a study is about apart from its method."""
    return setting(results, free=("method", "options"))


def _plain(key: Key) -> Key:
    return tuple((name, value) for name, value in key if name not in ("method", "options"))


def _design(results: Results) -> dict[str, Any] | None:
    """Which design the study's pruned networks are, of what, made how; None for other studies.
    base: the hyper-parameters of the method behind it."""
    method, options = str(results.settings.get("method")), options_of(results)
    if method not in METHODS:
        return None
    if method == "transferred":
        return {"design": method, "of": "", "settings": "", "base": {}}
    of, base, settings, design = method, options, "", "found"
    if issubclass(find_method(method), Control):
        if method not in DESIGNED or "of" not in options:
            return None
        of, base, design = str(options["of"]), dict(options.get("options", {})), method
        settings = _settings(options, of) if method == "uniform" else ""
    if of not in METHODS or base.get("structures", "channels") != "channels":
        return None
    return {"design": design, "of": of, "settings": settings,
            "base": base}


def _settings(options: Mapping[str, Any], of: str) -> str:
    if of in MASKING:
        return "largest weights" if options.get("choose") == "largest" else "random places"
    return "equal MACs" if options.get("at") == "macs" else "equal parameters"
