"""A study of a store together with the networks, plans and histories that its stages left."""

from __future__ import annotations

from functools import cached_property

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.evidence.missing import Missing
from rethinklab.experiments.results import Results, stored_results
from rethinklab.experiments.stages import (
    build_stage_model,
    load_network,
    load_plan,
    load_weights,
    source_data,
    stage_data,
    starting_network,
)
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.experiments.trial import Stage, Trial
from rethinklab.pruners import Plan
from rethinklab.trainers.regimes import UNPRUNED


class StoredStudy:
    """A study and what its finished stages left in the store.

    name: of the study, or how it begins. What is not there raises `Missing`.
    """

    def __init__(self, name: str, store: Store) -> None:
        self.results: Results = stored_results(name, store)
        self.name, self.store = self.results.name, store
        self.study = Study.from_dict(store.studies()[self.name]["study"])

    @property
    def label(self) -> str:
        """Where the numbers are from: scale, data, device, seeds."""
        return self.results.label

    @cached_property
    def data(self) -> ImageData:
        """The study's images."""
        return stage_data(next(iter(self.trials.values())).stages[0])

    @cached_property
    def trials(self) -> dict[tuple[str, int], Trial]:
        """All cells of the study by (regime, seed), finished or not."""
        return {(t.regime, t.seed): t for t in self.study.trials(source_data(self.study.source))}

    @property
    def regimes(self) -> list[str]:
        """The regimes with results, the unpruned network first."""
        return self.results.regimes

    def seeds(self, *regimes: str) -> list[int]:
        """The seeds of which all these regimes are finished, ascending. Raises Missing where
        there is none."""
        frame = self.results.frame
        found = [set(frame.loc[frame["regime"] == regime, "seed"]) for regime in regimes]
        both = sorted(set.intersection(*found)) if found else sorted(set(frame["seed"]))
        if not both:
            raise Missing(f"{self.name} has no seed with results for {' and '.join(regimes)}; run "
                          "the study with them.")
        return [int(seed) for seed in both]

    def network(self, regime: str, seed: int) -> nn.Module:
        """The trained network of a regime, in evaluation mode."""
        stage = self._finished(self._trial(regime, seed).stages[-1])
        model = (build_stage_model(stage.spec) if regime == UNPRUNED else
                 self.beginning(regime, seed))
        load_weights(model, self.store.trained(stage.address) / "weights.safetensors")
        return model.eval()

    def beginning(self, regime: str, seed: int) -> nn.Module:
        """The network of a regime as its training found it: for "unpruned" with its initial
        weights."""
        stage = self._trial(regime, seed).stages[-1]
        if stage.kind == "large":
            return build_stage_model(stage.spec)
        for need in stage.ancestors:
            self._finished(need)
        return starting_network(stage, self.store, self.data)

    def pruned_from(self, seed: int) -> nn.Module:
        """The trained network that the plan was made from: the unpruned one, or the one in whose
        training the method acted."""
        return load_network(self._finished(self._plan_stage(seed).needs[0]), self.store).eval()

    def plan(self, seed: int) -> Plan:
        """The plan of a seed. Raises Missing where nothing was pruned."""
        return load_plan(self._finished(self._plan_stage(seed)), self.store)

    @property
    def planned_seeds(self) -> list[int]:
        """The seeds whose plan is stored, ascending. Raises Missing where there is none."""
        found = [seed for seed in self.study.seed_numbers
                 if any(s == seed and t.regime != UNPRUNED and not t.pruned_model
                        and self.store.has(self._plan_stage(seed))
                        for (_, s), t in self.trials.items())]
        if not found:
            raise Missing(f"{self.name} holds no plan; run a study that prunes, such as "
                          "`rethinklab run --method l1`.")
        return found

    def history(self, regime: str, seed: int) -> pd.DataFrame:
        """The epochs of a training: epoch, train_loss, test_accuracy, ...; empty where nothing
        was trained."""
        stage = self._finished(self._trial(regime, seed).stages[-1])
        try:
            return pd.read_csv(self.store.trained(stage.address) / "history.csv")
        except pd.errors.EmptyDataError:  # the regime "pruned"
            return pd.DataFrame()
        except (OSError, ValueError) as error:
            raise Missing(f"the history of {regime}, seed {seed}, of {self.name} cannot be read "
                          f"({error}).") from error

    def state(self, regime: str, seed: int) -> dict[str, Tensor]:
        """The stored weights of a regime's trained network by name."""
        stage = self._finished(self._trial(regime, seed).stages[-1])
        return load_file(self.store.trained(stage.address) / "weights.safetensors")

    def _trial(self, regime: str, seed: int) -> Trial:
        if (regime, seed) not in self.trials:
            raise Missing(f"{self.name} has no {regime} of seed {seed}; run the study with it.")
        return self.trials[regime, seed]

    def _plan_stage(self, seed: int) -> Stage:
        for (regime, own), trial in self.trials.items():
            if own == seed and regime != UNPRUNED and not trial.pruned_model:
                return next(stage for stage in trial.stages if stage.kind == "plan")
        raise Missing(f"{self.name} prunes nothing for seed {seed}.")

    def _finished(self, stage: Stage) -> Stage:
        if not self.store.has(stage):
            raise Missing(f"{stage.label} of {self.name} is not finished; run the study again, and "
                          "it goes on.")
        return stage
