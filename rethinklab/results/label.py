"""Where numbers are from, in one line: scale, method, network, data, device and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

Settings = Mapping[str, Any]  # of a study, as `Study.to_dict` gives them


def short_name(dataset: str) -> str:
    """A data set without the folder that it lies in on this machine."""
    return dataset.rstrip("/").split("/")[-1].removeprefix("folder:")


def make_label(studies: Iterable[tuple[Settings, pd.DataFrame]]) -> str:
    """One line for the settings and the trials of each study. Studies that differ in method and
    target alone share it, each method named with its targets; others stand after a bar."""
    alike: dict[tuple[str, str], dict[str, list[str]]] = {}
    for settings, frame in studies:
        methods = alike.setdefault(_around(settings, frame), {})
        methods.setdefault(str(settings["method"]), []).append(str(settings["target"]))
    return " | ".join(f"{scale}; {_methods(methods)}, {rest}"
                      for (scale, rest), methods in alike.items())


def _methods(methods: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{method}, target{'s' * (len(set(targets)) > 1)} "
                     + ", ".join(dict.fromkeys(targets)) for method, targets in methods.items())


def _around(settings: Settings, frame: pd.DataFrame) -> tuple[str, str]:
    """What a label says before and after the method."""
    seeds = frame["seed"].nunique()
    precision = "" if settings["precision"] == "fp32" else f", {settings['precision']}"
    return (f"{settings['scale'].capitalize()} scale",
            f"on {settings['model']}, width {settings['width']:g}; data {_listed(frame['data'])}, "
            f"{frame['train_images'].max():,} training images; {_listed(frame['device'])}"
            f"{precision}; {seeds} seed" + "s" * (seeds != 1))


def _listed(values: Iterable[Any]) -> str:
    return " and ".join(sorted({str(value) for value in values}))
