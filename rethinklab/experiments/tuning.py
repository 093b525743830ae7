"""A learning-rate grid for every arm of a study: as many trials for each, chosen on held-out
training images, so that no arm wins by a recipe that was tuned for it alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from rethinklab.errors import ConfigError, DivergenceError, RethinkError, StagesFailed
from rethinklab.experiments.runner import as_run_here, run
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_title
from rethinklab.values import listed

FACTORS = (1 / 3, 1.0, 3.0)


@dataclass(frozen=True)
class Tuning:
    """study: the one that was tuned, with the learning rates chosen. table: a row for each arm
    and rate, with factor, lr, accuracy (mean in percent on the held-out images, NaN where every
    run diverged), n and chosen. notes: arms whose best rate lies at the edge of the grid."""

    study: Study
    table: pd.DataFrame
    notes: tuple[str, ...]

    def __str__(self) -> str:
        shown = self.table.assign(
            arm=[regime_title(name) for name in self.table["regime"]],
            lr=[f"{lr:.4g}" for lr in self.table["lr"]],
            accuracy=["diverged" if math.isnan(a) else f"{a:.2f}" for a in self.table["accuracy"]],
            chosen=["*" if c else "" for c in self.table["chosen"]])
        lines = [shown[["arm", "lr", "accuracy", "n", "chosen"]].to_string(index=False)]
        return "\n".join(lines + [f"\nNote: {note}" for note in self.notes])


def tune(study: Study, store: str | Path | Store = "runs", *,
         factors: Sequence[float] = FACTORS, hold_out: float = 0.1, **options: Any) -> Tuning:
    """Choose the learning rate of every arm of `study` on training images held out for it.

    factors: multiples of the rate that each arm has by its rule. The unpruned network comes
    first; the others then start from it as tuned. hold_out: share of the training images that
    takes the place of the test images, for all networks, the large ones included. A training in
    which the method itself acts is no arm of its own; a note says so. options: of `run`. Every
    arm gets one run for each factor and seed. A run that diverges counts as worst.
    Raises ConfigError for a grid that is none, and RethinkError where an arm has no run that ends.
    """
    grid = check_factors(factors)
    place = store if isinstance(store, Store) else Store(store)
    held = replace(as_run_here(study), hold_out=hold_out, preset="")
    rows = [row for factor in grid
            for row in _held_out(replace(held, recipe=_scaled(held, factor), regimes=(), lrs={}),
                                 place, {UNPRUNED: held.large_recipe.lr * factor}, factor, options)]
    recipe = _scaled(held, _best(rows, UNPRUNED)["factor"])
    tuned = replace(held, recipe=recipe, lrs={})
    rates = _usual_rates(tuned)
    for factor in grid:
        lrs = {regime: rate * factor for regime, rate in rates.items()}
        rows += _held_out(replace(tuned, regimes=tuple(rates), lrs=lrs if factor != 1 else {}),
                          place, lrs, factor, options)
    best = {arm: _best(rows, arm) for arm in (UNPRUNED, *rates)}
    lrs = {regime: best[regime]["lr"] for regime in rates if best[regime]["factor"] != 1}
    table = pd.DataFrame([{**row, "chosen": row is best[row["regime"]]} for row in rows])
    chosen = replace(study, recipe=recipe, lrs=lrs)
    return Tuning(chosen, table, (*_edges(best, grid), *_off_the_grid(study)))


def _off_the_grid(study: Study) -> list[str]:
    if not study.pruner.training_spec():
        return []
    return [f"the training in which {study.method} acts takes the learning rate chosen for the "
            "unpruned network; it is no arm of the grid, and regimes that rest on it are at that "
            "much of a disadvantage."]


def check_factors(factors: Sequence[float]) -> list[float]:
    """The grid in ascending order. Raises ConfigError unless it holds 1 and another number."""
    grid = sorted(set(listed(factors) or ()))
    if len(grid) < 2 or 1 not in grid or not all(0 < f < math.inf for f in grid):
        raise ConfigError(f"a learning-rate grid {list(factors)} must hold two or more positive "
                          "multiples of each arm's usual rate, 1 among them, such as 0.3, 1, 3.")
    return grid


def _scaled(study: Study, factor: float) -> Any:
    return replace(study.large_recipe, lr=study.large_recipe.lr * factor)


def _usual_rates(study: Study) -> dict[str, float]:
    """The initial learning rate of each regime that trains, by its rule."""
    budgets = {name: find_regime(name).budget(study.large_recipe, 1.0)
               for name in study.regime_names}
    return {name: budget.lr for name, budget in budgets.items() if budget is not None}


def _held_out(study: Study, place: Store, lrs: Mapping[str, float], factor: float,
              options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each arm of `lrs`, from a run of the study; what diverged is left out."""
    try:
        run(study, place, **options)
    except StagesFailed as error:
        if not all(isinstance(cause, DivergenceError) for cause in error.causes):
            raise
    trials = study.trials(study.load())
    ended = [row for trial in trials if (row := place.read_address(trial.address))]
    rows = []
    for arm, lr in lrs.items():
        found = [row["test_accuracy"] * 100 for row in ended if row["regime"] == arm]
        whole = len(found) == len(study.seed_numbers)
        rows.append({"regime": arm, "factor": factor, "lr": lr, "n": len(found),
                     "accuracy": sum(found) / len(found) if whole else math.nan})
    return rows


def _best(rows: Sequence[dict[str, Any]], arm: str) -> dict[str, Any]:
    """The row of an arm's best rate; of equals the one nearest to its usual rate."""
    ended = [row for row in rows if row["regime"] == arm and not math.isnan(row["accuracy"])]
    if not ended:
        raise RethinkError(f"every learning rate of the grid made {regime_title(arm)} diverge; "
                           "choose smaller ones.")
    return max(ended, key=lambda row: (row["accuracy"], -abs(math.log(row["factor"]))))


def _edges(best: Mapping[str, dict[str, Any]], grid: Sequence[float]) -> list[str]:
    ends = {grid[0]: "lowest", grid[-1]: "highest"}
    return [f"the best learning rate of {regime_title(arm)} is the {ends[row['factor']]} of the "
            f"grid ({row['lr']:.4g}); a wider one may hold a better."
            for arm, row in best.items() if row["factor"] in ends]
