"""Scales: the same study for a laptop in minutes, for a class, and as published."""

from __future__ import annotations

from dataclasses import dataclass

from rethinklab.errors import unknown_name
from rethinklab.trainers.recipe import Recipe


@dataclass(frozen=True)
class Scale:
    """Defaults of a study. width: of the network. margin: of equivalence, percentage points,
    wide enough for what the scale's noise can resolve."""

    recipe: Recipe
    width: float
    seeds: int
    margin: float
    meaning: str


SCALES = {
    "quick": Scale(Recipe(epochs=6, lr=0.05), 0.125, 3, 1.0,
                   "seconds to minutes on two CPU cores, slim networks"),
    "classroom": Scale(Recipe(epochs=20, lr=0.05), 0.25, 6, 0.5,
                       "tens of minutes to hours on a laptop, slim networks"),
    "paper": Scale(Recipe(), 1.0, 5, 0.3, "the published protocol, for a GPU"),
}


def find_scale(name: str) -> Scale:
    """The scale called `name`. Raises ConfigError with the nearest match."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]
