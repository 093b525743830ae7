"""Is it the weights or the architecture? The study of Liu et al. (ICLR 2019), as a kit.

    import rethinklab as rl

Everything a notebook needs is an attribute of this module; each is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rethinklab.lazy import attributes

__version__ = "1.0.0"

_WHERE = {
    "load_data": "data", "ImageData": "data", "Images": "data",
    "build_model": "models", "load_trained": "models.trained",
    "Recipe": "trainers.recipe", "train": "trainers.loop", "evaluate": "trainers.evaluate",
    "TrainResult": "trainers.loop", "Callback": "trainers.callbacks", "REGIMES": "trainers.regimes",
    "Plan": "pruners", "Origin": "pruners", "make_pruner": "pruners",
    "profile": "analysis.cost", "compare_paired": "analysis.statistics",
    "compare_family": "analysis.statistics", "pairs_for": "analysis.power",
    "Study": "experiments.study", "Trial": "experiments.trial", "Store": "experiments.store",
    "Results": "results", "load_results": "results", "load_studies": "results", "run": "results",
    "run_one": "experiments.stages",
    "tune": "experiments.tuning", "status": "experiments.progress",
    "RethinkError": "errors",
}
_MODULES = ("analysis", "data", "experiments", "figures", "models", "notebook", "pruners",
            "results", "trainers")

__all__ = sorted([*_WHERE, *_MODULES, "__version__"])

if TYPE_CHECKING:
    from rethinklab import (
        analysis,
        data,
        experiments,
        figures,
        models,
        notebook,
        pruners,
        results,
        trainers,
    )
    from rethinklab.analysis.cost import profile
    from rethinklab.analysis.power import pairs_for
    from rethinklab.analysis.statistics import compare_family, compare_paired
    from rethinklab.data import ImageData, Images, load_data
    from rethinklab.errors import RethinkError
    from rethinklab.experiments.progress import status
    from rethinklab.experiments.stages import run_one
    from rethinklab.experiments.store import Store
    from rethinklab.experiments.study import Study
    from rethinklab.experiments.trial import Trial
    from rethinklab.experiments.tuning import tune
    from rethinklab.models import build_model
    from rethinklab.models.trained import load_trained
    from rethinklab.pruners import Origin, Plan, make_pruner
    from rethinklab.results import Results, load_results, load_studies, run
    from rethinklab.trainers.callbacks import Callback
    from rethinklab.trainers.evaluate import evaluate
    from rethinklab.trainers.loop import TrainResult, train
    from rethinklab.trainers.recipe import Recipe
    from rethinklab.trainers.regimes import REGIMES

__getattr__ = attributes(__name__, _WHERE, _MODULES)


def __dir__() -> list[str]:
    return __all__
