"""The training loop: bare, deterministic on the CPU, resumable, with callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from rethinklab.analysis.cost import profile
from rethinklab.analysis.ledger import open_ledger
from rethinklab.data import AnyData
from rethinklab.data.batches import Batches, training_batches
from rethinklab.devices import pick_device
from rethinklab.errors import ConfigError, DivergenceError, OutOfTime
from rethinklab.models.copying import duplicate
from rethinklab.seeds import check_seed, global_stream
from rethinklab.trainers import distributed
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.trainers.checkpoint import Checkpoint, run_key
from rethinklab.trainers.checkpoint import layout as layout_of
from rethinklab.trainers.evaluate import evaluate
from rethinklab.trainers.progress import ProgressBar
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.rehearsal import check_fit
from rethinklab.trainers.step import EagerStep, make_step
from rethinklab.values import whole

if TYPE_CHECKING:
    import pandas as pd

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainResult:
    """A trained network. history: one row per epoch with epoch (from 1), lr, train_loss,
    train_accuracy, test_loss, test_accuracy (fractions) and seconds. test_accuracy: after the
    last epoch, never the best one."""

    model: nn.Module
    history: pd.DataFrame
    test_accuracy: float


def train(model: nn.Module, data: AnyData, recipe: Recipe | None = None, *, seed: int = 0,
          device: str = "auto", precision: str = "fp32", callbacks: Sequence[Callback] = (),
          checkpoint: str | Path | None = None, progress: bool = True, first_epoch: int = 0,
          last_epoch: int | None = None, capture: bool = True,
          stop: Callable[[TrainState], bool] | None = None) -> TrainResult:
    """Train a copy of `model` from the weights it has; the model given stays as it is.

    seed: of data order, augmentation and dropout. device: "auto" takes a GPU where there is one.
    precision: "bf16" computes in bfloat16 and keeps the weights in float32. checkpoint: a file
    from which a run that was stopped goes on, to the bit on a CPU; removed at the end (it knows
    weights, recipe, seed and images, not callbacks: give runs with others another file). progress:
    show a bar. first_epoch, last_epoch: go through this part of the recipe's schedule only,
    epochs counted from 0 and the last one excluded, with a fresh optimiser: for rewinding weights
    or learning rates. capture: on a GPU, replay the steps from a CUDA graph, which changes a
    result by no more than rounding (the variable RETHINKLAB_CAPTURE=0 forbids it everywhere).
    stop: asked after every epoch but the last; where it says true, the checkpoint is written and
    OutOfTime is raised.
    Several processes that all call this train one network together; what differs then is said in
    `rethinklab.trainers.distributed`.
    Raises DivergenceError when the loss of an epoch is not finite, ConfigError for an option out
    of range, such as a window without an epoch.
    """
    recipe = recipe or Recipe()
    seed = check_seed(seed)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} must be one of {', '.join(PRECISIONS)}.")
    epochs = epoch_window(recipe, first_epoch, last_epoch)
    target = pick_device(device)
    data = data.to(target)
    layout = check_fit(duplicate(model).to(target), data, recipe.batch_size, precision)
    _expect_one_run(model, data, recipe, epochs, seed, precision)
    model = duplicate(model).to(target, memory_format=layout)  # type: ignore[call-overload]
    for callback in callbacks:
        callback.prepare(model)
    batches = training_batches(data, recipe.batch_size, seed, distributed.part())
    state = TrainState(model, _optimizer(model, recipe), recipe, len(batches), epochs,
                       epochs.start)
    watchers, keeper = list(callbacks), None
    if checkpoint is not None:
        keeper = Checkpoint(Path(checkpoint), run_key(
            model, recipe.identity(), seed, precision, data.fingerprint, epochs,
            *([distributed.batch_parts()] if distributed.batch_parts() > 1 else [])))
        keeper.restore(state)
        watchers.append(keeper)
    if progress and distributed.is_main():
        watchers.append(ProgressBar())
    step = make_step(state, precision, watchers, target, capture)
    try:
        _run(state, data, batches, seed, step, watchers, stop, layout)
    except OutOfTime:
        if keeper is not None:
            keeper.save(state)
            distributed.barrier()  # no process ends, and with it the others, before it is saved
        raise
    for callback in reversed(callbacks):
        callback.finish(model)
    if checkpoint is not None and distributed.is_main():
        Path(checkpoint).unlink(missing_ok=True)
    return _result(state, data)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum,
                           weight_decay=recipe.weight_decay, nesterov=recipe.nesterov,
                           fused=fused)


def _result(state: TrainState, data: AnyData) -> TrainResult:
    """What a finished run gives; an open ledger counts it."""
    history = history_frame(state.history)
    ledger = open_ledger()
    if ledger is not None:
        cost = profile(state.model, data.input_shape, count="nonzero", latency=False)
        ledger.train(len(data.train), len(history), cost.macs)
    return TrainResult(state.model, history, float(history["test_accuracy"].iloc[-1]))


def _expect_one_run(model: nn.Module, data: AnyData, recipe: Recipe, epochs: range, seed: int,
                    precision: str) -> None:
    """Raises ConfigError where the processes were not given the same; their weights may differ,
    and become those of process 0."""
    if distributed.world() > 1:
        distributed.expect_alike(seed=seed, precision=precision, epochs=epochs,
                                 recipe=recipe.identity(), images=data.fingerprint,
                                 network=f"{type(model).__name__} {layout_of(model)}")


def epoch_window(recipe: Recipe, first: int = 0, last: int | None = None) -> range:
    """The epochs from `first` to before `last`, by default the recipe's end.

    Raises ConfigError where there is none, or where they leave the recipe's schedule.
    """
    first = whole("first_epoch", first)
    end = recipe.epochs if last is None else whole("last_epoch", last)
    if not 0 <= first < end <= recipe.epochs:
        raise ConfigError(f"first_epoch {first} and last_epoch {end} leave no epoch to train; "
                          f"they must satisfy 0 <= first < last <= {recipe.epochs}.")
    return range(first, end)


def _run(state: TrainState, data: AnyData, batches: Batches, seed: int, step: EagerStep,
         watchers: Sequence[Callback], stop: Callable[[TrainState], bool] | None,
         layout: torch.memory_format) -> None:
    for watcher in watchers:
        watcher.on_start(state)
    try:
        for epoch in range(state.epoch, state.epochs.stop):
            state.epoch = epoch
            start = time.perf_counter()
            lr = state.recipe.lr_at(epoch)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            own = (distributed.rank(),) if distributed.world() > 1 else ()
            with global_stream(seed, "dropout", epoch, *own):
                loss, accuracy = _epoch(state, batches, step, watchers, layout)
            distributed.share_buffers(state.model)
            for watcher in watchers:
                watcher.before_test(state)
            test_accuracy, test_loss = evaluate(state.model, data)
            if not (math.isfinite(loss) and math.isfinite(test_loss)):
                raise DivergenceError(
                    f"training diverged in epoch {epoch + 1} of {state.recipe.epochs}: the loss is "
                    f"{loss} in training and {test_loss} on the test images, at learning rate "
                    f"{lr:g}. A lower lr usually mends this.")
            state.history.append(distributed.broadcast_object({
                "epoch": epoch + 1, "lr": lr, "train_loss": loss, "train_accuracy": accuracy,
                "test_loss": test_loss, "test_accuracy": test_accuracy,
                "seconds": time.perf_counter() - start}))
            for watcher in watchers:
                watcher.after_epoch(state)
            if stop is not None and epoch + 1 < state.epochs.stop and distributed.broadcast_object(
                    distributed.is_main() and stop(state)):
                raise OutOfTime(f"training was stopped after epoch {epoch + 1} of "
                                f"{state.recipe.epochs}; it goes on from there.")
    finally:
        for watcher in watchers:
            watcher.on_end(state)
        step.close()


def _epoch(state: TrainState, batches: Batches, step: EagerStep,
           watchers: Sequence[Callback], layout: torch.memory_format) -> tuple[float, float]:
    """One pass; (mean loss, fraction right) over its images, as they were met."""
    state.model.train()
    step.start_epoch()
    for images, labels in batches.epoch(state.epoch):
        step(images.contiguous(memory_format=layout), labels)
        for watcher in watchers:
            watcher.after_step(state)
    loss, right = step.totals()
    count = len(batches.data.train)
    return loss / count, right / count


def history_frame(rows: list[dict[str, float]]) -> pd.DataFrame:
    """The rows of a run's history as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(rows)
