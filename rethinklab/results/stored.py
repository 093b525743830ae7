"""A study of a store: its trials as a table, and the networks, plans and histories that its
stages left."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor, nn

from rethinklab.analysis.ledger import Ledger
from rethinklab.data import ImageData
from rethinklab.errors import ConfigError, Missing, StoreError
from rethinklab.experiments.stages import (
    build_stage_model,
    load_correctness,
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
from rethinklab.results.files import with_settings
from rethinklab.results.label import make_label
from rethinklab.trainers.regimes import UNPRUNED, prunes, regime_order

NESTED = ("needs", "ledger", "files", "schema")


class StoredStudy:
    """A study and what its finished stages left in the store. What is not there raises `Missing`.

    frame: a row for each finished trial. label: where the numbers are from.
    Raises ConfigError where no trial is finished yet.
    """

    def __init__(self, study: Study, store: Store, addresses: Iterable[str]) -> None:
        self.study, self.store, self.name = study, store, study.name
        self.settings: Mapping[str, Any] = study.to_dict()
        rows = [row for row in map(store.read_address, sorted(set(addresses))) if row]
        if not rows:
            raise ConfigError(f"no trial of {study.name} is stored in {store.root} yet.")
        self.frame = with_settings(pd.DataFrame([flat(row, store) for row in rows]), self.settings)
        self.label = make_label([(self.settings, self.frame)])
        self._warn_of_mixed("device", "threads")

    @classmethod
    def named(cls, name: str, store: Store) -> StoredStudy:
        """The stored study whose name is or begins with `name`. Raises ConfigError where none or
        several match."""
        name = store.find_study(name)
        content = store.studies()[name]
        try:
            study, addresses = Study.from_dict(content["study"]), content["addresses"].values()
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"the study {name} in {store.root} is damaged ({error!r}); "
                             "`rethinklab store repair` moves it aside, then run it again."
                             ) from error
        return cls(study, store, addresses)

    def _warn_of_mixed(self, *columns: str) -> None:
        for column in columns:
            if self.frame[column].nunique() > 1:
                found = " and ".join(sorted(map(str, self.frame[column].unique())))
                warnings.warn(f"the trials of {self.name} were run with different {column} "
                              f"({found}), whose rounding differs; pairs may be less alike than "
                              "their seeds.", stacklevel=4)

    def origin(self) -> list[str]:
        """The addresses of its trials."""
        return sorted(self.frame["address"])

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
        return sorted(set(self.frame["regime"]), key=regime_order)

    def seeds(self, *regimes: str) -> list[int]:
        """The seeds of which all these regimes are finished, ascending. Raises Missing where
        there is none."""
        frame = self.frame
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
        return load_network(self.pruned_stage(seed), self.store).eval()

    def pruned_stage(self, seed: int) -> Stage:
        """The training of that network."""
        return self._finished(self._plan_stage(seed).needs[0])

    def plan(self, seed: int) -> Plan:
        """The plan of a seed. Raises Missing where nothing was pruned."""
        return load_plan(self._finished(self._plan_stage(seed)), self.store)

    @property
    def planned_seeds(self) -> list[int]:
        """The seeds whose plan is stored, ascending. Raises Missing where there is none."""
        found = [seed for seed in self.study.seed_numbers
                 if any(s == seed and prunes(t.regime) and not t.pruned_model
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

    def correct(self, regime: str, seed: int) -> Any:
        """Which test images the trained network of a regime got right, one truth value each."""
        rows = self.frame[(self.frame["regime"] == regime) & (self.frame["seed"] == seed)]
        right = [load_correctness(self.store.trained(address))
                 for address in rows["address"]]
        if not right or right[0] is None:
            raise Missing(f"{self.name} does not say which images {regime} of seed {seed} gets "
                          "right; run it in a new store.")
        return right[0].numpy()

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
            if own == seed and prunes(regime) and not trial.pruned_model:
                return next(stage for stage in trial.stages if stage.kind == "plan")
        raise Missing(f"{self.name} prunes nothing for seed {seed}.")

    def _finished(self, stage: Stage) -> Stage:
        if not self.store.has(stage):
            raise Missing(f"{stage.label} of {self.name} is not finished; run the study again, and "
                          "it goes on.")
        return stage


def flat(row: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """A stored result as a row of plain values; its ledger and those of all stages that it rests
    on are summed into the columns spent_..."""
    plain = {name: value for name, value in row.items() if name not in NESTED}
    return plain | {f"spent_{name}": value for name, value in whole_ledger(row, store).items()}


def whole_ledger(row: Mapping[str, Any], store: Store) -> dict[str, float]:
    """What a result and all that it rests on cost."""
    seen: dict[str, Mapping[str, Any]] = {}
    waiting = [row]
    while waiting:
        stage = waiting.pop()
        if stage["address"] not in seen:
            seen[stage["address"]] = stage
            waiting += [found for found in map(store.read_address, stage["needs"]) if found]
    return {name: sum(stage["ledger"][name] for stage in seen.values())
            for name in Ledger().to_dict()}
