"""Scales: the same study for a laptop in minutes, for a class, and as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rethinklab.errors import unknown_name
from rethinklab.trainers.recipe import Recipe


@dataclass(frozen=True)
class Look:
    """Defaults of a first look, small enough for every method to end within two minutes."""

    recipe: Recipe
    width: float
    seeds: int


@dataclass(frozen=True)
class Relief:
    """What makes a row of the paper with much work fit a scale that is meant for less: above
    `load` (layers, times a quarter of the trainings of a seed), the large network has `width`,
    and `epochs` epochs on images / load images. That is a walk through the row, not a result."""

    load: float
    width: float
    epochs: int
    images: int


@dataclass(frozen=True)
class Scale:
    """Defaults of a study. width: of the network. margin: of equivalence, percentage points,
    wide enough for what the scale's noise can resolve. look: other defaults for a first look at a
    method, where the study names no network. options: hyper-parameters of methods whose
    published values belong to the published length of training: a penalty moves a scale by at
    most its strength times the sum of all learning rates. preset_seeds: in place of `seeds` for a
    row of the paper. relief: for those of its rows that are too much work."""

    recipe: Recipe
    width: float
    seeds: int
    margin: float
    meaning: str
    look: Look | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset_seeds: int | None = None
    relief: Relief | None = None

    def usual(self, model: Any) -> Scale | Look:
        """Defaults of a study of `model`; None is a first look, which names none."""
        return (self.look if model is None else None) or self


SCALES = {
    "quick": Scale(Recipe(epochs=6, lr=0.05), 0.125, 3, 1.0,
                   "seconds to minutes on two CPU cores, slim networks",
                   Look(Recipe(epochs=4, lr=0.05), 0.0625, 2),
                   {"slimming": {"strength": 0.01, "minimum": 1}, "sss": {"strength": 0.01}},
                   2, Relief(20, 0.25, 4, 10_000)),
    "classroom": Scale(Recipe(epochs=20, lr=0.05), 0.25, 6, 0.5,
                       "tens of minutes to hours on a laptop, slim networks", None,
                       {"slimming": {"strength": 0.0025, "minimum": 1},
                        "sss": {"strength": 0.0025}}),
    "paper": Scale(Recipe(), 1.0, 5, 0.3, "the published protocol, for a GPU"),
}


def find_scale(name: str) -> Scale:
    """The scale called `name`. Raises ConfigError with the nearest match."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]
