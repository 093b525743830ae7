"""Scales: the same study for a laptop in minutes, for a class, for minutes of a GPU, and as
published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rethinklab.errors import unknown_name
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import find_regime


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
    most its strength times the sum of the learning rates of all steps. preset_seeds: in place of
    `seeds` for a row of the paper. relief: for those of its rows that are too much work. fraction:
    of the published schedule that a row of the paper has here, its images, network and learning
    rates as published, and its penalties as many times stronger; None where a row takes the
    scale's own recipe and width. also: regimes beside the usual ones of a method that trains
    inherited weights."""

    recipe: Recipe
    width: float
    seeds: int
    margin: float
    meaning: str
    look: Look | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset_seeds: int | None = None
    relief: Relief | None = None
    fraction: float | None = None
    also: tuple[str, ...] = ()

    def regimes(self, usual: Sequence[str]) -> tuple[str, ...]:
        """The default regimes, of those that a method or a row of the paper is studied with."""
        kept = [name for name in usual if find_regime(name).start == "inherited"]
        if not kept:
            return tuple(usual)
        place = 1 + list(usual).index(kept[-1])
        return tuple(dict.fromkeys([*usual[:place], *self.also, *usual[place:]]))

    def usual(self, model: Any) -> Scale | Look:
        """Defaults of a study of `model`; None is a first look, which names none."""
        return (self.look if model is None else None) or self


SCALES = {
    "quick": Scale(Recipe(epochs=6, lr=0.05), 0.125, 3, 1.0,
                   "seconds to minutes on two CPU cores, slim networks",
                   Look(Recipe(epochs=4, lr=0.05), 0.0625, 2),
                   {"slimming": {"strength": 0.01, "minimum": 1}, "sss": {"strength": 0.01}},
                   2, Relief(20, 0.25, 4, 10_000)),
    "classroom": Scale(Recipe(epochs=40, lr=0.05), 0.25, 6, 0.5,
                       "tens of minutes to hours on a laptop, slim networks", None,
                       {"slimming": {"strength": 0.0025, "minimum": 1},
                        "sss": {"strength": 0.008}}),
    "short": Scale(Recipe(epochs=32), 1.0, 6, 0.5,
                   "full-width networks and a fifth of the published schedule, minutes on a GPU",
                   None, {"slimming": {"strength": 5e-4}, "sss": {"strength": 2.5e-3}},
                   fraction=0.2, also=("lr-rewind",)),
    "paper": Scale(Recipe(), 1.0, 5, 0.3, "the published protocol, for a GPU", fraction=1.0),
}


def find_scale(name: str) -> Scale:
    """The scale called `name`. Raises ConfigError with the nearest match."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]
