"""`run(study)`: do what is missing of a study and give its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.experiments.engines.local import check_workers, run_stages
from rethinklab.experiments.results import Results, collect
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.experiments.trial import Stage
from rethinklab.pruners import method_digest
from rethinklab.trainers.loop import pick_device
from rethinklab.trainers.progress import make_bar
from rethinklab.trainers.regimes import find_regime


def run(study: Study, store: str | Path | Store = "runs", *, workers: int | None = None,
        threads: int = 1, device: str = "auto", progress: bool = True) -> Results:
    """Run the trials of a study that are not stored yet; the results of all of them.

    store: the folder of the results. workers: processes; by default one for each core (one on a
    GPU), and 0 runs in this process. threads: of each worker. On a CPU the results are the same
    to the bit for any number of workers, stopped and resumed or not.
    Raises RethinkError naming each stage that failed, after all that need none of them are
    done and stored.
    """
    pick_device(device)  # an unusable one fails here, not in every worker
    workers = check_workers(workers, threads, device)
    if workers and method_digest(type(study.pruner)):
        raise ConfigError(f"method {study.method} was registered in this process, and workers do "
                          "not know it; run with workers=0.")
    data = study.load()
    ratio = study.rehearse(data)
    place = store if isinstance(store, Store) else Store(store)
    trials = study.trials(data)
    addresses = {f"{t.seed}/{t.regime}": t.address for t in trials}
    place.save_study(study.name, {"study": study.to_dict(), "addresses": addresses})
    stages = {stage.address: stage for trial in trials for stage in trial.stages}
    missing = by_stage_kind([s for s in stages.values() if not place.has(s)])
    if missing:
        display = Display(study, missing, place, ratio, progress)
        try:
            run_stages(missing, place, workers=workers, threads=threads, device=device,
                       started=display.started, ended=display.ended, tick=display.tick)
        finally:
            display.close()
        if display.failures:
            stored = sum(place.has(stage) for stage in missing)
            untried = len(missing) - stored - len(display.failures)
            raise RethinkError(
                f"of {len(missing)} stages {len(display.failures)} failed, {stored} are stored and "
                f"{untried} that need the failed ones were not tried. "
                + " ".join(display.failures))
    return collect(study, place, addresses.values())


def by_stage_kind(stages: Sequence[Stage]) -> list[Stage]:
    """Plans as soon as they can be made, then large networks, then the regimes with the longest
    work first, so that no worker is left alone with a long run at the end."""
    budget = ["scratch-b", "scratch-b-capped", "scratch-e", "ticket", "finetune", "pruned"]

    def urgency(stage: Stage) -> tuple[int, int, int]:
        kind = ("plan", "large", "regime").index(stage.kind)
        regime = stage.spec.get("regime")
        return kind, budget.index(regime) if regime in budget else 0, stage.spec["seed"]

    return sorted(stages, key=urgency)


class Display:
    """Live progress of a study: a bar over all training left, and a line for each stage done.

    Work is counted in images seen times FLOPs, and shown relative to one large network.
    """

    def __init__(self, study: Study, stages: Sequence[Stage], store: Store, ratio: float,
                 progress: bool) -> None:
        self.work: dict[str, float] = {}
        for stage in stages:
            epochs = float(study.large_recipe.epochs)
            if stage.kind == "regime":
                budget = find_regime(stage.spec["regime"]).budget(study.large_recipe, ratio)
                epochs = budget.epochs / ratio if budget else 0.0
            self.work[stage.address] = 0.0 if stage.kind == "plan" else epochs
        self.store, self.count, self.shown = store, len(stages), progress
        self.finished = 0
        self.done_work = 0.0
        self.running: dict[str, Stage] = {}
        self.failures: list[str] = []
        self.bar = make_bar(progress, total=round(sum(self.work.values()), 3), desc=study.method
                            + " " + study.network, bar_format="{desc} {percentage:3.0f}% |{bar}| "
                            "{elapsed}<{remaining}{postfix}")

    def started(self, stage: Stage) -> None:
        self.running[stage.address] = stage
        if self.bar.disable and stage.kind != "plan":  # nobody sees the bar: say so in a line
            self._say(f"{'':{2 * len(str(self.count)) + 3}} {stage.label} started")
        self.tick()

    def ended(self, stage: Stage, error: RethinkError | None) -> None:
        self.running.pop(stage.address, None)
        self.finished += 1
        self.done_work += self.work[stage.address]
        if error is not None:
            self.failures.append(f"{stage.label}: {error}")
            self._say(f"{stage.label}: failed")
        elif stage.kind != "plan":
            result = self.store.result(stage)
            self._say(f"[{self.finished:{len(str(self.count))}}/{self.count}] "
                      f"{stage.label:24} {result['test_accuracy']:7.2%}  "
                      f"epochs: {result['epochs']}, {result['seconds']:.0f} s")
        self.tick()

    def tick(self) -> None:
        notes, partial = [], 0.0
        for stage in self.running.values():
            state = self._state(stage)
            if state is None:
                continue
            share = state["epoch"] / state["epochs"]
            partial += share * self.work[stage.address]
            notes.append(f"{stage.label} {state['epoch']:.1f}/{state['epochs']}")
        self.bar.n = min(self.done_work + partial, self.bar.total or 0)
        self.bar.set_postfix_str("; ".join(notes), refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()

    def _state(self, stage: Stage) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.store.work(stage) / "progress.json").read_text()))
        except (OSError, ValueError):
            return None  # not begun, or just finished

    def _say(self, line: str) -> None:
        if self.shown:
            self.bar.write(line)
