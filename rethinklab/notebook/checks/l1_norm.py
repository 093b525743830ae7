"""Checks of notebook 02."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import nn

from rethinklab.notebook.checks.common import (
    answered,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.pruners import ChannelPruner, L1Norm


def most_sensitive(answer: Any, scan: pd.DataFrame, ratio: float) -> str:
    """The layer whose cut at `ratio` costs most accuracy, by a sensitivity scan.

    Raises Wrong for the layer that costs least, one read at another ratio, or a name
    that is not in the scan.
    """
    answered(answer)
    rows = scan[scan["ratio"] == ratio].set_index("layer")["accuracy"]
    demand(isinstance(answer, str) and answer in rows.index,
            f"The answer must be the name of a layer in the scan, such as {rows.index[0]!r}, "
            f"not {answer!r}.")
    lowest = set(rows.index[rows == rows.min()])
    if answer not in lowest:
        highest = rows.index[rows == rows.max()]
        refuse(answer in highest,
                f"{answer} keeps the highest accuracy at this ratio, so it is the least "
                "sensitive; look for the lowest.")
        overall = scan.groupby("layer")["accuracy"].min()
        refuse(overall[answer] == overall.min(),
                f"{answer} falls lowest at some other ratio; read only the rows where the ratio "
                f"is {ratio:g}.")
        refuse(True, f"{answer} keeps {rows[answer]:.1%} at this ratio, and another layer falls "
                      "lower.")
    return (f"with {ratio:.0%} of its filters silent, {answer} leaves {rows.min():.1%}, the "
            "lowest of all layers.")


def parameters_removed(answer: Any, filters: int = 32, inputs: int = 3, readers: int = 64,
                       kernel: int = 3) -> str:
    """The parameters that leave with `filters` filters of one convolution.

    inputs: its input channels. readers: filters of the next convolution. kernel: side of both.
    Neither has a bias, and the first is followed by batch normalisation.
    Raises Wrong that names the part that was left out.
    """
    answered(answer)
    value = number(answer)
    own = filters * inputs * kernel**2
    norm = 2 * filters
    read = readers * filters * kernel**2
    refuse(value == own, "This counts the filters alone. Each also has a scale and a shift in "
                          "the batch normalisation, and is an input of the next convolution.")
    refuse(value == own + norm, "The next convolution is missing: each of its filters loses the "
                                 "kernels that read the removed channels.")
    refuse(value == own + read, "The batch normalisation is missing: a scale and a shift for "
                                 "each channel.")
    refuse(value == own + norm // 2 + read, "Batch normalisation learns two values for each "
                                             "channel, a scale and a shift.")
    refuse(filters != readers and value == own + norm + filters**2 * kernel**2,
            f"The next convolution has {readers} filters, each of which loses a kernel for every "
            "channel removed; this counts as many filters there as channels removed.")
    demand(value == own + norm + read,
            "Count three parts: the filters themselves, two values for each in the batch "
            "normalisation, and the kernels of the next convolution that read them.")
    return (f"{own:,} in the filters, {norm:,} in the batch normalisation and {read:,} in the "
            f"next convolution make {value:,}.")


def largest_go(method: Any) -> str:
    """A pruner whose scores rank filters in the reverse order of L1-norm.

    Raises Wrong for scores of the wrong shape, the L1-norm itself, or another order.
    """
    answered(method)
    demand(isinstance(method, type) and issubclass(method, ChannelPruner),
            f"The answer must be the class, a kind of ChannelPruner, not {kind(method)}.")
    answered(method.score)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 8, 3)
    with torch.no_grad():
        scores = method(0.5).score(layer)
        norms = L1Norm(0.5).score(layer)
        signed = layer.weight.flatten(1).sum(1)
    returned(scores)
    demand(isinstance(scores, torch.Tensor),
            f"score() must give a tensor, not {kind(scores)}.")
    demand(scores.shape == norms.shape,
            f"score() must give one number for each filter, shape {tuple(norms.shape)} for this "
            f"layer, not {tuple(scores.shape)}. Sum over inputs and kernel.")
    order, wanted = scores.argsort().tolist(), norms.argsort(descending=True).tolist()
    refuse(order == wanted[::-1], "This still ranks as L1-norm does: the smallest filters have "
                                   "the lowest scores and go first.")
    refuse(order in (signed.argsort().tolist(), signed.argsort(descending=True).tolist()),
            "The absolute value is missing: weights of opposite sign cancel in this sum.")
    demand(order == wanted, "The order is not the reverse of L1-norm: the largest absolute sum "
                             "must have the lowest score.")
    return ("the filters of largest L1-norm go first. Fit it to see what the order is worth.")
