"""The weights of a network on their way through training, as a histogram an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from rethinklab.analysis.weights import (
    ALL,
    bin_edges,
    conv_weights,
    histogram,
    pooled,
    reach,
)
from rethinklab.errors import ConfigError
from rethinklab.trainers.callbacks import Callback, TrainState

BINS = 60


class HistogramRecorder(Callback):
    """Keeps a copy of the convolution weights before training and after each epoch.

    snapshots: weights by layer, by the number of epochs done. It takes the memory of the
    network's convolutions for each epoch; a run that resumes has only what comes after.
    """

    def __init__(self) -> None:
        self.snapshots: dict[int, dict[str, Tensor]] = {}

    def on_start(self, state: TrainState) -> None:
        self._keep(state, state.epoch)

    def after_epoch(self, state: TrainState) -> None:
        self._keep(state, state.epoch + 1)

    def table(self, bins: int = BINS) -> pd.DataFrame:
        """The histograms of what was kept, as `epoch_histograms` makes them."""
        return epoch_histograms(self.snapshots, bins)

    def _keep(self, state: TrainState, epoch: int) -> None:
        self.snapshots[epoch] = {name: weight.clone() for name, weight
                                 in conv_weights(state.model.state_dict()).items()}


def epoch_histograms(snapshots: Mapping[int, Mapping[str, Tensor]],
                     bins: int = BINS) -> pd.DataFrame:
    """Histograms of the weights of each layer, and of all together, by epoch: epoch, layer ("all"
    is the whole network), place (of the layer from 1; 0 for "all"), lower, upper, share.

    snapshots: weights by layer, by epoch. A layer has one set of bins for all epochs, which
    reaches 99 % of the weights of each, as `analysis.weights.histogram` has them. Raises
    ConfigError where there are no weights.
    """
    layers = list(next(iter(snapshots.values()), {}))
    if not layers:
        raise ConfigError("there are no weights of convolutions to make histograms of; pass the "
                          "recorder to rl.train(..., callbacks=[recorder]) first.")
    parts = []
    for place, layer in enumerate([ALL, *layers]):
        values = {epoch: pooled(weights.values() if layer == ALL else [weights[layer]])
                  for epoch, weights in sorted(snapshots.items())}
        finite = [reach(value) for value in values.values() if torch.isfinite(value).all()]
        edges = bin_edges(max(finite, default=1.0), bins)
        parts += [histogram(value, edges).assign(epoch=epoch, layer=layer, place=place)
                  for epoch, value in values.items()]
    columns = ["epoch", "layer", "place", "lower", "upper", "share"]
    return pd.concat(parts, ignore_index=True)[columns]
