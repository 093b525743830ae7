"""`start(number)`: the set-up of a notebook, and where its main results come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import rethinklab
from rethinklab.devices import pick_device
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.queue import Entry, choose, load_queue
from rethinklab.experiments.settings import study_settings
from rethinklab.experiments.study import Study
from rethinklab.figures.style import say_scale
from rethinklab.home import home, installed
from rethinklab.notebook.checks.common import Unanswered, Wrong
from rethinklab.notebook.display import show_figures
from rethinklab.results import Results, load_studies, run
from rethinklab.results.tables import find_table
from rethinklab.values import whole

VARIABLE = "RETHINKLAB_SCALE"
STORE_VARIABLE = "RETHINKLAB_STORE"
SCALES = {
    "cached": "studies are read from results recorded in real runs; only small steps run here",
    "quick": "studies run here in a tiny form, which shows the steps and ends near chance: seconds",
    "classroom": "studies run here as they were recorded: minutes to hours on two cores",
    "short": "studies run here by a fifth of the published schedule on CIFAR-10: minutes on a GPU",
    "paper": "studies run here by the published protocol on CIFAR-10: hours on a GPU",
}
QUICK = {"dataset": "digits", "images": 600, "width": 0.0625, "seeds": 2}  # a study in seconds
QUICK_RECIPE = {"epochs": 2, "batch_size": 32}
STRENGTHS = {"sss": 0.15, "slimming": 0.01}  # so that so short a training drives scales to zero
KEPT = ("model", "model_options", "method", "method_options", "target", "regimes")
QUEUE = Path("data", "results", "queue.toml")


@dataclass(frozen=True)
class Session:
    """A notebook that has been set up. number: its place in the series. scale: a name in SCALES.
    root: the folder of the project, which holds data/results. strict: whether checks raise, for
    marking."""

    number: int
    scale: str
    root: Path
    strict: bool = False

    def results(self, name: str) -> Results:
        """The study `name`: as recorded in data/results where the scale is "cached", else run
        here, with the finished part of an earlier run taken from the folder runs.

        name: as its folder is called. At the scale "quick" a tiny form of the study runs, at
        "classroom" the study as it was recorded, and at "short" and "paper" its counterpart on
        CIFAR-10 at the published width, for a fifth of the published length or all of it.
        Raises ConfigError for a name that is not recorded.
        """
        if self.scale != "cached":
            return run(self.study(name), self.store, workers=0 if self.scale == "quick" else None,
                       progress=self.scale != "quick")
        return load_studies(self.root / QUEUE.parent, [name])[name]

    def evidence(self, kind: str, name: str) -> pd.DataFrame:
        """A small table beside the results of the study `name`, such as "weights" or "widths", as
        the figures take it: recorded, or gathered from the networks that were trained here.

        Raises ConfigError for a kind or a study that there is not.
        """
        find_table(kind)  # before anything runs
        return self.results(name).table(kind)

    def study(self, name: str) -> Study:
        """The study that `results(name)` runs where the scale is not "cached", or that was
        recorded."""
        entry = next(iter(choose(load_queue(self.root / QUEUE), [name])))
        return (entry.study() if self.scale in ("cached", "classroom")
                else counterpart(entry, self.scale))

    def choose(self, names: Sequence[str], quick: int = 2) -> list[str]:
        """The names of the studies that a lesson over many of them looks at: all, and at the scale
        "quick", where each is run here and takes seconds, the first `quick`.

        Raises ConfigError for a `quick` below 1.
        """
        quick = whole("quick", quick, 1, rule="a number of studies, 1 or more")
        return list(names)[:quick] if self.scale == "quick" else list(names)

    def check(self, check: Callable[..., str], *answer: Any, **context: Any) -> None:
        """Show what the check of an exercise says of an answer; in a notebook for marking raise
        instead where it is not right."""
        try:
            print(f"Right: {check(*answer, **context)}")
        except Unanswered as open_question:
            if self.strict:
                raise
            print(open_question)
        except Wrong as diagnosis:
            if self.strict:
                raise
            print(f"Not yet: {diagnosis}")
        except Exception as error:  # of the reader's code, which the check has run
            if self.strict:
                raise
            print(f"Not yet: your code stopped with {type(error).__name__}: {error}")

    @property
    def store(self) -> Path:
        """Where studies that run here are kept: the folder runs of the project, the working one
        where the package is installed, or that which the environment variable RETHINKLAB_STORE
        names."""
        if named := os.environ.get(STORE_VARIABLE):
            return Path(named)
        return (Path.cwd() if installed() and self.root == home() else self.root) / "runs"


def counterpart(entry: Entry, scale: str) -> Study:
    """The recorded study as it runs at the scale "quick", in seconds on two cores, "short" or
    "paper"."""
    settings = dict(entry.settings)
    preset = settings.get("preset")
    if preset:
        given = {name: settings[name] for name in KEPT if name in settings}
    else:
        given = {"dataset": "cifar10", **{n: settings[n] for n in KEPT if n in settings}}
    options = {**given.get("method_options", {})}
    options.pop("strength", None)
    if scale == "quick":
        given |= {**QUICK, **QUICK_RECIPE}
        method = options.get("of", settings.get("method", "l1"))
        if method == "sss":
            given["batch_size"] = 16  # more steps, each of which thresholds
        if method in STRENGTHS and not preset:
            strength = {"strength": STRENGTHS[method]}
            options = ({**options, "options": strength} if "of" in options
                       else {**options, **strength})
    if options:
        given["method_options"] = options
    return Study(**study_settings(preset, scale, given))


def start(number: int, scale: str | None = None, strict: bool = False) -> Session:
    """Set a notebook up: print versions, device and scale, and let figures appear under cells.

    number: the notebook's place in the series. scale: a name in SCALES; without it
    the environment variable RETHINKLAB_SCALE, else "cached". strict: let checks raise where an
    answer is not right, as a notebook for marking does.
    Raises ConfigError for an unknown scale, or where the project folder is not found.
    """
    import torch

    scale = scale or os.environ.get(VARIABLE) or "cached"
    if scale not in SCALES:
        raise unknown_name("notebook scale", scale, SCALES)
    session = Session(number, scale, find_root(), strict)
    if show_figures():
        say_scale(f"Run in this notebook, scale {scale}.")
    print(f"Notebook {number:02d}: rethinklab {rethinklab.__version__}, torch "
          f"{torch.__version__}, Python {platform.python_version()}, {pick_device().type}")
    print(f"Scale {scale}: {SCALES[scale]}.")
    return session


def find_root() -> Path:
    """The project folder: the nearest above the working one that holds data/results and notebooks,
    or else the one that came with the package. Raises ConfigError where there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents, home()):
        if (folder / "data" / "results").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise ConfigError(f"no project folder with data/results and notebooks lies above {here}; "
                      "start Jupyter inside the rethinklab folder.")
