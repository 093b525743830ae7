"""Checks of notebook 06."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rethinklab.notebook.checks.common import (
    answered,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.pruners.sss import soft_threshold
from rethinklab.results import Results


def seeds_above(answer: Any, results: Results, first: str = "scratch-b",
                second: str = "lr-rewind") -> str:
    """The number of seeds in which `first` is more accurate than `second`.

    Raises Wrong for the reverse count, a comparison with fine-tuning, or a mean.
    """
    value = number(answer)
    difference = (results.accuracies(first) - results.accuracies(second)).dropna()
    above, below, pairs = int((difference > 0).sum()), int((difference < 0).sum()), len(difference)
    if value != above:
        tuned = results.accuracies(first) - results.accuracies("finetune")
        refuse(value == below, "This counts the seeds in which LR rewinding is higher.")
        refuse(value == (tuned > 0).sum(), "This compares Scratch-B with fine-tuning; the "
                                           "question is about LR rewinding.")
        refuse(value != int(value), "This looks like a mean. Count seeds: compare the two "
                                    "accuracies of each.")
        demand(0 <= value <= pairs, f"There are {pairs} pairs, so the count lies from 0 to "
                                    f"{pairs}.")
        refuse(True, "Compare the two accuracies of each seed, and count where that of Scratch-B "
                     "is higher.")
    return (f"Scratch-B is higher in {above} of {pairs} seeds. A count looks at the signs of the "
            "differences; the verdict also looks at their sizes.")


def branch_macs(answer: Any, channels: int, side: int, kernel: int = 3) -> str:
    """The multiply-adds of a branch of two convolutions, each from `channels` to `channels` with
    square kernels on maps of `side` pixels a side.

    Raises Wrong that names the factor that was left out.
    """
    value = number(answer)
    one = channels * channels * kernel**2 * side**2
    refuse(value == one, "A branch has two convolutions.")
    refuse(value == 2 * channels * channels * kernel**2,
           "These are the weights. Each of them is used once at every position of the map.")
    refuse(value == 2 * channels * channels * side**2, "The kernel is missing: a filter reads "
                                                       f"{kernel}x{kernel} places of each input.")
    refuse(value == 2 * channels * kernel**2 * side**2,
           "Each filter reads all input channels, and there are as many filters as channels.")
    refuse(value == 4 * one, "This counts a multiplication and an addition separately; a MAC is "
                             "both together.")
    demand(value == 2 * one, "Multiply filters, input channels, places of a kernel and positions "
                             "of the map, for two convolutions.")
    return f"two convolutions of {one:,} each make {value:,} multiply-adds."


def group_soft(answer: Any) -> str:
    """group_soft(z, amount): the proximal step of `amount` times the length of z, which is z
    shortened by `amount`, or zero where it is not longer than that.

    Raises Wrong for single entries shrunk, a length below zero, or what is not a number.
    """
    answered(answer)
    stream = torch.Generator().manual_seed(6)
    for scale in (3.0, 1.0, 0.2):
        for size in (1, 4):
            z = scale * torch.randn(size, generator=stream)
            _judge_group(answer(z.clone(), 0.5), z, 0.5)
    _judge_group(answer(torch.zeros(3), 0.5), torch.zeros(3), 0.5)
    return ("the whole group shrinks in its own direction and vanishes together. With it a "
            "penalty can act on the weights of a structure, without a scale of its own.")


def proximal_gradient(answer: Any) -> str:
    """minimise(gradient, start, lr, strength, steps): proximal gradient without momentum.

    Raises Wrong for a threshold that forgets the learning rate, a sub-gradient, or no penalty.
    """
    answered(answer)
    stream = torch.Generator().manual_seed(7)
    matrix, target = torch.randn(8, 5, generator=stream), torch.randn(8, generator=stream)
    start = torch.ones(5)
    lr, strength, steps = 0.03, 1.5, 12

    def gradient(scale: Tensor) -> Tensor:
        return matrix.T @ (matrix @ scale - target)

    found = answer(gradient, start.clone(), lr, strength, steps)
    returned(found)
    demand(isinstance(found, Tensor) and found.shape == start.shape,
           f"The function must give the scales, a tensor of shape {tuple(start.shape)}, not "
           f"{kind(found)}.")

    def end(step: Any, number: int = steps) -> Tensor:
        scale = start
        for _ in range(number):
            scale = step(scale)
        return scale

    def proximal(scale: Tensor) -> Tensor:
        return soft_threshold(scale - lr * gradient(scale), lr * strength)

    mistakes = [
        (lambda s: soft_threshold(s - lr * gradient(s), strength),
         "The threshold is the learning rate times the strength: a step takes only so much of "
         "the penalty."),
        (lambda s: s - lr * (gradient(s) + strength * s.sign()),
         "This is the sub-gradient step, which does not stop at zero. Take the gradient step of "
         "the loss alone, then the soft threshold."),
        (lambda s: s - lr * gradient(s), "The penalty is missing: no soft threshold is taken."),
        (lambda s: soft_threshold(s, lr * strength) - lr * gradient(s),
         "The order is reversed: first the gradient step, then the soft threshold."),
    ]
    for step, diagnosis in mistakes:
        refuse(_same(found, end(step)), diagnosis)
    refuse(_same(found, end(proximal, 1)), "Only one step was taken; take all of them.")
    demand(_same(found, end(proximal)), "Repeat: scale minus lr times the gradient, then the soft "
                                        "threshold of lr times the strength.")
    return ("each step moves along the gradient of the loss and then shrinks. It needs no "
            "look-ahead point, and more steps.")


def _judge_group(found: Any, z: Tensor, amount: float) -> None:
    returned(found)
    demand(isinstance(found, Tensor) and found.shape == z.shape,
           f"The function must give a tensor of the shape of z, {tuple(z.shape)}, not "
           f"{kind(found)}.")
    length = float(z.norm())
    wanted = z * max(1 - amount / length, 0.0) if length else z
    demand(bool(torch.isfinite(found).all()),
           "The result is not a number where z is all zero: nothing can be divided by its "
           "length.")
    refuse(len(z) > 1 and length > 0 and _same(found, soft_threshold(z, amount))
           and not _same(found, wanted),
           "This shrinks each entry by itself. The group has one length, and that shrinks.")
    refuse(0 < length < amount and _same(found, z * (1 - amount / length)),
           "A group shorter than the amount must become zero; here it turns round.")
    refuse(length > amount and _same(found, z * (1 - amount)),
           "This shrinks by a share of the length. Take the amount itself off it.")
    demand(_same(found, wanted), "Keep the direction of z and take the amount off its length, "
                                 "down to zero.")


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.detach().float(), b, atol=1e-5)
