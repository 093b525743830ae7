"""Mini-batches from images that live on the training device.

Crop, flip and normalisation are tensor operations on whole batches, on the device. The random
numbers of an epoch are drawn on the CPU and moved over once, so that an epoch is the same on
every device and no step waits for a transfer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_pixels

from rethinklab.data.images import ImageData, Images
from rethinklab.errors import ConfigError
from rethinklab.seeds import generator


def batch_bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and end of each batch; the last may be short, and every image is in one.

    A last batch of a single image joins the one before it: batch normalisation over one value
    has no variance.
    """
    if batch_size < 1:
        raise ConfigError(f"batch size {batch_size} must be 1 or more.")
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1 and batch_size > 1:
        (start, _), (_, end) = bounds[-2:]
        bounds[-2:] = [(start, end)]
    return bounds


class Normalise:
    """uint8 (B, H, W, C) to float32 (B, C, H, W), mean and standard deviation removed.

    The result is channels-last in memory. Works on whole rows of W * C values, which is several
    times faster on a CPU than broadcasting over three channels.
    """

    def __init__(self, data: ImageData, device: torch.device | str) -> None:
        width = data.input_shape[2]
        mean = torch.tensor(data.mean, device=device).repeat(width)
        std = torch.tensor(data.std, device=device).repeat(width)
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def __call__(self, pixels: Tensor) -> Tensor:
        rows = pixels.flatten(2).to(torch.float32).mul_(self.scale).add_(self.shift)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)


class TrainingBatches:
    """The training images of a task, shuffled and augmented anew each epoch by (seed, epoch)."""

    def __init__(self, data: ImageData, batch_size: int, seed: int) -> None:
        self.data, self.seed = data, seed
        self.bounds = batch_bounds(len(data.train), batch_size)
        self.pixels = _channels_last(data.train)
        self.normalise = Normalise(data, self.pixels.device)

    def __len__(self) -> int:
        return len(self.bounds)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Float32 (B, C, H, W) and int64 (B,) on the data's device, every image once."""
        count, device, pad = len(self.data.train), self.pixels.device, self.data.pad
        order = torch.randperm(count, generator=generator(self.seed, "order", epoch)).to(device)
        draws = generator(self.seed, "augment", epoch)
        shifts = torch.randint(0, 2 * pad + 1, (2, count), generator=draws).to(device)
        mirrored = (torch.rand(count, generator=draws) < 0.5).nonzero().flatten()
        edges = torch.tensor([start for start, _ in self.bounds] + [count])
        cuts = torch.searchsorted(mirrored, edges).tolist()
        mirrored = mirrored.to(device)
        for number, (start, end) in enumerate(self.bounds):
            index = order[start:end]
            pixels = self.pixels.index_select(0, index)
            if pad:
                pixels = crop(pixels, shifts[0, start:end], shifts[1, start:end], pad)
            if self.data.flip:
                chosen = mirrored[cuts[number] : cuts[number + 1]] - start
                pixels[chosen] = pixels.index_select(0, chosen).flip(2)
            yield self.normalise(pixels), self.data.train.labels.index_select(0, index)


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


def plain_batches(data: ImageData, images: Images,
                  batch_size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """`images` in order, normalised as `data` says and nothing else."""
    normalise = Normalise(data, images.pixels.device)
    for start in range(0, len(images), batch_size):
        part = Images(images.pixels[start : start + batch_size],
                      images.labels[start : start + batch_size])
        yield normalise(_channels_last(part)), part.labels


def _channels_last(images: Images) -> Tensor:
    return images.pixels.permute(0, 2, 3, 1).contiguous()
