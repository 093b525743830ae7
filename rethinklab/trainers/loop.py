"""The training loop: bare, deterministic on the CPU, resumable, with callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import ImageData
from rethinklab.data.batches import TrainingBatches
from rethinklab.errors import ConfigError, DivergenceError
from rethinklab.seeds import check_seed, global_stream
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.trainers.checkpoint import Checkpoint, run_key
from rethinklab.trainers.evaluate import evaluate
from rethinklab.trainers.progress import ProgressBar
from rethinklab.trainers.recipe import Recipe

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


def train(model: nn.Module, data: ImageData, recipe: Recipe | None = None, *, seed: int = 0,
          device: str = "auto", precision: str = "fp32", callbacks: Sequence[Callback] = (),
          checkpoint: str | Path | None = None, progress: bool = True) -> TrainResult:
    """Train a copy of `model` from the weights it has; the model given stays as it is.

    seed: of data order, augmentation and dropout. device: "auto" takes a GPU where there is one.
    precision: "bf16" computes in bfloat16 and keeps the weights in float32. checkpoint: a file
    from which a run that was stopped goes on, to the bit on a CPU; removed at the end. progress:
    show a bar. Raises DivergenceError when the loss of an epoch is not finite.
    """
    recipe = recipe or Recipe()
    check_seed(seed)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} must be one of {', '.join(PRECISIONS)}.")
    target = pick_device(device)
    check_fit(model, data)
    model = deepcopy(model).to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = data.to(target)
    batches = TrainingBatches(data, recipe.batch_size, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum,
                                weight_decay=recipe.weight_decay, nesterov=recipe.nesterov,
                                fused=target.type in ("cpu", "cuda"))
    state = TrainState(model, optimizer, recipe, len(batches))
    watchers = list(callbacks)
    if checkpoint is not None:
        keeper = Checkpoint(Path(checkpoint), run_key(model, asdict(recipe), seed, precision,
                                                      data.fingerprint))
        keeper.restore(state)
        watchers.append(keeper)
    if progress:
        watchers.append(ProgressBar())
    _run(state, data, batches, seed, precision, watchers)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    history = history_frame(state.history)
    return TrainResult(model, history, float(history["test_accuracy"].iloc[-1]))


def _run(state: TrainState, data: ImageData, batches: TrainingBatches, seed: int, precision: str,
         watchers: Sequence[Callback]) -> None:
    for watcher in watchers:
        watcher.on_start(state)
    try:
        for epoch in range(state.epoch, state.recipe.epochs):
            state.epoch = epoch
            start = time.perf_counter()
            lr = state.recipe.lr_at(epoch)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            with global_stream(seed, "dropout", epoch):
                loss, accuracy = _epoch(state, batches, precision, watchers)
            test_accuracy, test_loss = evaluate(state.model, data)
            if not (math.isfinite(loss) and math.isfinite(test_loss)):
                raise DivergenceError(
                    f"training diverged in epoch {epoch + 1} of {state.recipe.epochs}: the loss is "
                    f"{loss} in training and {test_loss} on the test images, at learning rate "
                    f"{lr:g}. A lower lr usually mends this.")
            state.history.append({
                "epoch": epoch + 1, "lr": lr, "train_loss": loss, "train_accuracy": accuracy,
                "test_loss": test_loss, "test_accuracy": test_accuracy,
                "seconds": time.perf_counter() - start})
            for watcher in watchers:
                watcher.after_epoch(state)
    finally:
        for watcher in watchers:
            watcher.on_end(state)


def _epoch(state: TrainState, batches: TrainingBatches, precision: str,
           watchers: Sequence[Callback]) -> tuple[float, float]:
    """One pass; (mean loss, fraction right) over its images, as they were met."""
    model, optimizer = state.model, state.optimizer
    model.train()
    device = batches.pixels.device
    losses = torch.zeros((), device=device, dtype=torch.float64)
    right = torch.zeros((), device=device, dtype=torch.int64)
    for images, labels in batches.epoch(state.epoch):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs: Tensor = model(images)
        loss = cross_entropy(outputs.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        for watcher in watchers:
            watcher.after_backward(state)
        optimizer.step()
        for watcher in watchers:
            watcher.after_step(state)
        losses += loss.detach() * len(labels)
        right += (outputs.detach().argmax(1) == labels).sum()
    count = len(batches.data.train)
    return float(losses) / count, int(right) / count


def history_frame(rows: list[dict[str, float]]) -> pd.DataFrame:
    """The rows of a run's history as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(rows)


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the first GPU, or else the CPU.

    Raises ConfigError for a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}). "
                          "Try auto, cpu or cuda.") from error
    return device


def check_fit(model: nn.Module, data: ImageData) -> None:
    """Raises ConfigError unless the model takes the task's images and has its classes."""
    from rethinklab.analysis.cost import output_shape

    try:
        shape = output_shape(model, data.input_shape)
    except Exception as error:  # whatever the user's forward pass raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"the model does not take images of shape {data.input_shape} "
                          f"({reason}).") from error
    if shape != (1, data.num_classes):
        raise ConfigError(f"the model's output for one image has shape {shape}; {data.name} needs "
                          f"(1, {data.num_classes}). Build it with num_classes={data.num_classes}.")
