"""Accuracy against size of architectures trained from scratch: found, uniform, guided and
transferred designs, gathered over studies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rethinklab.evidence.tables import labelled
from rethinklab.experiments.results import Results
from rethinklab.pruners import METHODS, Control, find_method

REGIME = "scratch-e"
DESIGNED = ("uniform", "guided", "transferred")
ON_WEIGHTS = ("weight-level", "lottery")  # methods whose plans mask single weights
ALIKE = ("dataset", "model", "scale", "data", "width", "lr", "epochs", "train_images",
         "test_images")
COLUMNS = ["design", "of", "settings", "target", "seed", "params", "macs", "accuracy", "regime"]


def efficiency_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """For each group of comparable studies a table of the networks trained for as many epochs as
    the large one (Scratch-E): design ("found", "uniform", "guided" or "transferred"), of (the
    method that found it or that it is made after), settings (of a design, in words), target,
    seed, params (those that are not zero, of masks), macs, accuracy (a fraction) and regime.

    Comparable are the studies of one method and its designs on the same images and network, of
    one scale, width and length of training; a transferred design belongs to all methods that
    remove what it removes, channels or weights. Groups with a single design are left out.
    Source of the form: Liu et al. (ICLR 2019), Figures 3, 5 and 6.
    """
    found: dict[tuple[Any, ...], list[tuple[pd.DataFrame, str]]] = {}
    transferred = []
    for results in studies:
        frame = results.frame[results.frame["regime"].astype(str) == REGIME]
        known = _design(results.frame) if len(frame) else None
        if known is None:
            continue
        table = pd.DataFrame({
            **{name: known[name] for name in ("design", "of", "settings")},
            "target": frame["target"].astype(str), "seed": frame["seed"],
            "params": frame["params"], "macs": frame["macs"],
            "accuracy": frame["test_accuracy"], "regime": REGIME})[COLUMNS]
        setting = _setting(frame)
        if known["design"] == "transferred":
            transferred.append((known["on_weights"], setting, table, results.label))
        else:
            key = (known["of"], known["training"], *setting)
            found.setdefault(key, []).append((table, results.label))
    tables: dict[str, pd.DataFrame] = {}
    for (of, _, *rest), parts in found.items():
        parts = parts + [(table, label) for on_weights, setting, table, label in transferred
                         if on_weights == (of in ON_WEIGHTS) and setting == tuple(rest)]
        together = pd.concat([table for table, _ in parts], ignore_index=True)
        if together["design"].nunique() < 2:
            continue
        together = together.drop_duplicates(["design", "of", "settings", "target", "seed"])
        slug = free_name(f"{of}-{rest[1]}-{rest[0]}-{rest[2]}", tables)
        tables[slug] = labelled(together.reset_index(drop=True),
                                " | ".join(dict.fromkeys(label for _, label in parts)))
    return tables


def free_name(name: str, taken: Mapping[str, Any]) -> str:
    """`name`, numbered where it is taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _setting(frame: pd.DataFrame) -> tuple[Any, ...]:
    """What studies must share to be compared; old tables do not say all of it."""
    row = frame.iloc[0]

    def told(column: str) -> Any:
        value = row.get(column)
        return None if value is None or pd.isna(value) else value

    return tuple(told(column) for column in ALIKE)


def _design(frame: pd.DataFrame) -> dict[str, Any] | None:
    """Which design the study's pruned networks are, of what, made how; None for other studies."""
    row = frame.iloc[0]
    method, options = str(row.get("method")), _options(row.get("options"))
    if method not in METHODS:
        return None
    if method == "transferred":
        stages = options.get("stages", {})
        on_weights = not isinstance(stages, dict) or not {"channels", "read"} & set(stages)
        return {"design": method, "of": "", "settings": "", "training": "",
                "on_weights": on_weights}
    if issubclass(find_method(method), Control):
        if method not in DESIGNED or "of" not in options:
            return None
        of, base = str(options["of"]), dict(options.get("options", {}))
        settings = _settings(options, of) if method == "uniform" else ""
        design = method
    else:
        of, base, settings, design = method, options, "", "found"
    if of not in METHODS or base.get("structures", "channels") != "channels":
        return None
    acting = find_method(of).trained_with or ()
    training = json.dumps({name: base[name] for name in acting if name in base}, sort_keys=True)
    return {"design": design, "of": of, "settings": settings, "training": training,
            "on_weights": of in ON_WEIGHTS}


def _settings(options: Mapping[str, Any], of: str) -> str:
    if of in ON_WEIGHTS:
        return "random places" if options.get("choose") == "random" else "largest weights"
    return "equal parameters" if options.get("at") == "params" else "equal MACs"


def _options(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) and text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
