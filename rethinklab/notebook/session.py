"""`start(number)`: the set-up of a notebook, and where its main results come from."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rethinklab
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.paper import preset
from rethinklab.experiments.results import Results
from rethinklab.experiments.runner import run
from rethinklab.experiments.study import Study
from rethinklab.notebook.display import show_figures
from rethinklab.trainers.loop import pick_device

VARIABLE = "RETHINKLAB_SCALE"
SCALES = {
    "cached": "studies are read from results recorded in real runs; only small steps run here",
    "quick": "studies run here, with slim networks on the embedded data: minutes on two cores",
    "paper": "studies run here by the published protocol on CIFAR-10: hours on a GPU",
}
# What each recorded study is, so that the other scales can run it or its published counterpart.
STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "l1-vgg16-digits-quick": {
        "quick": {"dataset": "digits", "model": "vgg16", "method": "l1", "target": "A"},
        "paper": preset("l1-vgg16-cifar10"),
    },
}


@dataclass(frozen=True)
class Session:
    """A notebook that has been set up. number: its place in the series. scale: "cached", "quick"
    or "paper". root: the folder of the project, which holds data/results."""

    number: int
    scale: str
    root: Path

    def results(self, name: str) -> Results:
        """The study `name`: as recorded in data/results where the scale is "cached", else run
        here, with the finished part of an earlier run taken from the folder runs.

        name: METHOD-NETWORK-DATASET-SCALE, as the file is called. At the scale "paper" the
        published counterpart on CIFAR-10 is what runs.
        Raises ConfigError for a name that is not recorded or has no counterpart.
        """
        if self.scale != "cached":
            return run(self.study(name), self.root / "runs")
        folder = self.root / "data" / "results"
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise unknown_name("recorded study", name, [p.stem for p in folder.glob("*.csv")])
        return Results.load(path)

    def study(self, name: str) -> Study:
        """The study that `results(name)` runs where the scale is not "cached"."""
        if name not in STUDIES:
            raise unknown_name("study", name, STUDIES)
        scale = "quick" if self.scale == "cached" else self.scale
        return Study(**{**STUDIES[name][scale], "scale": scale})


def start(number: int, scale: str | None = None) -> Session:
    """Set a notebook up: print versions, device and scale, and let figures appear under cells.

    number: the notebook's place in the series. scale: "cached", "quick" or "paper"; without it
    the environment variable RETHINKLAB_SCALE, else "cached".
    Raises ConfigError for an unknown scale, or where the project folder is not found.
    """
    import torch

    scale = scale or os.environ.get(VARIABLE) or "cached"
    if scale not in SCALES:
        raise unknown_name("notebook scale", scale, SCALES)
    session = Session(number, scale, find_root())
    show_figures()
    print(f"Notebook {number:02d}: rethinklab {rethinklab.__version__}, torch "
          f"{torch.__version__}, Python {platform.python_version()}, {pick_device().type}")
    print(f"Scale {scale}: {SCALES[scale]}.")
    return session


def find_root() -> Path:
    """The project folder: the nearest folder above the working one, or else above the package,
    that holds data/results. Raises ConfigError where there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(rethinklab.__file__).resolve().parents[1]):
        if (folder / "data" / "results").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise ConfigError(f"no project folder with data/results and notebooks lies above {here}; "
                      "start Jupyter inside the rethinklab folder.")
