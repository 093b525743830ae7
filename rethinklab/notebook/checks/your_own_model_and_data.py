"""Checks of notebook 15."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.power import pairs_for
from rethinklab.analysis.statistics import PairedComparison
from rethinklab.data import ImageData, Images
from rethinklab.errors import ConfigError, PlanError
from rethinklab.models.initialise import reinitialise
from rethinklab.notebook.checks.common import (
    answered,
    close,
    demand,
    kind,
    number,
    refuse,
    returned,
)
from rethinklab.seeds import global_stream
from rethinklab.values import plain

VERDICTS = ("better", "worse", "equivalent", "not decided")


def baseline(answer: Any, data: ImageData) -> str:
    """The test accuracy, a fraction, of always saying the class that most training images have.

    Raises Wrong for one over the number of classes, the share of training images, or percent.
    """
    value = number(answer)
    train = torch.bincount(data.train.labels, minlength=data.num_classes).double()
    test = torch.bincount(data.test.labels, minlength=data.num_classes).double()
    usual = int(train.argmax())
    expected = float(test[usual] / test.sum())
    if not close(value, expected):
        refuse(close(value, 100 * expected), "This is in percent; the answer is a fraction.")
        refuse(close(value, float(train[usual] / train.sum())),
               "This is the share of the training images. The accuracy is measured on the test "
               "images.")
        refuse(close(value, 1 / data.num_classes), "One over the number of classes holds only "
                                                   "where all classes are equally frequent.")
        refuse(close(value, float(test.max() / test.sum())),
               "This takes the most frequent class of the test images, which must not be looked "
               "at to choose.")
        refuse(True, "Find the class with most training images, then its share of the test "
                     "images.")
    return (f"always saying {data.classes[usual]!r} is right for {expected:.1%} of the test "
            "images. A network must beat that.")


def allowed_claim(answer: Any, comparison: PairedComparison) -> str:
    """Which of the four verdicts a comparison allows.

    Raises Wrong for one that is read off the sign of the mean, one that takes a missing difference
    for equivalence, or another word.
    """
    answered(answer)
    demand(answer in VERDICTS, f"The answer must be one of {', '.join(VERDICTS)}, not {answer!r}.")
    c = comparison
    if answer != c.verdict:
        refuse(answer == "equivalent" and c.verdict == "not decided",
               f"That no difference is shown does not show that there is none: the interval, "
               f"{c.low:+.2f} to {c.high:+.2f}, reaches beyond the margin of {c.margin:g}.")
        refuse(answer in ("better", "worse") and c.verdict == "not decided",
               f"The mean of {c.mean:+.2f} has that sign, and its interval, {c.low:+.2f} to "
               f"{c.high:+.2f}, does not bear it out."
               if (c.mean > 0) == (answer == "better") else
               f"The mean is {c.mean:+.2f}, so it does not even have that sign.")
        refuse(answer == "not decided", f"The interval, {c.low:+.2f} to {c.high:+.2f}, and the "
                                        "margin decide it; read the last sentence again.")
        refuse(True, f"This is {c.a} minus {c.b}, with a mean of {c.mean:+.2f}; read which one "
                     "the verdict names.")
    return f"over {c.n} pairs the verdict is {c.verdict!r}, and no more may be claimed."


def equivalence_pairs(answer: Any, sd: float, margin: float, power: float = 0.8) -> str:
    """The pairs with which equivalence within `margin` is shown with that power, where there is
    no true difference. sd: of the differences.

    Raises Wrong for the pairs that show a difference of the size of the margin, or that show
    non-inferiority.
    """
    value = number(answer)
    expected = pairs_for(power, 0.0, sd, margin=margin)
    if value != expected:
        others = {"difference": "These pairs show a *difference* as large as the margin. To show "
                                "equivalence, pass margin= and a true difference of 0.",
                  "non-inferiority": "These pairs show that one is not worse by the margin; "
                                     "equivalence looks at both sides."}
        for claim, diagnosis in others.items():
            truth = margin if claim == "difference" else 0.0
            try:
                wrong = pairs_for(power, truth, sd, claim=claim,
                                  margin=None if claim == "difference" else margin)
            except ConfigError:  # more pairs than are looked at
                continue
            refuse(value == wrong, diagnosis)
        refuse(True, f"Ask rl.pairs_for for a power of {power:g}, a true difference of 0, this sd "
                     "and margin=.")
    return f"{expected} pairs show it with a probability of {power:.0%}."


def leaks(answer: Callable[[ImageData], Any]) -> str:
    """A function that counts the test images that are training images, too, pixel for pixel.

    Tried on made-up tasks. Raises Wrong where it counts distinct images, training images, or
    copies inside one of the two sets.
    """
    answered(answer)
    demand(callable(answer), f"The answer must be the function, not {kind(answer)}.")
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=draws)
    flat = pixels[0].sort().values  # the same brightness as image 0, other places
    clean = _task(pixels[:6], pixels[6:])
    found = answer(clean)
    returned(found)
    demand(isinstance(found, Tensor) or type(plain(found)) is int,
           f"The function must give the number of images, not {kind(found)}.")
    demand(int(found) == 0, f"Two sets without a common image gave {int(found)}, not 0.")
    inside = _task(pixels[[0, 0, 1]], pixels[[6, 6]])
    refuse(int(answer(inside)) > 0, "Copies inside the training or the test images are no leak "
                                    "from one to the other.")
    twice = _task(pixels[[0, 1, 2]], pixels[[0, 0, 1, 6]])
    count = int(answer(twice))
    refuse(count == 2, "This counts different images; a leaked image that the test set holds "
                       "twice counts twice in its accuracy.")
    demand(count == 3, f"Three of four test images were training images; it gave {count}.")
    refuse(int(answer(_task(pixels[[0, 0, 0, 1]], pixels[[0, 6]]))) != 1,
           "This counts training images or pairs; count the test images that were met before.")
    refuse(int(answer(_task(pixels[[0, 1]], flat[None]))) != 0,
           "An image with the same brightness and other pixels was taken for a copy.")
    return "it counts every test image that training has seen, and nothing else."


def own_rule(answer: Any) -> str:
    """A network with a parameter of its own, whose `initialise` draws what PyTorch does not.

    Asked for: `scale` 1, `conv.weight` normal with standard deviation 0.1, `head` as PyTorch draws
    it. Raises Wrong for a parameter that is not set, a wrong value or spread, or a draw that does
    not follow the seed.
    """
    answered(answer)
    demand(isinstance(answer, type) and issubclass(answer, nn.Module),
           f"The answer must be the class, a kind of torch.nn.Module, not {kind(answer)}.")
    answered(getattr(answer, "initialise", None))
    with global_stream(0, "check"):
        model = answer()
    try:
        one, two = (reinitialise(model, seed) for seed in (1, 2))
    except PlanError as error:
        refuse(True, f"scratch() finds parameters without new values: {error}")
    demand(bool((one.get_parameter("scale") == 1).all()), "`scale` must start at 1 everywhere.")
    weights = one.get_parameter("conv.weight")
    spread = float(weights.detach().std())
    refuse(bool(torch.equal(weights, two.get_parameter("conv.weight"))),
           "Two seeds draw the same weights: do not set a seed inside initialise().")
    default = 1 / math.sqrt(3 * weights[0].numel())  # of PyTorch's uniform rule
    refuse(abs(spread - default) < 0.005, "`conv.weight` still has PyTorch's default spread, "
                                          f"{spread:.3f}; draw it with a standard deviation of "
                                          "0.1.")
    demand(abs(spread - 0.1) < 0.015 and abs(float(weights.detach().mean())) < 0.02,
           f"`conv.weight` has mean {float(weights.detach().mean()):.2f} and standard deviation "
           f"{spread:.2f}; wanted are 0 and 0.1.")
    refuse(bool((one.get_parameter("head.weight") == 0).all()),
           "The linear layer is all zero; PyTorch's own rule was to stay.")
    largest = 1 / math.sqrt(one.get_parameter("head.weight").shape[1])
    demand(float(one.get_parameter("head.weight").detach().abs().max()) <= largest,
           "The linear layer was to keep PyTorch's own rule; leave it alone.")
    return "scratch() can draw every parameter anew, by the rule that the network was built with."


def _task(train: Tensor, test: Tensor) -> ImageData:
    """A task of these pixels, all of one class of two: what is the same image is so by pixels."""
    first, second = (Images(pixels, torch.zeros(len(pixels), dtype=torch.int64))
                     for pixels in (train, test))
    return ImageData("made up", first, second, ("a", "b"), (0.5,) * 3, (0.25,) * 3)
