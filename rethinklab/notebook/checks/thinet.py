"""Checks of notebook 03."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rethinklab.notebook.checks.common import (
    answered,
    demand,
    kind,
    refuse,
    returned,
)

TABLE = ((9, -8, -1), (-8, 8, 0), (-1, 0, 5))  # the Gram matrix of exercise 2


def largest_gain(answer: Any, alone: Mapping[str, Mapping[str, float]]) -> str:
    """The layer where L1-norm's error is the largest multiple of ThiNet's.

    alone: errors by method and layer.
    Raises Wrong for the smallest multiple, the largest difference or error, or no layer.
    """
    answered(answer)
    l1, thinet = alone["l1"], alone["thinet"]
    demand(isinstance(answer, str) and answer in l1,
           f"The answer must be the name of a layer, such as {next(iter(l1))!r}, not {answer!r}.")
    gains = {name: l1[name] / max(thinet[name], 1e-12) for name in l1}
    if gains[answer] < max(gains.values()):
        refuse(gains[answer] == min(gains.values()),
               f"In {answer} the gain is the smallest; look for the largest ratio, L1-norm's "
               "error over ThiNet's.")
        refuse(l1[answer] - thinet[answer] == max(l1[name] - thinet[name] for name in l1),
               f"{answer} has the largest difference of the two errors; the question asks for "
               "the largest ratio.")
        refuse(l1[answer] == max(l1.values()),
               f"In {answer} L1-norm's error is the largest. Divide it by ThiNet's error there.")
        refuse(True, f"In {answer} L1-norm's error is {gains[answer]:.1f} times ThiNet's, and in "
                     "another layer the ratio is larger.")
    return f"in {answer} the error of L1-norm is {gains[answer]:.1f} times that of ThiNet."


def by_hand(answer: Any, table: Sequence[Sequence[float]] = TABLE) -> str:
    """The two channels that greedy removal takes from a Gram matrix of three, in order.

    Raises Wrong for the order turned round, the smallest diagonal entries, or the best pair.
    """
    answered(answer)
    try:
        found = [int(channel) for channel in answer]
    except (TypeError, ValueError):
        found = []
    demand(len(found) == 2 and len(set(found)) == 2 and set(found) <= set(range(len(table))),
           f"The answer must be a list of two of the channels 0, 1 and 2, not {answer!r}.")
    gram = torch.tensor(table, dtype=torch.float64)
    wanted = plain_greedy(gram, 2)
    diagonal = gram.diagonal().argsort(stable=True).tolist()[:2]
    pairs = torch.combinations(torch.arange(len(gram)), 2)
    best = min(pairs.tolist(), key=lambda pair: float(gram[pair][:, pair].sum()))
    refuse(found == wanted[::-1], "These are the two channels, in the wrong order: the first one "
                                  "to go has the smallest entry on the diagonal.")
    refuse(found == diagonal != wanted,
           "This takes the two smallest entries of the diagonal. The second step must count the "
           "entries off the diagonal too: what the channel shares with the one that has gone.")
    refuse(sorted(found) == best and best != sorted(wanted),
           "This is the best pair, and the greedy rule does not find it: its first step looks at "
           "single channels only.")
    demand(found == wanted, f"The first channel to go is the one with the smallest entry on the "
                            f"diagonal, {wanted[0]}. For each of the others add up the four "
                            "entries of the pair that it would make.")
    loss = {name: float(gram[pair][:, pair].sum()) for name, pair in
            (("greedy", wanted), ("best", best))}
    return (f"the greedy pair costs {loss['greedy']:g}, and the best one, {best[0]} and {best[1]}, "
            f"{loss['best']:g}.")


def greedy_from_gram(answer: Any) -> str:
    """A function from a Gram matrix and a number to the channels that greedy removal takes.

    Raises Wrong for a choice by the diagonal, a missing factor of two, a channel taken twice, a
    list that is sorted, or a matrix that was changed.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for draw in range(4):
        gram = sample_gram(draw)
        size = len(gram)
        given = gram.clone()
        wanted = plain_greedy(gram, size - 2)
        found = _channels(answer(given, size - 2), size - 2, size)
        refuse(not torch.equal(given, gram), "The function changes the matrix that it is given; "
                                             "work on a copy, such as gram.diagonal().clone().")
        refuse(len(set(found)) < len(found), "A channel is taken twice: one that has gone must "
                                             "not be looked at again.")
        if found != wanted:
            refuse(found == gram.diagonal().argsort(stable=True).tolist()[: size - 2],
                   "The order is that of the diagonal. After the first step the entries off the "
                   "diagonal count too: what a channel shares with those that have gone.")
            refuse(found == plain_greedy(gram, size - 2, cross=1.0),
                   "A factor is missing: the entry of two different channels stands in the matrix "
                   "twice, so it counts twice.")
            refuse(sorted(found) == sorted(wanted),
                   "These are the right channels, but not in the order in which they go.")
            refuse(True, "The channels differ from those that the definition gives. Each step "
                         "takes the one that keeps the sum over all entries of the removed set "
                         "lowest.")
    return "the channels and their order are those of the definition, on four matrices."


def scales_from_gram(answer: Any) -> str:
    """A function from a Gram matrix and the kept channels to their least-squares factors.

    Raises Wrong for factors that are all one, factors of all channels, or another solution.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be a function, not {kind(answer)}.")
    for draw in range(3):
        x = sample_contributions(draw)
        kept = [5, 0, 3]
        wanted = torch.linalg.lstsq(x[:, kept], x.sum(1, keepdim=True)).solution[:, 0]
        found = answer((x.T @ x).clone(), list(kept))
        returned(found)
        found = torch.as_tensor(found, dtype=torch.float64)
        demand(found.numel() == len(kept),
               f"There must be one factor for each of the {len(kept)} kept channels, and the "
               f"answer has shape {tuple(found.shape)}.")
        found = found.flatten()
        refuse(torch.allclose(found, torch.ones(3).double(), atol=1e-6),
               "All factors are one: the target was taken to be the sum over the kept channels. "
               "It is the sum over all of them, so add up whole rows of the matrix.")
        refuse(torch.allclose(found, wanted[[1, 2, 0]], rtol=1e-6),
               "The factors are right but sorted by channel; give them in the order of `kept`.")
        demand(torch.allclose(found, wanted, rtol=1e-6),
               "These are not the least-squares factors. Solve the normal equations with the rows "
               "and columns of the kept channels, and the row sums on the right.")
    return "the factors agree with least squares on the samples themselves."


def plain_greedy(gram: Tensor, remove: int, cross: float = 2.0) -> list[int]:
    """Greedy removal by its definition. cross: how often an entry off the diagonal counts."""
    gone: list[int] = []
    for _ in range(remove):
        left = [c for c in range(len(gram)) if c not in gone]
        growth = {c: float(gram[c, c] + cross * gram[gone, c].sum()) for c in left}
        gone.append(min(growth, key=lambda c: growth[c]))
    return gone


def sample_contributions(draw: int, samples: int = 40, channels: int = 7) -> Tensor:
    """Contributions (samples, channels) that depend on each other."""
    draws = torch.Generator().manual_seed(100 + draw)
    mixed = torch.randn(channels, channels, generator=draws, dtype=torch.float64)
    return torch.randn(samples, channels, generator=draws, dtype=torch.float64) @ mixed


def sample_gram(draw: int) -> Tensor:
    """The Gram matrix of such contributions."""
    x = sample_contributions(draw)
    return x.T @ x


def _channels(answer: Any, count: int, size: int) -> list[int]:
    """The answer as a list of channels. Raises Unanswered for dots, Wrong for anything else."""
    returned(answer)
    try:
        found = [int(channel) for channel in answer]
    except (TypeError, ValueError):
        found = [-1]
    demand(all(0 <= channel < size for channel in found),
           f"The function must give a list of channels, numbers from 0 to {size - 1}, not "
           f"{kind(answer)} such as {answer!r}.")
    demand(len(found) == count, f"The function gave {len(found)} channels where {count} were to "
                                "go.")
    return found
