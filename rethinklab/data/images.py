"""The nouns of the data layer: images with labels, and a task made of two such sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rethinklab.errors import ConfigError, DataError
from rethinklab.seeds import generator
from rethinklab.values import number, plain, settle, whole

HASHED = 256  # images at a time


@dataclass(frozen=True)
class Images:
    """Labelled images held as one tensor.

    pixels: uint8 (N, C, H, W), 0 to 255. labels: int64 (N,), 0 to number of classes - 1.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"pixels must be a uint8 tensor of shape (N, C, H, W), not "
                f"{self.pixels.dtype} of shape {tuple(self.pixels.shape)}."
            )
        if self.labels.shape != self.pixels.shape[:1]:
            raise DataError(f"{len(self.labels)} labels for {len(self.pixels)} images.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Images:
        """The images at `index`, int64 (M,), in that order."""
        index = index.to(self.labels.device)
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device | str) -> Images:
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageData:
    """A classification task: training and test images, and how they are normalised.

    mean, std: per channel, on the 0 to 1 scale. pad, flip: the training augmentation, a random
    crop out of `pad` zero pixels on each side and a horizontal flip with probability one half
    (off where mirrored images mean something else, as digits do).
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        settle(self, classes=tuple(map(str, self.classes)), mean=tuple(plain(self.mean)),
               std=tuple(plain(self.std)), pad=whole("pad", self.pad, 0), flip=plain(self.flip))
        if len(self.classes) < 2:
            found = ", ".join(self.classes) or "none"
            raise DataError(f"{self.name}: classification needs two classes or more, "
                            f"found {found}.")
        for part, images in (("training", self.train), ("test", self.test)):
            if len(images) == 0:
                raise DataError(f"{self.name}: there are no {part} images.")
            low, high = int(images.labels.min()), int(images.labels.max())
            if low < 0 or high >= len(self.classes):
                raise DataError(f"{self.name}: {part} labels {low} to {high} do not fit "
                                f"{len(self.classes)} classes.")
        if self.train.pixels.shape[1:] != self.test.pixels.shape[1:]:
            raise DataError(f"{self.name}: training and test images differ in shape.")
        if min(self.std) <= 0:
            raise DataError(f"{self.name}: a channel is constant (std {self.std}), so it cannot "
                            "be normalised.")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.train.pixels.shape
        return c, h, w

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything training can see: pixels, labels, normalisation, augmentation."""
        digest = hashlib.sha256()
        settings = (self.classes, self.mean, self.std, self.pad, self.flip)
        digest.update(repr(settings).encode())
        for images in (self.train, self.test):
            digest.update(repr(tuple(images.pixels.shape)).encode())
            for pixels in images.pixels.split(HASHED):  # in memory, channels may stand last
                digest.update(np.ascontiguousarray(pixels.cpu().numpy()).data)
            digest.update(images.labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> ImageData:
        """The same task with its pixels on `device`, where they are augmented."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def hold_out(self, fraction: float = 0.1, seed: int = 0) -> ImageData:
        """A task for making choices: its test set is a seeded, class-balanced part of the
        training images, and the real test set is out of reach.

        Raises ConfigError unless 0 < fraction < 1.
        """
        chosen, rest = stratified_split(self.train.labels, fraction, seed)
        return replace(self, name=f"{self.name} (held out {fraction:g})",
                       train=self.train.take(rest), test=self.train.take(chosen))

    def subset(self, train: int | None = None, test: int | None = None, seed: int = 0) -> ImageData:
        """A seeded random part of the task, for quick looks. Counts beyond the set are an error."""
        return replace(self, name=f"{self.name} (subset)",
                       train=random_part(self.train, train, "training", seed),
                       test=random_part(self.test, test, "test", seed))

    def __repr__(self) -> str:
        c, h, w = self.input_shape
        return (f"ImageData({self.name!r}: {len(self.train):,} training and {len(self.test):,} "
                f"test images, {c}x{h}x{w}, {self.num_classes} classes)")


def random_part(images: Any, count: int | None, stream: str, seed: int) -> Any:
    """`count` of the images, in the order of the seed's stream "subset/stream"; all for None.

    images: anything with a length and `take`. Raises ConfigError where there are not so many.
    """
    if count is None:
        return images
    count = checked_count(count, len(images), stream)
    order = torch.randperm(len(images), generator=generator(seed, "subset", stream))
    return images.take(order[:count])


def checked_count(count: Any, there: int, part: str) -> int:
    """`count` as an int. Raises ConfigError unless one or more of the images there, and no more
    than there are, can be taken."""
    found = plain(count)
    if type(found) is not int or not 1 <= found <= there:
        raise ConfigError(f"cannot take {found!r} of {there} {part} images.")
    return found


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (chosen, rest) with `fraction` of every class chosen at random, at least one.

    labels: int64 (N,). Each class leaves at least one image in `rest`.
    """
    fraction = number("fraction", fraction, above=0, below=1)
    labels = labels.cpu()
    order = torch.randperm(len(labels), generator=generator(seed, "split"))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = order[labels[order] == label]
        if len(members) < 2:
            raise DataError(f"class {int(label)} has a single image, which cannot be split.")
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen[members[:count]] = True
    return chosen.nonzero().flatten(), (~chosen).nonzero().flatten()


def channel_statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 (N, C, H, W), on the 0 to 1 scale.

    Summed as integers, so that the result does not depend on the number of threads.
    """
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = torch.bincount(pixels[:, channel].flatten(), minlength=256).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        mean = first / total
        means.append(round(mean / 255, 4))
        deviations.append(round(max(second / total - mean * mean, 0.0) ** 0.5 / 255, 4))
    return tuple(means), tuple(deviations)
