"""Checks of notebook 01."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from torch import nn

from rethinklab.analysis.cost import Cost, profile
from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)


def conv_macs(answer: Any, filters: int = 64, inputs: int = 32, kernel: int = 3,
              side: int = 16) -> str:
    """The multiply-adds of one convolution for one image.

    inputs: its input channels. kernel: side of its kernels. side: of the maps that it puts out.
    Raises Wrong that names the factor that was left out or is too much.
    """
    value = number(answer)
    weights, places = filters * inputs * kernel**2, side**2
    expected = weights * places
    refuse(value == weights, "These are the weights. Each of them is used once at every place of "
                             f"the output map, of which there are {side} times {side}.")
    refuse(value == 2 * expected, "This counts a multiplication and an addition as two. A "
                                  "multiply-add is one MAC.")
    refuse(value == filters * inputs * places, "The kernel is missing: each input channel is read "
                                               f"at {kernel} times {kernel} places.")
    refuse(value == filters * kernel**2 * places, "The input channels are missing: a filter has "
                                                  "a kernel for each of them.")
    refuse(value == weights * side, "The map has two sides: count its places, not its rows.")
    demand(value == expected, "Multiply the filters, the input channels, the area of the kernel "
                              "and the places of the output map.")
    return (f"{filters} filters times {inputs} inputs times {kernel**2} make {weights:,} weights, "
            f"used at {places} places each: {expected:,} multiply-adds.")


def busiest(answer: Any, sizes: Mapping[str, Cost]) -> str:
    """The network that does most multiply-adds for each of its parameters.

    Raises Wrong for the one that does most in all, has most parameters, or is last instead of
    first, and for a name that is not in `sizes`.
    """
    answered(answer)
    demand(isinstance(answer, str) and answer in sizes,
           f"The answer must be the name of a network in the table, such as {next(iter(sizes))!r}, "
           f"not {answer!r}.")
    each = {name: cost.macs / cost.params for name, cost in sizes.items()}
    expected = max(each, key=lambda name: each[name])
    if answer != expected:
        refuse(sizes[answer].macs == max(cost.macs for cost in sizes.values()),
               f"{answer} does most multiply-adds in all; divide them by the parameters first.")
        refuse(each[answer] == min(each.values()),
               f"{answer} is last, not first: it has most parameters for each multiply-add. The "
               "ratio is the wrong way round.")
        refuse(True, f"{answer} does {each[answer]:.0f} multiply-adds for each parameter, and "
                     "another network does more.")
    return (f"{expected} does {each[expected]:.0f} multiply-adds for each parameter, the most of "
            "all.")


def conv_cost(answer: Callable[[nn.Conv2d, int], tuple[int, int]]) -> str:
    """A function from a convolution and the side of its input to its parameters and multiply-adds.

    Tried on layers with stride, without padding, with groups and with a bias, against `profile`.
    Raises Wrong that says which of these it does not see.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be the function, not {kind(answer)}.")
    layers = {
        "plain": nn.Conv2d(4, 6, 3, padding=1, bias=False),
        "bias": nn.Conv2d(4, 6, 3, padding=1),
        "stride": nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        "padding": nn.Conv2d(4, 6, 5, bias=False),
        "groups": nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False),
    }
    found = {name: answer(layer, 9) for name, layer in layers.items()}
    for pair in found.values():
        returned(pair)
    for pair in found.values():
        demand(isinstance(pair, (tuple, list)) and len(pair) == 2,
               f"The function must give two numbers, (parameters, MACs), not {pair!r}.")
    costs = {name: profile(layer, (4, 9, 9), latency=False) for name, layer in layers.items()}
    params = {name: found[name][0] for name in layers}
    macs = {name: found[name][1] for name in layers}
    plain = costs["plain"]
    refuse((params["plain"], macs["plain"]) == (plain.macs, plain.params),
           "The order is swapped: parameters first, then MACs.")
    refuse(macs["plain"] == 2 * plain.macs, "A multiply-add is one MAC; this counts two for each.")
    refuse(macs["plain"] == plain.params, "These MACs are the weights; each is used at every "
                                          "place of the output map.")
    demand((params["plain"], macs["plain"]) == (plain.params, plain.macs),
           f"A 3x3 convolution of 4 channels to 6 on 9x9 pixels has {plain.params} parameters and "
           f"{plain.macs} MACs, not {params['plain']} and {macs['plain']}.")
    refuse(params["bias"] == costs["bias"].params - 6, "A bias is a parameter, too: one a filter.")
    refuse(macs["bias"] > costs["bias"].macs, "The bias adds and multiplies nothing, so it is "
                                              "no MAC.")
    refuse(macs["stride"] != costs["stride"].macs, "With a stride the output map is smaller than "
                                                   "the input: count the places of the output.")
    refuse(macs["padding"] != costs["padding"].macs, "Without padding the output map is smaller "
                                                     "than the input by the kernel less one.")
    refuse(params["groups"] == 2 * costs["groups"].params, "In a layer with groups a filter reads "
                                                           "the inputs of its own group only.")
    for name, cost in costs.items():
        demand((params[name], macs[name]) == (cost.params, cost.macs),
               f"{layers[name]} on 9x9 pixels has {cost.params} parameters and {cost.macs} MACs, "
               f"not {params[name]} and {macs[name]}.")
    return (f"the function agrees with rl.profile on {len(layers)} layers, with stride, padding, "
            "groups and bias.")


def throughput(answer: Any, times: pd.DataFrame, batch: int = 64) -> str:
    """The images that the pruned networks take in a second, from their mean latency.

    times: columns network, seed, batch and latency (milliseconds for the batch). Raises Wrong for
    the unpruned network, another batch, milliseconds taken for seconds, or batches a second.
    """
    value = number(answer)
    means = times.groupby(["batch", "network"])["latency"].mean()
    rates = {place: 1000 * place[0] / latency for place, latency in means.items()}
    expected = float(rates[batch, "pruned"])
    if not close(value, expected):
        refuse(close(1000 * value, expected), "This is images in a millisecond; a second has 1000.")
        refuse(close(value * batch, expected), f"This is batches a second, of {batch} images.")
        refuse(close(value, 1000 * batch / expected), "This is the milliseconds of a batch. Divide "
                                                      "its images by its seconds.")
        for (other, network), rate in rates.items():
            refuse(close(value, float(rate)),
                   f"This is for {network} networks and a batch of {other}; the question is "
                   f"about pruned ones and {batch} images.")
        refuse(True, f"Take the rows of batch {batch} and of the pruned networks, the mean of "
                     "their latency, and divide the images by the seconds.")
    return f"the pruned networks take {expected:,.0f} images a second in batches of {batch}."
