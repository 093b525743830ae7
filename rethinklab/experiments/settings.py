"""What a user asks for, on the command line or in a queue, as the arguments of `Study`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rethinklab.experiments import paper
from rethinklab.experiments.scales import find_scale
from rethinklab.pruners import CONTROLS
from rethinklab.trainers.recipe import Recipe


def study_settings(preset: str | None, scale: str, given: dict[str, Any],
                   changes: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Study`: those of the preset, what the user gave instead, and a recipe
    with the user's changes."""
    chosen = find_scale(scale)
    base: dict[str, Any] = {"scale": scale}
    if preset:
        base = varied(paper.preset(preset, scale, data=given.get("dataset")), given)
    for name in ("method_options", "model_options"):
        base[name] = {**base.get(name, {}), **given.get(name, {})}
    settings = {**given, **{n: base[n] for n in ("method_options", "model_options")}}
    settings = {**base, **settings}
    if changes:
        usual = chosen.look if chosen.look and "model" not in settings else chosen
        settings["recipe"] = changed(base.get("recipe") or usual.recipe, changes)
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


def changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe with changes; what it counts in epochs follows their number in proportion."""
    longer = changes.get("epochs", recipe.epochs) / recipe.epochs
    counts = {name: getattr(recipe, name) for name in ("finetune_epochs", "counted_epochs")}
    scaled = {name: max(1, round(count * longer)) for name, count in counts.items() if count}
    return replace(recipe, **{**scaled, **changes})
