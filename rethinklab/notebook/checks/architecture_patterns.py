"""Checks of notebook 12."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rethinklab.notebook.checks.common import (
    answered,
    demand,
    kind,
    number,
    refuse,
    returned,
)

# Shares, widths and sides of made-up networks: each stage another share, one layer nearly empty.
CASES = (
    ((0.75, 0.5, 0.1), {"a": 9, "b": 16, "c": 16, "d": 5}, {"a": 32, "b": 16, "c": 16, "d": 4}),
    ((0.3, 1.0), {"y": 10, "x": 7, "z": 64}, {"y": 8, "x": 28, "z": 8}),
)


def least_agreed(answer: Any, widths: pd.DataFrame) -> str:
    """The layer in which the seeds differ most in the channels kept, the most minus the fewest.

    widths: a row for each layer and seed, with the columns layer, before and after. Raises Wrong
    for the layer that keeps fewest channels or the smallest share, or what is no layer.
    """
    answered(answer)
    kept = widths.groupby("layer")["after"]
    spans = kept.max() - kept.min()
    demand(isinstance(answer, str) and answer in spans.index,
           f"The answer must be the name of a layer in the table, such as {spans.index[0]!r}, not "
           f"{answer!r}.")
    if spans[answer] < spans.max():
        refuse(spans[answer] == spans.min(), "In this layer the seeds agree most; look for the "
                                             "largest difference.")
        shares = (widths["after"] / widths["before"]).groupby(widths["layer"])
        refuse(answer == (shares.max() - shares.min()).idxmax(),
               "Here the seeds differ most in the share kept; the question is about numbers of "
               "channels.")
        refuse(answer in (kept.mean().idxmin(), shares.mean().idxmin()),
               "This layer keeps least on average; the question is where the seeds differ.")
        refuse(True, f"In {answer} the seeds differ by {spans[answer]:g} channels, and in another "
                     "layer by more.")
    low, high = (float(end[answer]) for end in (kept.min(), kept.max()))
    return f"in {answer} the seeds keep between {low:g} and {high:g} channels."


def corner_on_pixels(answer: Any, side: int) -> str:
    """The share of outputs of a 3x3 convolution with padding 1 over a side x side map at which a
    corner of the kernel lies on a pixel.

    Raises Wrong for the share of an edge, the centre or the border, or a count.
    """
    value = number(answer)
    one = (side - 1) / side  # of the rows that a kernel's first row lies on
    refuse(math.isclose(value, 1 - one**2), "This is the share at which the corner lies on the "
                                            "border; the question asks for pixels.")
    refuse(math.isclose(value, one), "This counts rows or columns only, as for the middle of an "
                                     "edge; a corner is shifted by both.")
    refuse(value == 1, "That is the centre, which always lies on a pixel.")
    refuse(value == (side - 1) ** 2, f"This is a number of outputs; divide it by all {side**2}.")
    demand(math.isclose(value, one**2),
           f"Write down the {side**2} positions of the kernel's centre, and for each whether one "
           "row up and one column to the left there still is a pixel.")
    return (f"the corner lies on a pixel at {(side - 1)**2} of {side**2} outputs, the centre at "
            "all of them.")


def transfer(answer: Any) -> str:
    """A function that gives each layer of a network the share of its stage.

    Tried on made-up networks. Raises Wrong where stages are taken in the wrong order, widths are
    cut down instead of rounded, or a layer is left without a channel.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for shares, widths, sides in CASES:
        made = answer(list(shares), dict(widths), dict(sides))
        returned(made)
        demand(isinstance(made, Mapping) and set(made) == set(widths),
               "The function must give back a dictionary with the new width of every layer of "
               f"widths, not {kind(made)}.")
        given = {name: number(width) for name, width in made.items()}
        stages = sorted(set(sides.values()), reverse=True)
        share = dict(zip(stages, shares, strict=True))
        exact = {name: width * share[sides[name]] for name, width in widths.items()}
        expected = {name: max(1, round(value)) for name, value in exact.items()}
        turned = dict(zip(reversed(stages), shares, strict=True))
        refuse(given != expected and given == {
            name: max(1, round(width * turned[sides[name]])) for name, width in widths.items()},
               "The stages are in the wrong order: shares begin with the largest feature map.")
        refuse(given == {name: round(value) for name, value in exact.items()} != expected,
               "A layer is left without a channel; every layer keeps at least one.")
        refuse(given == {name: max(1, int(value)) for name, value in exact.items()} != expected,
               "The widths are cut down; round them, as a guided design does.")
        refuse(given == exact, "Widths must be whole numbers; round them.")
        wrong = next((name for name in widths if given[name] != expected[name]), None)
        if wrong is not None:
            refuse(True, f"For shares {list(shares)} and sides {dict(sides)}, layer {wrong!r} of "
                         f"{widths[wrong]} channels should have {expected[wrong]}, not "
                         f"{given[wrong]:g}.")
    return f"every layer gets the share of its stage, tried on {len(CASES)} networks."
