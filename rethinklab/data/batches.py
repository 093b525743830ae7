"""Mini-batches from images that live on the training device.

Crop, flip and normalisation are tensor operations on whole batches, on the device. The random
numbers of an epoch are drawn on the CPU and moved over once, so that an epoch is the same on
every device and no step waits for a transfer. How the batches of a task come, from memory or
from files, whole or in parts, is decided here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_pixels

from rethinklab.data.images import ImageData, Images, checked_count
from rethinklab.data.streamed import AnyData, FileImages, StreamedData, read_batches
from rethinklab.errors import ConfigError
from rethinklab.seeds import generator
from rethinklab.values import whole

Batch = tuple[Tensor, Tensor]
Part = tuple[int, int]  # the number of a process, and how many share every batch
WHOLE = (0, 1)
GROUPED = 64  # batches augmented at once on a GPU, whose kernels are then worth their start
GROUPED_VALUES = 2**24  # at most so many bytes of pixels at once
STREAMED = 250  # images in a test batch that is read from files
TESTED = {"cpu": 500, "cuda": 1000}  # images in a test batch


def batch_bounds(count: int, batch_size: int, processes: int = 1) -> list[tuple[int, int]]:
    """Start and end of each batch; the last may be short, and every image is in one.

    A last batch that has less than two images for each process joins the one before it: batch
    normalisation over one value has no variance. Raises ConfigError where several processes
    still have less.
    """
    batch_size = whole("batch size", batch_size, 1)
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < 2 * processes and batch_size > 1:
        (start, _), (_, end) = bounds[-2:]
        bounds[-2:] = [(start, end)]
    smallest = min((end - start for start, end in bounds), default=0)
    if processes > 1 and smallest < 2 * processes:
        raise ConfigError(f"batch size {batch_size} makes batches of {smallest} of the {count} "
                          f"training images, and each of {processes} processes needs two images "
                          f"of every batch; choose {2 * processes} or more, or fewer processes.")
    return bounds


def part_bounds(start: int, end: int, part: Part) -> tuple[int, int]:
    """Start and end of what a process has of the images from `start` to before `end`.

    The parts follow one another and differ by at most one image.
    """
    number, processes = part
    count = end - start
    return start + count * number // processes, start + count * (number + 1) // processes


class Normalise:
    """uint8 (B, H, W, C) to float32 (B, C, H, W), mean and standard deviation removed.

    The result is channels-last in memory. Works on whole rows of W * C values, which is several
    times faster on a CPU than broadcasting over three channels.
    """

    def __init__(self, data: AnyData, device: torch.device | str) -> None:
        width = data.input_shape[2]
        mean = torch.tensor(data.mean, device=device).repeat(width)
        std = torch.tensor(data.std, device=device).repeat(width)
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def __call__(self, pixels: Tensor) -> Tensor:
        rows = pixels.flatten(2).to(torch.float32).mul_(self.scale).add_(self.shift)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)


class TrainingBatches:
    """The training images of a task, shuffled and augmented anew each epoch by (seed, epoch).

    group: how many batches are augmented at once, which changes speed and memory and no image;
    by default one on a CPU and as many as is useful on a GPU. part: of several processes, each
    forms the same batches and keeps its part.
    """

    def __init__(self, data: ImageData, batch_size: int, seed: int,
                 group: int | None = None, part: Part = WHOLE) -> None:
        self.data, self.seed, self.part = data, seed, part
        self.bounds = batch_bounds(len(data.train), batch_size, part[1])
        self.pixels = _channels_last(data.train)
        self.normalise = Normalise(data, self.pixels.device)
        if group is None:
            fitting = GROUPED_VALUES // (batch_size * math.prod(data.input_shape))
            group = max(1, min(GROUPED, fitting)) if self.pixels.is_cuda else 1
        self.group = group

    def __len__(self) -> int:
        return len(self.bounds)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Float32 (B, C, H, W) and int64 (B,) on the data's device; every image is once in one of
        the parts."""
        count, device, pad = len(self.data.train), self.pixels.device, self.data.pad
        order = torch.randperm(count, generator=generator(self.seed, "order", epoch)).to(device)
        draws = generator(self.seed, "augment", epoch)
        shifts = torch.randint(0, 2 * pad + 1, (2, count), generator=draws).to(device)
        mirrored = (torch.rand(count, generator=draws) < 0.5).nonzero().flatten()
        groups = [self.bounds[i : i + self.group] for i in range(0, len(self.bounds), self.group)]
        edges = torch.tensor([group[0][0] for group in groups] + [count])
        cuts = torch.searchsorted(mirrored, edges).tolist()
        mirrored = mirrored.to(device)
        for number, group in enumerate(groups):
            start, end = group[0][0], group[-1][1]
            index = order[start:end]
            pixels = self.pixels.index_select(0, index)
            if pad:
                pixels = crop(pixels, shifts[0, start:end], shifts[1, start:end], pad)
            if self.data.flip:
                chosen = mirrored[cuts[number] : cuts[number + 1]] - start
                pixels[chosen] = pixels.index_select(0, chosen).flip(2)
            images = self.normalise(pixels)
            labels = self.data.train.labels.index_select(0, index)
            for bounds in group:
                first, last = part_bounds(*bounds, self.part)
                yield images[first - start : last - start], labels[first - start : last - start]


def crop(pixels: Tensor, top: Tensor, left: Tensor, pad: int) -> Tensor:
    """Each image of uint8 (B, H, W, C) framed by `pad` zero pixels and cut to H x W again.

    top, left: int64 (B,) in [0, 2 * pad], where the cut begins. Copies whole rows: row i of
    image b starts `((b * frame_height + top + i) * frame_width + left) * C` into the frames.
    """
    count, height, width, channels = pixels.shape
    framed = pad_pixels(pixels, (0, 0, pad, pad, pad, pad))
    tall, wide = framed.shape[1:3]
    image = torch.arange(count, device=pixels.device)[:, None] * tall
    row = image + top[:, None] + torch.arange(height, device=pixels.device)
    starts = (row * wide + left[:, None]) * channels
    rows = framed.flatten().unfold(0, width * channels, 1).index_select(0, starts.flatten())
    return rows.view(count, height, width, channels)


def plain_batches(data: ImageData, images: Images, batch_size: int = 500,
                  part: Part = WHOLE) -> Iterator[Batch]:
    """`images` in order, normalised as `data` says and nothing else; of several processes, each
    has the batches of its turn."""
    normalise = Normalise(data, images.pixels.device)
    number, processes = part
    for start in range(number * batch_size, len(images), processes * batch_size):
        batch = Images(images.pixels[start : start + batch_size],
                       images.labels[start : start + batch_size])
        yield normalise(_channels_last(batch)), batch.labels


class StreamedBatches:
    """The training images of a task on disk, shuffled and augmented anew by (seed, epoch).

    part: of several processes, each reads the files of its part of every batch only.
    """

    def __init__(self, data: StreamedData, batch_size: int, seed: int,
                 part: Part = WHOLE) -> None:
        self.data, self.seed, self.part = data, seed, part
        self.bounds = batch_bounds(len(data.train), batch_size, part[1])
        self.normalise = Normalise(data, data.device)

    def __len__(self) -> int:
        return len(self.bounds)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Float32 (B, C, H, W) and int64 (B,) on the data's device; every image is once in one of
        the parts."""
        draws = generator(self.seed, "order", epoch)
        order = torch.randperm(len(self.data.train), generator=draws).tolist()
        own = (part_bounds(start, end, self.part) for start, end in self.bounds)
        chosen = [order[start:end] for start, end in own]
        for pixels, labels in read_batches(self.data, self.data.train, chosen, (self.seed, epoch)):
            yield self.normalise(pixels), labels


def _plain_stream(data: StreamedData, images: FileImages,
                  batches: list[list[int]]) -> Iterator[Batch]:
    normalise = Normalise(data, data.device)
    for pixels, labels in read_batches(data, images, batches):
        yield normalise(pixels), labels


class Batches(Protocol):
    """What a training run goes through. bounds: start and end of each batch in the epoch's order,
    as it is before the processes share it."""

    data: Any
    bounds: list[tuple[int, int]]

    def __len__(self) -> int:
        """Batches of an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, counted from 0."""


def training_batches(data: AnyData, batch_size: int, seed: int, part: Part = WHOLE) -> Batches:
    """A process's part of shuffled, augmented batches of the training images, on the data's
    device."""
    if isinstance(data, StreamedData):
        return StreamedBatches(data, batch_size, seed, part)
    return TrainingBatches(data, batch_size, seed, part=part)


def test_batches(data: AnyData, device: torch.device | str,
                 part: Part = WHOLE) -> Iterator[Batch]:  # noqa: PT028 - it is no test
    """The test images in order, normalised and nothing else, on `device`.

    part: whole batches are dealt out to the processes in turn, so that batch i is the same for
    any number of them.
    """
    number, processes = part
    if isinstance(data, StreamedData):
        every = range(len(data.test))
        return _plain_stream(data.to(device), data.test, [
            list(every[start : start + STREAMED])
            for start in every[number * STREAMED :: processes * STREAMED]])
    kind = torch.device(device).type
    return plain_batches(data, data.test.to(device), TESTED.get(kind, TESTED["cpu"]), part)


def first_images(data: AnyData, count: int) -> Batch:
    """The first `count` training images without augmentation: float32 (count, C, H, W),
    normalised, and int64 (count,), where the task's images are."""
    if isinstance(data, StreamedData):
        return next(_plain_stream(data, data.train, [list(range(count))]))
    return next(plain_batches(data, data.train.take(torch.arange(count)), count))


def calibration_batch(data: AnyData, count: int, seed: int = 0) -> Batch:
    """`count` training images without augmentation, as balanced over the classes as they allow.

    For methods that look at activations. Drawn from the seed's "calibration" stream, so that the
    same images come on every device. Returns float32 (count, C, H, W), normalised, and int64
    (count,), where the task's images are. Raises ConfigError unless there are that many images.
    """
    index = balanced_sample(data.train.labels, count, seed)
    if isinstance(data, StreamedData):
        return next(_plain_stream(data, data.train, [index.tolist()]))
    return next(plain_batches(data, data.train.take(index), len(index)))


def balanced_sample(labels: Tensor, count: int, seed: int) -> Tensor:
    """Indices, int64 (count,), of different images: classes take turns, each in random order.

    labels: int64 (N,). A class that runs out is passed over.
    """
    count = checked_count(count, len(labels), "training")
    draws = generator(seed, "calibration")
    order = torch.randperm(len(labels), generator=draws)
    order = order[labels.cpu()[order].argsort(stable=True)]  # class by class
    sorted_labels = labels.cpu()[order]
    classes = int(sorted_labels[-1]) + 1
    starts = torch.searchsorted(sorted_labels, torch.arange(classes))
    turn = torch.arange(len(labels)) - starts[sorted_labels]
    place = torch.randperm(classes, generator=draws)[sorted_labels]
    return order[(turn * classes + place).argsort()[:count]]


def _channels_last(images: Images) -> Tensor:
    return images.pixels.permute(0, 2, 3, 1).contiguous()
