"""Presets by name and by group, and the study that each is at a scale."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.paper.rows import PRESETS, Preset
from rethinklab.experiments.scales import Scale, find_scale
from rethinklab.trainers.recipe import Recipe

STAND_IN = "digits"
FEWEST_IMAGES = 100
STANDARD_LR = Recipe().lr


def find(name: str) -> Preset:
    """The preset called `name`. Raises ConfigError with the nearest match."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


def groups() -> dict[str, list[str]]:
    """The presets of each group: by data, "cifar" and "imagenet", and by place in the paper."""
    found: dict[str, list[str]] = {"cifar": [], "imagenet": []}
    for row in PRESETS.values():
        found["imagenet" if row.dataset == "imagenet" else "cifar"].append(row.name)
        found.setdefault(row.table.lower().replace(" ", ""), []).append(row.name)
    return dict(sorted(found.items()))


def group(name: str) -> list[str]:
    """The presets of the group `name`. Raises ConfigError with the nearest match."""
    known = groups()
    if name not in known:
        raise unknown_name("group of presets", name, known)
    return known[name]


def expand(name: str) -> list[str]:
    """The presets that `name` stands for: those of a group, or one. Raises ConfigError."""
    known = groups()
    if name in known:
        return known[name]
    if name not in PRESETS:
        raise unknown_name("preset or group", name, [*known, *PRESETS])
    return [name]


def preset(name: str, scale: str = "paper", data: str | None = None) -> dict[str, Any]:
    """The arguments of `Study` for a row of the paper at a scale.

    data: the images, in place of those that the row has at the scales "paper" and "short" and of
    the embedded digits that stand in for them at the others. What belongs to the row is the same
    at all scales: network, method, target, regimes (at "short" LR rewinding besides), and the
    recipe but for its length and, where digits stand in, its learning rate (in proportion), batch
    size and warm-up (none). Raises ConfigError for an unknown name or scale, and where ImageNet
    is needed and `data` does not say where it lies.
    """
    row, chosen = find(name), find_scale(scale)
    options = dict(row.options)
    settings: dict[str, Any] = {
        "dataset": _dataset(row, scale, data), "model": row.model, "method": row.method,
        "target": row.target, "regimes": list(chosen.regimes(row.regimes)),
        "model_options": dict(row.model_options), "scale": scale, "preset": name}
    if row.normalise and settings["dataset"].startswith("cifar"):  # a stand-in has its own
        settings["normalise"] = row.normalise
    if row.pruned_model:
        settings["pruned_model"] = row.pruned_model
    if chosen.fraction is not None:
        epochs = round(row.recipe.epochs * chosen.fraction)
        settings["recipe"] = row.recipe.changed(epochs=epochs)
        if "strength" in options:
            options["strength"] = round(options["strength"] / chosen.fraction, 9)
    else:
        of_the_scale = chosen.options.get(row.method, {})
        options = {key: value for key, value in options.items() if key not in of_the_scale}
        settings |= _shrunk(row, chosen)
    return {**settings, "method_options": options}


def load(row: Preset) -> float:
    """How much work a row is: layers times the trainings of a seed, in units of the four of a
    usual row (the large network, and three regimes of which Scratch-B counts up to twice). The
    layers of ImageNet's networks count a quarter: most of them see images that the first few have
    made small."""
    found = re.search(r"\d+", row.model)
    assert found  # every network of the study is called by its depth
    layers = int(found[0]) / (4 if row.dataset == "imagenet" else 1)
    return layers * (2 + max(row.options.get("rounds", 2), _stretch(row))) / 4


def _stretch(row: Preset) -> float:
    """How many times longer than Scratch-E the row's Scratch-B is, as far as can be told before."""
    if "scratch-b" not in row.regimes:
        return 1.0
    counted = (row.recipe.counted_epochs or row.recipe.epochs) / row.recipe.epochs
    sparse = 1 / (1 - row.target) if isinstance(row.target, float) else 1.0
    return counted * (row.ratio or sparse)


def _dataset(row: Preset, scale: str, data: str | None) -> str:
    if data is not None:
        return data
    if find_scale(scale).fraction is None:
        return STAND_IN
    if row.dataset == "imagenet":
        raise ConfigError(f"preset {row.name!r} at scale {scale!r} needs ImageNet, which is not "
                          "downloaded; say where it lies with data='imagenet:PATH' "
                          "(--data imagenet:PATH).")
    return row.dataset


def _shrunk(row: Preset, scale: Scale) -> dict[str, Any]:
    """Width, recipe, seeds and number of images of a row at a scale below the published one."""
    settings: dict[str, Any] = {"width": scale.width}
    shorter = scale.recipe
    if scale.preset_seeds is not None:
        settings["seeds"] = scale.preset_seeds
    relief = scale.relief
    if relief is not None and load(row) > relief.load:
        shorter = replace(shorter, epochs=relief.epochs)
        settings |= {"width": relief.width,
                     "images": max(FEWEST_IMAGES, int(relief.images / load(row)))}
    settings["recipe"] = _adapted(row.recipe, shorter, row.length)
    return settings


def _adapted(row: Recipe, shorter: Recipe, length: float) -> Recipe:
    """`row` in the length, learning rate and batch size of `shorter`."""
    epochs = round(shorter.epochs * length)

    def share(count: int | None) -> int | None:
        return None if count is None else max(1, round(epochs * count / row.epochs))

    falls = row.milestones
    if row.step is not None:  # a step of so few epochs would round to one, and falls be many
        falls = tuple(row.step * n for n in range(1, round(1 / row.step) + 1)
                      if row.step * n < 0.999)
    lr = round(shorter.lr * row.lr / STANDARD_LR, 9)  # 0.005, not 0.005000000000000001
    # A warm-up is an epoch at least, and of 4 epochs that leaves none at the full rate.
    return replace(row, epochs=epochs, lr=lr, batch_size=shorter.batch_size, warmup=0.0,
                   milestones=falls, step=None, finetune_epochs=share(row.finetune_epochs),
                   counted_epochs=share(row.counted_epochs))
