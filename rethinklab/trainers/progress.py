"""A progress bar for a training run."""

from __future__ import annotations

from typing import Any

from rethinklab.bars import make_bar
from rethinklab.trainers.callbacks import Callback, TrainState


class ProgressBar(Callback):
    """One bar for a run: steps done, speed, time left, and the last epoch's accuracies."""

    def __init__(self, title: str = "training") -> None:
        self.title = title
        self.bar: Any = None

    def on_start(self, state: TrainState) -> None:
        self.bar = make_bar(True, total=state.steps, desc=self.title, initial=state.steps_done,
                            unit="step")

    def after_step(self, state: TrainState) -> None:
        self.bar.update()

    def after_epoch(self, state: TrainState) -> None:
        row = state.history[-1]
        self.bar.set_postfix_str(
            f"epoch {state.epoch + 1}/{state.recipe.epochs}, train {row['train_accuracy']:.1%}, "
            f"test {row['test_accuracy']:.1%}")

    def on_end(self, state: TrainState) -> None:
        self.bar.close()
