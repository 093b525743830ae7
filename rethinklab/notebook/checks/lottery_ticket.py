"""Checks of notebook 09."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.trainers.regimes import regime_title


def ticket_loss(answer: Any, table: pd.DataFrame) -> str:
    """The ticket's mean accuracy at the smallest share removed minus that at the largest, in
    percentage points, at the largest learning rate of `table` (see
    `results.comparisons.lottery_tables`).

    Raises Wrong for a swapped sign, fractions, another rate or regime, or both rates together.
    """
    answered(answer)
    value = number(answer)
    means = table.groupby(["lr", "regime", "ratio"])["test_accuracy"].mean().unstack() * 100
    losses = means[means.columns.min()] - means[means.columns.max()]
    place = (table["lr"].max(), "ticket")
    expected = float(losses[place])
    if not close(value, expected):
        refuse(close(value, -expected), "The sign is swapped: a loss is the accuracy before minus "
                                        "the accuracy after.")
        refuse(close(100 * value, expected), "This is a difference of fractions; multiply by 100 "
                                             "for percentage points.")
        for (lr, regime), other in losses.items():
            refuse(close(value, float(other)) or close(100 * value, float(other)),
                   f"This is the loss of {regime_title(regime)} at learning rate {lr:g}; the "
                   f"question is about {regime_title(place[1])} at {place[0]:g}.")
        own = table[table["regime"] == "ticket"].groupby("ratio")["test_accuracy"].mean() * 100
        refuse(close(value, float(own[own.index.min()] - own[own.index.max()])),
               "This is the mean over all rates; keep the rows of one.")
        refuse(True, "This is not the difference of the two means. Keep the ticket's rows of one "
                     "rate, and take a mean for each share removed.")
    return (f"at learning rate {place[0]:g} the ticket loses {expected:.2f} points from "
            f"{means.columns.min():.0%} to {means.columns.max():.0%} removed.")


def rounds_needed(answer: Any, share: float = 0.2, below: float = 0.1) -> str:
    """The smallest number of rounds, each of which removes `share` of the living weights, that
    leaves less than `below` of all.

    Raises Wrong where shares are added up, for one round too few or too many, or no whole number.
    """
    answered(answer)
    value = number(answer)
    right = 1
    while (1 - share) ** right >= below:
        right += 1
    added = next(n for n in range(1, 1000) if 1 - share * n < below)
    demand(float(value).is_integer(), "A number of rounds is a whole number.")
    refuse(value == added != right,
           "This adds the shares up. Each round takes its share of what still lives, so it "
           "removes fewer weights than the one before.")
    refuse(value == right - 1, f"After {right - 1} rounds {(1 - share) ** (right - 1):.1%} are "
                               "left, which is not yet few enough.")
    refuse(value > right, f"That is enough, but so is a smaller number of rounds: after "
                          f"{int(value) - 1} there are {(1 - share) ** (int(value) - 1):.1%} left.")
    demand(value == right, f"After {max(int(value), 0)} rounds "
                           f"{(1 - share) ** max(int(value), 0):.1%} of the weights are left.")
    return f"after {right} rounds {(1 - share) ** right:.1%} are left."


def dealt_anew(answer: Callable[[Tensor, Tensor], Any]) -> str:
    """A function (weight, mask) to a tensor with the living values in other living places.

    Raises Wrong where values change, masked weights live, nothing moves, or the mask moves.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(6, 5, 3, 3, generator=generator)
    mask = torch.rand(weight.shape, generator=generator) < 0.3
    before = weight.clone()
    found = answer(weight, mask.clone())
    returned(found)
    demand(isinstance(found, Tensor) and found.shape == before.shape,
           f"The function must give a tensor of the weight's shape, {tuple(before.shape)}.")
    refuse(not torch.equal(weight, before), "The weight that was given has changed; the other "
                                            "arms still need it. Fill a new tensor.")
    refuse(torch.equal(found, before * mask), "Every value is where it was: this is the ticket "
                                              "itself. Deal the values out in a random order.")
    refuse(_same_values(found, before), "Values of all places were mixed, those that the mask "
                                        "removes too. Take the living ones only.")
    outside = int((found[~mask] != 0).sum())
    refuse(outside > 0 and _same_values(found, before * mask),
           "The living places have moved as well. The mask is the architecture, and it must stay.")
    refuse(outside > 0, f"{outside} weights that the mask removes are not zero.")
    refuse(bool((found[mask] == 0).any()), "Some living places were left empty.")
    demand(_same_values(found[mask], before[mask]),
           "The values are not those of the living weights. Each must be used exactly once, which "
           "an order from torch.randperm does.")
    again = [answer(before.clone(), mask.clone()) for _ in range(2)]
    refuse(torch.equal(found[mask], before[mask].flip(0)) or torch.equal(
        found[mask], before[mask].sort().values) or torch.equal(
        found[mask], before[mask].sort(descending=True).values),
           "The values have an order of their own here; it must be random.")
    demand(all(_same_values(other, found) for other in again),
           "A second call gives other values; only their order may change.")
    return "the same values in the same places all together, each in the place of another."


def _same_values(one: Tensor, other: Tensor) -> bool:
    """Whether both hold the same values, in whatever order."""
    return torch.equal(one.flatten().sort().values, other.flatten().sort().values)
