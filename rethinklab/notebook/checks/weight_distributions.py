"""Checks of notebook 11."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch

from rethinklab.analysis.weights import ALL
from rethinklab.notebook.checks.common import (
    answered,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.trainers.regimes import regime_title


def fewest_signs(answer: Any, moved: pd.DataFrame, regime: str) -> str:
    """The layer that keeps the smallest share of its signs in the training of `regime`.

    moved: columns regime, layer, seed, sign_agreement, distance. Raises Wrong for the whole
    network, the layer that keeps most, one read of another regime, or the one that moved furthest.
    """
    answered(answer)
    rows = moved[moved["layer"] != ALL]
    means = rows[rows["regime"] == regime].groupby("layer")[["sign_agreement", "distance"]].mean()
    signs = means["sign_agreement"]
    refuse(answer == ALL, "The rows called 'all' are the whole network; leave them out.")
    demand(isinstance(answer, str) and answer in signs.index,
           f"The answer must be the name of a layer in the table, such as {signs.index[0]!r}, not "
           f"{answer!r}.")
    if signs[answer] > signs.min():
        refuse(signs[answer] == signs.max(), f"{answer} keeps the largest share of its signs; "
                                             "look for the smallest.")
        refuse(means.loc[answer, "distance"] == means["distance"].max(),
               f"{answer} moved furthest. That is the column distance; the question is about "
               "sign_agreement.")
        for other in set(rows["regime"]) - {regime}:
            there = rows[rows["regime"] == other].groupby("layer")["sign_agreement"].mean()
            refuse(there.get(answer, 1.0) == there.min(),
                   f"{answer} keeps the fewest signs in another regime, {other}; read the rows "
                   f"of {regime} only.")
        refuse(True, f"{answer} keeps {signs[answer]:.1%} of its signs, and another layer fewer.")
    return (f"in {regime_title(regime)} {answer} keeps {signs.min():.1%} of its signs, the fewest "
            "of all layers.")


def expected_overlap(answer: Any, size: int, first: int, second: int) -> str:
    """The overlap to be expected of two random masks that keep so many of `size` places: what both
    keep over what one keeps on average.

    Raises Wrong for the number of shared places, their share of all, or another denominator.
    """
    value = number(answer)
    shared = first * second / size
    refuse(math.isclose(value, shared),
           f"This is how many places both keep, {shared:g}; divide it by what one of them keeps "
           "on average.")
    refuse(math.isclose(value, shared / size),
           "This is the share of all places that both keep; divide by the places kept instead.")
    refuse(math.isclose(value, shared / (first + second)),
           "This divides by what the two keep together; one of them keeps half of that on average.")
    refuse(math.isclose(value, shared / (first + second - shared)),
           "This divides by the places that at least one keeps (Jaccard's index); the overlap here "
           "divides by the average of the two.")
    refuse(any(math.isclose(value, shared / one) for one in (first, second) if first != second),
           "This divides by what one of the two keeps; take the average of both.")
    expected = 2 * shared / (first + second)
    demand(math.isclose(value, expected, rel_tol=1e-3),
           "Work out first at how many places both masks are expected to keep a weight, then "
           "divide by the average number that they keep.")
    return (f"{shared:g} shared places of {(first + second) / 2:g} kept on average make "
            f"{expected:.2f}; only an overlap above that says anything.")


def sign_agreement(answer: Any) -> str:
    """A function (before, after, mask) that gives the share of live weights with an unchanged sign.

    Tried on a fresh tensor. Raises Wrong where the mask is ignored or turned round, where dead
    weights stay in the count, where zero is mishandled, or for the share that changes.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    random = torch.Generator().manual_seed(3)
    before = torch.randn(6, 5, 3, 3, generator=random)
    after = before + torch.randn(6, 5, 3, 3, generator=random)
    mask = torch.rand(6, 5, 3, 3, generator=random) < 0.4
    before, after = before * mask, after * mask
    live = mask.nonzero()
    for row in live[:12].tolist():  # that live and are zero: in both, or in one only
        before[tuple(row)] = 0.0
    for row in live[:6].tolist():
        after[tuple(row)] = 0.0
    same = before.sign() == after.sign()
    given = answer(before.clone(), after.clone(), mask.clone())
    returned(given)
    if isinstance(given, torch.Tensor) and given.numel() == 1:
        given = given.item()
    value = float(number(given))

    def like(share: Any) -> bool:
        return math.isclose(value, float(share), rel_tol=1e-4)

    kept = same[mask].double().mean()
    refuse(like(same.double().mean()), "Dead weights are in the count: they are zero before and "
                                       "after, and so they always agree. Look at before[mask].")
    refuse(like((same & mask).double().mean()),
           "The count is of live weights but the division by all of them; divide by how many live.")
    refuse(like(same[~mask].double().mean()), "The mask is turned round: True is where a weight "
                                              "lives.")
    refuse(like(1 - kept), "This is the share that changes its sign; the question asks for what "
                           "keeps it.")
    refuse(like(100 * kept), "This is in percent; the answer is a share from 0 to 1.")
    refuse(like(same[mask].sum()), "This is a number of weights; divide it by how many live.")
    refuse(like(((before * after) > 0)[mask].double().mean()),
           "A weight that is zero before and after keeps its sign, 0, and a product of 0 does not "
           "see it. Compare the signs.")
    refuse(like(((before * after) >= 0)[mask].double().mean()),
           "From 0 to a positive weight is a change of sign, and a product of 0 does not see it. "
           "Compare the signs.")
    demand(like(kept), f"On a fresh tensor the share is {float(kept):.4f}, and the function gives "
                       f"{value:.4f}.")
    return f"{float(kept):.1%} of the live weights of a fresh tensor keep their sign."
