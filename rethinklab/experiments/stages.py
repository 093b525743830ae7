"""Carrying out the stages of a trial: train the large network, prune it, train what is left."""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import rethinklab
from rethinklab.analysis.cost import Cost, profile
from rethinklab.analysis.ledger import Ledger, keeping
from rethinklab.commit import code_commit
from rethinklab.data import ImageData, load_data
from rethinklab.devices import pick_device
from rethinklab.errors import ConfigError, RethinkError, StageHeld, StoreError, first_line
from rethinklab.experiments.sharing import scratch_stage, shared_result
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import SCHEMA, Stage, Trial
from rethinklab.experiments.watchers import ProgressFile, TimeUp
from rethinklab.files import save_tensors
from rethinklab.models import build_model
from rethinklab.pruners import Origin, Plan, find_method, make_pruner
from rethinklab.pruners.lottery import rewound
from rethinklab.trainers import distributed
from rethinklab.trainers.callbacks import Callback
from rethinklab.trainers.evaluate import correctness, evaluate
from rethinklab.trainers.events import EventFile
from rethinklab.trainers.loop import TrainResult, history_frame, train
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime


@dataclass(frozen=True)
class Setting:
    """How a stage is run, which does not change its outcome but for rounding.

    device: "auto", "cpu", "cuda", ... seconds: after which training stops at the end of an epoch,
    from when the stage starts; None is never. events: a folder for TensorBoard's event files.
    engine, workers, mps: what runs it, how many at once, and whether they share a GPU by NVIDIA
    MPS, which the result tells. wait: whether to wait for a stage that another
    process holds, rather than raise StageHeld.
    """

    device: str = "auto"
    seconds: float | None = None
    events: str | None = None
    engine: str = "local"
    workers: int = 1
    mps: bool = False
    wait: bool = True


def run_one(trial: Trial, store: Store, device: str = "auto") -> dict[str, Any]:
    """Do what is missing of a trial and give its result. Safe to repeat and to run twice at once:
    stages that are stored are not done again."""
    for stage in trial.stages:
        run_stage(stage, store, Setting(device))
    return store.result(trial.stages[-1])


def run_stage(stage: Stage, store: Store, setting: Setting | None = None) -> None:
    """Do one stage unless it is stored; what it needs must be.

    Raises OutOfTime where the setting's seconds ran out, with a checkpoint to go on from,
    StageHeld where another process works on it and the setting is not to wait, and ConfigError
    where it is for another number of processes that train together.
    """
    setting = setting or Setting()
    if distributed.broadcast_object(store.has(stage)):
        return
    distributed.check_parts(stage.spec.get("batch_parts", 1))
    work = {"large": _train_large, "plan": _make_plan, "regime": _train_regime}[stage.kind]
    with _claimed(stage, store, setting) as to_do:
        if not to_do:
            return
        try:
            work(stage, store, setting)
        except RethinkError:
            raise
        except Exception as error:  # of the user's network, of a GPU out of memory
            note = store.work(stage) / "error.txt"
            with suppress(OSError):
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(traceback.format_exc())
            reason = first_line(error, "no message")
            raise RethinkError(f"{type(error).__name__}: {reason} (traceback: {note})") from error
    distributed.barrier()


@contextmanager
def _claimed(stage: Stage, store: Store, setting: Setting) -> Iterator[bool]:
    """Hold a stage, in all processes that train together; yields whether it is still to do."""
    main = distributed.is_main()
    with store.claim(stage, setting.wait) if main else nullcontext(None) as claimed:
        to_do = distributed.broadcast_object(claimed)
        if to_do is None:
            raise StageHeld(stage.address)
        yield to_do


def _train_large(stage: Stage, store: Store, setting: Setting) -> None:
    data = stage_data(stage)
    if stage.spec.get("until") == 0:  # what methods look at that prune before training
        outcome = _as_it_is(build_stage_model(stage.spec), data, setting)
        cost = profile(outcome.model, data.input_shape, latency=False)
        _store_training(stage, store, outcome, data, cost, setting, trained_for=UNPRUNED)
        return
    during = stage.spec.get("during")
    acting = method_callbacks(during, data) if during else []
    outcome = _train(stage, store, _beginning(stage, store), data,
                     Recipe(**stage.spec["recipe"]), setting, acting,
                     last_epoch=stage.spec.get("until"))
    cost = profile(outcome.model, data.input_shape, latency=False)
    name = f"{during['method']} training" if during else UNPRUNED
    _store_training(stage, store, outcome, data, cost, setting, regime=name, trained_for=name)


def method_callbacks(during: dict[str, Any], data: ImageData) -> list[Callback]:
    """What a method has act while the large network trains, from its `training_spec`."""
    target = during.get("target", find_method(during["method"]).usual)
    return make_pruner(during["method"], target, **during["options"]).during(data)


def _make_plan(stage: Stage, store: Store, setting: Setting) -> None:
    (trained,) = stage.needs
    large = load_network(trained, store)
    seeded = {"seed": stage.spec["seed"]} if "seed" in {
        f.name for f in fields(find_method(stage.spec["method"]))} else {}
    pruner = make_pruner(stage.spec["method"], stage.spec["target"],
                         **{**seeded, **stage.spec["options"]})
    training = trained.spec
    origin = Origin(Recipe(**training["recipe"]), training["seed"], build_stage_model(training),
                    setting.device, training["precision"])
    start = time.perf_counter()
    with keeping(Ledger()) as ledger:
        plan = pruner.fit(large.to(pick_device(setting.device)), stage_data(stage), origin)
    ledger.seconds = time.perf_counter() - start
    result = {"stage": "plan", "address": stage.address, "seed": stage.spec["seed"],
              "needs": [need.address for need in stage.needs], "ledger": ledger.to_dict()}
    if distributed.is_main():  # methods may train, so all processes make the plan
        store.write(stage, result, lambda folder: plan.save(folder / "plan.json"))


def _train_regime(stage: Stage, store: Store, setting: Setting) -> None:
    data = stage_data(stage)
    recipe = Recipe(**stage.spec["recipe"])
    plan, first_epoch, ratio = None, 0, 1.0
    if not find_regime(stage.spec["regime"]).prunes:
        start = _unpruned_start(stage, store)
    elif "pruned_model" in stage.spec:
        start, ratio = published_start(stage.spec, data)
    else:
        plan = load_plan(stage.needs[0], store)
        ratio = plan.flops_ratio
        start, first_epoch = _start(stage, store, plan, data, recipe, setting)
    regime = find_regime(stage.spec["regime"])
    budget = regime.budget(recipe, ratio)
    if budget is not None:
        budget = replace(budget, lr=stage.spec.get("lr", budget.lr))
    masked = bool(plan and plan.masks)

    def train_into(place: Stage, **more: Any) -> None:
        if budget is None:
            outcome = _as_it_is(start, data, setting)
        else:
            outcome = _train(stage, store, start, data, budget, setting,
                             plan.callbacks() if plan else [], first_epoch)
        cost = profile(outcome.model, data.input_shape, count="nonzero" if masked else "dense",
                       latency=False)
        made = (stage.spec["plan"]["method"] if plan else
                stage.spec.get("pruned_model", UNPRUNED))
        _store_training(place, store, outcome, data, cost, setting, masked, trained_for=made,
                        **more)

    if plan is None or budget is None or regime.start != "new":
        train_into(stage, regime=stage.spec["regime"])
        return
    training = scratch_stage(stage, start, plan.masks, budget)
    with _claimed(training, store, setting) as to_do:
        if to_do:
            train_into(training)
    if distributed.is_main():
        store.write(stage, shared_result(stage, training, store.result(training)))


def _as_it_is(network: nn.Module, data: ImageData, setting: Setting) -> TrainResult:
    """Of a network that is not trained."""
    network = network.to(pick_device(setting.device))
    return TrainResult(network, history_frame([]), evaluate(network, data)[0])


def _start(stage: Stage, store: Store, plan: Plan, data: ImageData, recipe: Recipe,
           setting: Setting) -> tuple[nn.Module, int]:
    """The pruned network as the regime finds it, and the epoch of its schedule to begin with."""
    regime, large = find_regime(stage.spec["regime"]), stage.needs[0].needs[0]
    first_epoch = regime.first_epoch(recipe)
    if regime.start == "inherited":
        return plan.apply(load_network(large, store)), first_epoch
    if regime.start == "new":  # from the untrained network: there is nothing to be inherited
        return plan.scratch(build_stage_model(large.spec), stage.spec["seed"]), first_epoch
    if regime.start == "rewound":
        early = stage.needs[1:]
        network = load_network(early[0], store) if early else _beginning(large, store)
        return plan.ticket(network), first_epoch
    origin = Origin(recipe, stage.spec["seed"], None, setting.device, stage.spec["precision"])
    initial = rewound(_beginning(large, store), data, origin, plan.rewind)
    return plan.ticket(initial), plan.rewind


def starting_network(stage: Stage, store: Store, data: ImageData,
                     setting: Setting | None = None) -> nn.Module:
    """The network that a "regime" stage trains, before its training; what it needs must be
    stored."""
    if not find_regime(stage.spec["regime"]).prunes:
        return _unpruned_start(stage, store)
    if "pruned_model" in stage.spec:
        return published_start(stage.spec, data)[0]
    plan = load_plan(stage.needs[0], store)
    return _start(stage, store, plan, data, Recipe(**stage.spec["recipe"]),
                  setting or Setting())[0]


def _beginning(large: Stage, store: Store) -> nn.Module:
    """The large network as it was when the training began that the plan rests on."""
    model = build_stage_model(large.spec)
    if "start" in large.spec:  # the network that was trained without the method
        load_weights(model, store.folder(large.needs[0]) / "weights.safetensors")
    return model


def _unpruned_start(stage: Stage, store: Store) -> nn.Module:
    """The large network as a regime finds it that trains it on, or anew for longer."""
    return (load_network(stage.needs[0], store) if stage.needs else
            build_stage_model(stage.spec["large"]))


def published_start(spec: Mapping[str, Any], data: ImageData) -> tuple[nn.Module, float]:
    """A published pruned network with new weights, and the ratio of FLOPs, large over pruned."""
    large = build_stage_model(spec["large"])
    options = {name: value for name, value in spec["large"]["options"].items() if name == "width"}
    small = build_stage_model({**spec["large"], "model": spec["pruned_model"], "options": options})
    costs = [profile(model, data.input_shape, latency=False) for model in (large, small)]
    return small, costs[0].flops / costs[1].flops


def _train(stage: Stage, store: Store, model: nn.Module, data: ImageData, recipe: Recipe,
           setting: Setting, acting: Sequence[Callback] = (), first_epoch: int = 0,
           last_epoch: int | None = None) -> TrainResult:
    work = store.work(stage)
    watchers = list(acting)
    if distributed.is_main():
        watchers.append(ProgressFile(work / "progress.json", setting.device))
    if setting.events is not None and distributed.is_main():
        watchers.append(EventFile(Path(setting.events) / f"{stage.label} {stage.address}"))
    return train(model, data, recipe, seed=stage.spec["seed"], device=setting.device,
                 precision=stage.spec["precision"], checkpoint=work / "checkpoint.pt",
                 first_epoch=first_epoch, last_epoch=last_epoch, progress=False,
                 callbacks=watchers,
                 stop=None if setting.seconds is None else TimeUp(setting.seconds))


def _store_training(stage: Stage, store: Store, outcome: TrainResult, data: ImageData, cost: Cost,
                    setting: Setting, masked: bool = False, **told: str) -> None:
    """told: what the result says besides: for which regime, and for which method it was trained
    first."""
    history = outcome.history
    seconds = float(history["seconds"].sum()) if len(history) else 0.0
    ledger = Ledger(seconds=seconds)
    ledger.train(len(data.train), len(history), cost.macs)
    result = {
        "stage": stage.kind, "address": stage.address,
        **{name: told[name] for name in ("regime",) if name in told},
        "seed": stage.spec["seed"], "test_accuracy": outcome.test_accuracy,
        "epochs": len(history), "params": cost.nonzero_params if masked else cost.params,
        "nonzero_params": cost.nonzero_params,
        "macs": cost.macs, "flops": cost.flops, "data": data.name, "classes": data.num_classes,
        "train_images": len(data.train), "test_images": len(data.test),
        "seconds": round(seconds, 3), "precision": stage.spec["precision"],
        "threads": torch.get_num_threads(),
        "needs": [need.address for need in stage.needs], "ledger": ledger.to_dict(),
        "engine": setting.engine, "workers": setting.workers, "mps": setting.mps,
        "commit": code_commit() or "", **provenance(setting.device),
        "trained_at": stage.address, **told, "schema": SCHEMA}
    right = correctness(outcome.model, data)

    def fill(folder: Path) -> None:
        save_weights(outcome.model, folder / "weights.safetensors")
        save_tensors({"correct": right}, folder / "correct.safetensors")
        history.to_csv(folder / "history.csv", index=False)

    if distributed.is_main():
        store.write(stage, result, fill)


def provenance(device: str) -> dict[str, str]:
    """Where and with what a result was made."""
    chosen = pick_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else platform.machine()
    return {"device": f"{chosen.type} ({name})", "rethinklab": rethinklab.__version__,
            "torch": torch.__version__, "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime())}


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
    save_tensors(model.state_dict(), path)


def load_correctness(folder: Path) -> Tensor | None:
    """Which test images a stored network gets right, bool (N,); None for a result from before
    that was stored. Raises StoreError for a damaged file."""
    from safetensors.torch import load_file

    path = folder / "correct.safetensors"
    return _read_or_explain(lambda p: load_file(p)["correct"], path) if path.is_file() else None


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises StoreError where the file is missing, cut short, or of another network."""
    from safetensors.torch import load_file

    _read_or_explain(lambda p: model.load_state_dict(load_file(p)), path)


def _read_or_explain(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except Exception as error:  # safetensors, torch and json each raise their own kinds
        raise StoreError(f"{path} is missing or damaged ({first_line(error)}); `rethinklab store "
                         "repair` moves it aside, and the study run again makes it anew."
                         ) from error


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


def source_data(source: Mapping[str, Any]) -> ImageData:
    """The images that a study's source names, loaded once for several uses."""
    return _cached_data(json.dumps(source, sort_keys=True))


@lru_cache(maxsize=2)
def _cached_data(source: str) -> ImageData:
    return load_data(**json.loads(source), progress=False)
