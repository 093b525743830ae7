"""Carrying out the stages of a trial: train the large network, prune it, train what is left."""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import rethinklab
from rethinklab.analysis.cost import Cost, profile
from rethinklab.data import ImageData, load_data
from rethinklab.errors import ConfigError, RethinkError, StoreError
from rethinklab.experiments.store import Store, write_atomically
from rethinklab.experiments.trial import Stage, Trial
from rethinklab.models import build_model
from rethinklab.pruners import Origin, Plan, find_method, make_pruner
from rethinklab.pruners.lottery import rewound
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.trainers.evaluate import evaluate
from rethinklab.trainers.loop import TrainResult, history_frame, pick_device, train
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime

PROGRESS_SECONDS = 1.0


def run_one(trial: Trial, store: Store, device: str = "auto") -> dict[str, Any]:
    """Do what is missing of a trial and give its result. Safe to repeat and to run twice at once:
    stages that are stored are not done again."""
    for stage in trial.stages:
        run_stage(stage, store, device)
    return store.result(trial.stages[-1])


def run_stage(stage: Stage, store: Store, device: str = "auto") -> None:
    """Do one stage unless it is stored; what it needs must be."""
    if store.has(stage):
        return
    work = {"large": _train_large, "plan": _make_plan, "regime": _train_regime}[stage.kind]
    with store.claim(stage) as to_do:
        if not to_do:
            return
        try:
            work(stage, store, device)
        except RethinkError:
            raise
        except Exception as error:  # of the user's network, of a GPU out of memory
            note = store.work(stage) / "error.txt"
            with suppress(OSError):
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(traceback.format_exc())
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            raise RethinkError(f"{type(error).__name__}: {reason} (traceback: {note})") from error


def _train_large(stage: Stage, store: Store, device: str) -> None:
    data = stage_data(stage)
    during = stage.spec.get("during")
    acting = method_callbacks(during, data) if during else []
    outcome = _train(stage, store, build_stage_model(stage.spec), data,
                     Recipe(**stage.spec["recipe"]), device, acting)
    cost = profile(outcome.model, data.input_shape, latency=False)
    name = f"{during['method']} training" if during else UNPRUNED
    _store_training(stage, store, outcome, data, cost, name, device)


def method_callbacks(during: dict[str, Any], data: ImageData) -> list[Callback]:
    """What a method has act while the large network trains, from its `training_spec`."""
    target = during.get("target", find_method(during["method"]).usual)
    return make_pruner(during["method"], target, **during["options"]).during(data)


def _make_plan(stage: Stage, store: Store, device: str) -> None:
    assert stage.needs is not None
    large = load_network(stage.needs, store)
    seeded = {"seed": stage.spec["seed"]} if "seed" in {
        f.name for f in fields(find_method(stage.spec["method"]))} else {}
    pruner = make_pruner(stage.spec["method"], stage.spec["target"],
                         **{**seeded, **stage.spec["options"]})
    training = stage.needs.spec
    origin = Origin(Recipe(**training["recipe"]), training["seed"], build_stage_model(training),
                    device, training["precision"])
    plan = pruner.fit(large.to(pick_device(device)), stage_data(stage), origin)
    store.write(stage, {"stage": "plan", "address": stage.address, "seed": stage.spec["seed"]},
                lambda folder: plan.save(folder / "plan.json"))


def _train_regime(stage: Stage, store: Store, device: str) -> None:
    assert stage.needs is not None
    assert stage.needs.needs is not None
    regime = find_regime(stage.spec["regime"])
    plan = load_plan(stage.needs, store)
    large = stage.needs.needs
    recipe = Recipe(**stage.spec["recipe"])
    data = stage_data(stage)
    first_epoch = 0
    if regime.start == "inherited":
        start = plan.apply(load_network(large, store))
    elif regime.start == "new":  # from the untrained network: there is nothing to be inherited
        start = plan.scratch(build_stage_model(large.spec), stage.spec["seed"])
    else:
        origin = Origin(recipe, stage.spec["seed"], None, device, stage.spec["precision"])
        start = plan.ticket(rewound(build_stage_model(large.spec), data, origin, plan.rewind))
        first_epoch = plan.rewind
    budget = regime.budget(recipe, plan.flops_ratio)
    if budget is None:
        start = start.to(pick_device(device))
        outcome = TrainResult(start, history_frame([]), evaluate(start, data)[0])
    else:
        outcome = _train(stage, store, start, data, budget, device, plan.callbacks(), first_epoch)
    count = "nonzero" if plan.masks else "dense"
    cost = profile(outcome.model, data.input_shape, count=count, latency=False)
    _store_training(stage, store, outcome, data, cost, stage.spec["regime"], device,
                    masked=bool(plan.masks))


def _train(stage: Stage, store: Store, model: nn.Module, data: ImageData, recipe: Recipe,
           device: str, acting: Sequence[Callback] = (), first_epoch: int = 0) -> TrainResult:
    work = store.work(stage)
    return train(model, data, recipe, seed=stage.spec["seed"], device=device,
                 precision=stage.spec["precision"], checkpoint=work / "checkpoint.pt",
                 first_epoch=first_epoch, progress=False,
                 callbacks=[*acting, ProgressFile(work / "progress.json")])


def _store_training(stage: Stage, store: Store, outcome: TrainResult, data: ImageData, cost: Cost,
                    regime: str, device: str, masked: bool = False) -> None:
    history = outcome.history
    seconds = float(history["seconds"].sum()) if len(history) else 0.0
    result = {
        "stage": stage.kind, "address": stage.address, "regime": regime,
        "seed": stage.spec["seed"], "test_accuracy": outcome.test_accuracy,
        "epochs": len(history), "params": cost.nonzero_params if masked else cost.params,
        "nonzero_params": cost.nonzero_params,
        "macs": cost.macs, "flops": cost.flops, "data": data.name, "classes": data.num_classes,
        "train_images": len(data.train), "test_images": len(data.test),
        "seconds": round(seconds, 3), "precision": stage.spec["precision"],
        "threads": torch.get_num_threads(),
        **provenance(device)}

    def fill(folder: Path) -> None:
        save_weights(outcome.model, folder / "weights.safetensors")
        history.to_csv(folder / "history.csv", index=False)

    store.write(stage, result, fill)


def provenance(device: str) -> dict[str, str]:
    """Where and with what a result was made."""
    chosen = pick_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else platform.machine()
    return {"device": f"{chosen.type} ({name})", "rethinklab": rethinklab.__version__,
            "torch": torch.__version__, "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime())}


class ProgressFile(Callback):
    """Writes how far a run is into a small file, for displays in other processes."""

    def __init__(self, path: Path) -> None:
        self.path, self.step, self.written = path, 0, 0.0

    def on_start(self, state: TrainState) -> None:
        self.step = state.epoch * state.steps_per_epoch
        self._write(state)

    def after_step(self, state: TrainState) -> None:
        self.step += 1
        if time.monotonic() - self.written > PROGRESS_SECONDS:
            self._write(state)

    def after_epoch(self, state: TrainState) -> None:
        self._write(state)

    def _write(self, state: TrainState) -> None:
        last = state.history[-1]["test_accuracy"] if state.history else None
        content = {"epoch": self.step / state.steps_per_epoch, "epochs": state.recipe.epochs,
                   "test_accuracy": last}
        with suppress(OSError):  # a display is not worth a run
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(content))
        self.written = time.monotonic()


def build_stage_model(spec: dict[str, Any]) -> nn.Module:
    """The untrained large network of a "large" stage."""
    return build_model(spec["model"], num_classes=spec["classes"], seed=spec["seed"],
                       **spec["options"])


def load_network(stage: Stage, store: Store) -> nn.Module:
    """The trained large network of a stored "large" stage."""
    model = build_stage_model(stage.spec)
    load_weights(model, store.folder(stage) / "weights.safetensors")
    return model


def load_plan(stage: Stage, store: Store) -> Plan:
    """The plan of a stored "plan" stage."""
    return _read_or_explain(Plan.load, store.folder(stage) / "plan.json")


def save_weights(model: nn.Module, path: Path) -> None:
    """The model's state as safetensors: data only, nothing that could run on loading."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous().clone()
             for name, value in model.state_dict().items()}
    try:
        save_file(state, path)
    except SafetensorError as error:  # also of a full disk
        raise OSError(str(error)) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises StoreError where the file is missing, cut short, or of another network."""
    from safetensors.torch import load_file

    _read_or_explain(lambda p: model.load_state_dict(load_file(p)), path)


def _read_or_explain(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except Exception as error:  # safetensors, torch and json each raise their own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(f"{path} is missing or damaged ({reason}); delete the folder "
                         f"{path.parent} and run the study again to make it anew.") from error


def stage_data(stage: Stage) -> ImageData:
    """The images of a stage. Raises ConfigError where they are no longer those of its address."""
    spec = stage.spec
    while "data" not in spec:
        spec = spec["plan"] if "plan" in spec else spec["large"]
    source = json.dumps(stage.source, sort_keys=True)
    data = _cached_data(source)
    if data.fingerprint != spec["data"]:
        _cached_data.cache_clear()  # a folder that changed since an earlier study
        data = _cached_data(source)
    if data.fingerprint != spec["data"]:
        raise ConfigError(f"the images of {data.name} changed while the study was running; "
                          "start it again.")
    return data


@lru_cache(maxsize=2)
def _cached_data(source: str) -> ImageData:
    return load_data(**json.loads(source))
