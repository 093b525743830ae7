"""Checks of notebook 07."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.results import Results
from rethinklab.trainers.regimes import UNPRUNED, prunes, regime_title


def closest(answer: Any, results: Results) -> str:
    """The regime whose mean accuracy is closest to that of the unpruned network.

    Raises Wrong for the unpruned network itself, the best of the others, or another regime.
    """
    answered(answer)
    means = results.summary()["mean"]
    others = means[[prunes(regime) for regime in means.index]]
    distances = (others - means[UNPRUNED]).abs()
    refuse(isinstance(answer, str) and answer == UNPRUNED,
           "The unpruned network is what the others are compared with; leave it out.")
    demand(isinstance(answer, str) and answer in distances.index,
           f"The answer must be one of {', '.join(map(repr, distances.index))}, not {answer!r}.")
    if not close(distances[answer], distances.min()):
        refuse(answer == others.idxmax(), f"{regime_title(answer)} has the highest mean, which is "
                                          "not the same: another one differs by less.")
        refuse(answer == others.idxmin(), f"{regime_title(answer)} has the lowest mean; look at "
                                          "distances from the unpruned network.")
        refuse(True, f"{regime_title(answer)} is {distances[answer]:.2f} points away, and another "
                     "regime is closer.")
    return (f"{regime_title(answer)} ends {means[answer] - means[UNPRUNED]:+.2f} points from the "
            "unpruned network, the closest of all.")


def weights_left(answer: Any, filters: int = 64, channels: int = 32, kernel: int = 3,
                 ratio: float = 0.5) -> str:
    """The weights that a convolution keeps where `ratio` of its filters and of the channels that
    it reads go.

    Raises Wrong for one side only, for what is removed, or for a kernel left out.
    """
    answered(answer)
    value = number(answer)
    stay, read = (n - int(round(n * ratio, 9)) for n in (filters, channels))
    whole, right = filters * channels * kernel**2, stay * read * kernel**2
    refuse(value == stay * channels * kernel**2,
           "This is what a mask over the filters leaves. Of the channels that they read, half are "
           "gone as well.")
    refuse(value == whole - right, "These are the weights that leave; the question asks for those "
                                   "that stay.")
    refuse(value == whole, "This is the whole layer, before pruning.")
    refuse(value == stay * read, f"Each filter has {kernel}x{kernel} weights for each channel.")
    demand(value == right, "Multiply the filters that stay, the channels that are still there to "
                           "be read, and the size of the kernel.")
    return f"{stay} filters that read {read} channels have {right:,} of {whole:,} weights left."


def can_recover(answer: Any) -> str:
    """A function from a batch normalisation to which zeroed filters before it get a gradient.

    It is compared with the gradients themselves. Raises Wrong for the scale in place of the
    shift, zero taken for positive, the opposite, or no boolean for each channel.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    norm = nn.BatchNorm2d(6)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -1.0, 0.5, -0.5, 1.0, 1.0]))
        norm.bias.copy_(torch.tensor([-0.3, 0.4, 0.0, 0.2, 0.1, -0.6]))
    truth = gradients_reach(norm)
    found = answer(norm)
    returned(found)
    demand(isinstance(found, torch.Tensor) and found.shape == truth.shape
           and found.dtype == torch.bool,
           "The function must give a boolean tensor with one value for each channel, such as a "
           "comparison of norm.bias gives.")
    refuse(torch.equal(found, norm.weight > 0),
           "This asks about the scale. A zero filter leaves nothing to scale: what the ReLU sees "
           "is the shift alone.")
    refuse(torch.equal(found, norm.bias >= 0),
           "At a shift of exactly zero the ReLU passes no gradient either, and that is where all "
           "shifts begin.")
    refuse(torch.equal(found, ~truth), "It is the other way round: these are the filters that "
                                       "cannot recover.")
    demand(torch.equal(found, truth),
           "Put the question to autograd: with a zero filter, a shift of "
           f"{[round(b, 1) for b in norm.bias.tolist()]} lets gradients through in "
           f"{truth.tolist()}.")
    return "exactly the channels with a positive shift pass a gradient to a zero filter."


def gradients_reach(norm: nn.BatchNorm2d) -> torch.Tensor:
    """Which filters of a convolution without bias get a gradient while all are zero, where `norm`
    and a ReLU follow: boolean (channels,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(3, norm.num_features, 3, bias=False)
        nn.init.zeros_(layer.weight)
        output = torch.relu(norm.train()(layer(torch.randn(8, 3, 6, 6))))
        (output * torch.randn_like(output)).sum().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad.flatten(1).norm(dim=1) > 0


def rising(answer: Callable[[int, int, float], Any]) -> str:
    """A function (epoch, epochs, final) to a ratio that rises in equal steps to `final`.

    Raises Wrong where it starts at zero, stays constant, overshoots, or rises by other steps.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for epochs, final in ((4, 0.5), (10, 0.3)):
        found = [answer(epoch, epochs, final) for epoch in range(epochs)]
        returned(found[0])
        values = [float(number(value)) for value in found]
        wanted = [final * (epoch + 1) / epochs for epoch in range(epochs)]
        refuse(_alike(values, [final * epoch / epochs for epoch in range(epochs)]),
               f"This ends at {values[-1]:.3g} where {final:g} is asked for: epochs are counted "
               "from 0, so after the first one step is done.")
        refuse(_alike(values, [final] * epochs), "This is the same ratio after every epoch; it "
                                                 "must rise to the final one.")
        refuse(_alike(values, [(epoch + 1) / epochs for epoch in range(epochs)]),
               f"This rises to 1, so that no filter is left; the last ratio must be {final:g}.")
        refuse(values != sorted(values), "The ratio falls from one epoch to another; it must "
                                         "rise.")
        demand(_alike(values, wanted),
               f"With {epochs} epochs and a final ratio of {final:g} the ratios must be "
               f"{[round(w, 3) for w in wanted]}, not {[round(v, 3) for v in values]}.")
    return "equal steps, and the final ratio after the last epoch."


def _alike(values: list[float], others: list[float]) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(values, others, strict=True))
