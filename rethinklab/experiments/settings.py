"""What a user asks for, on the command line or in a queue, as the arguments of `Study`."""

from __future__ import annotations

from typing import Any

from rethinklab.experiments import paper
from rethinklab.experiments.scales import find_scale
from rethinklab.pruners import CONTROLS


def study_settings(preset: str | None, scale: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Study`: those of the preset, and what the user gave instead; of a recipe
    what is to differ, by name."""
    base: dict[str, Any] = {"scale": scale}
    if preset:
        base = varied(paper.preset(preset, scale, data=given.get("dataset")), given)
    merged = {name: {**base.get(name, {}), **given.get(name, {})}
              for name in ("method_options", "model_options")}
    settings = {**base, **given, **merged}
    if "recipe" in given:
        usual = find_scale(scale).usual(settings.get("model"))
        settings["recipe"] = base.get("recipe", usual.recipe).changed(**given["recipe"])
    return settings


def varied(row: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a row of the paper as far as they hold for what the user gives instead: a
    control takes the row's method with its options, another method starts from its own, and a
    study of something else no longer counts as the row."""
    row = dict(row)
    method = given.get("method", row["method"])
    if method != row["method"]:
        control = {"of": row["method"], "options": row["method_options"]}
        row["method_options"] = control if method in CONTROLS else {}
    other = any(given.get(name, row[name]) != row[name] for name in ("model", "method", "target"))
    if other:
        row.pop("pruned_model", None)
    if other or given.get("method_options") or given.get("model_options"):
        row["preset"] = ""
    return row
