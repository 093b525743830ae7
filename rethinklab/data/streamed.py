"""Tasks too large for memory: images are read from their files batch by batch, by workers.

What a worker does to an image depends on (seed, epoch, image) and on nothing else, so that the
number of workers changes no batch.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethinklab.data.decoding import DECODING, default_workers, open_rgb
from rethinklab.data.images import ImageData, random_part, stratified_split
from rethinklab.data.listing import Listing
from rethinklab.errors import DataError
from rethinklab.seeds import generator
from rethinklab.values import plain, settle

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, as in torchvision
ATTEMPTS = 10
MARGIN = 256 / 224  # the shorter side before a centre crop, over the crop's


@dataclass(frozen=True, eq=False)
class FileImages:
    """Labelled images that stay on disk.

    root: the folder that `files`, encoded relative paths (N,), start from. sizes: int64 (N,), in
    bytes. labels: int64 (N,), 0 to number of classes - 1.
    """

    root: Path
    files: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    labels: Tensor

    @classmethod
    def listed(cls, root: Path, listing: Listing) -> FileImages:
        """The files of a listing below `root`. Compact: a million paths are shared by workers."""
        start = len(os.path.join(root, ""))
        names = np.array([os.fsencode(file.path[start:]) for file in listing.files])
        sizes = np.array([file.size for file in listing.files], dtype=np.int64)
        return cls(root, names, sizes, torch.tensor(listing.labels, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> FileImages:
        """The images at `index`, int64 (M,), in that order."""
        places = index.cpu().numpy()
        return FileImages(self.root, self.files[places], self.sizes[places], self.labels[places])


@dataclass(frozen=True, eq=False)
class StreamedData:
    """A classification task whose images are read when they are needed.

    It offers what `ImageData` does to training, testing and pruning, except for the pixels.
    mean, std: per channel, on the 0 to 1 scale. size: side in pixels at which the network sees
    the images. device: where batches are put. workers: processes that read; 0 reads in this one.
    """

    name: str
    train: FileImages
    test: FileImages
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int = 224
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = field(default_factory=default_workers)

    def __post_init__(self) -> None:
        settle(self, mean=tuple(plain(self.mean)), std=tuple(plain(self.std)),
               size=plain(self.size), workers=plain(self.workers))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return 3, self.size, self.size

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the listing (relative paths, sizes in bytes, labels), the normalisation and
        the version of the decoding; the files themselves are not read."""
        settings = ("streamed", DECODING, self.classes, self.mean, self.std, self.size)
        digest = hashlib.sha256(repr(settings).encode())
        for part in (self.train, self.test):
            digest.update(b"\n".join(part.files.tolist()))
            digest.update(part.sizes.tobytes())
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: torch.device | str) -> StreamedData:
        """The same task with its batches on `device`."""
        return replace(self, device=torch.device(device))

    def hold_out(self, fraction: float = 0.1, seed: int = 0) -> StreamedData:
        """As `ImageData.hold_out`: a part of the training images takes the place of the test."""
        chosen, rest = stratified_split(self.train.labels, fraction, seed)
        return replace(self, name=f"{self.name} (held out {fraction:g})",
                       train=self.train.take(rest), test=self.train.take(chosen))

    def subset(self, train: int | None = None, test: int | None = None,
               seed: int = 0) -> StreamedData:
        """As `ImageData.subset`: a seeded random part of the task."""
        return replace(self, name=f"{self.name} (subset)",
                       train=random_part(self.train, train, "training", seed),
                       test=random_part(self.test, test, "test", seed))

    def __repr__(self) -> str:
        return (f"StreamedData({self.name!r}: {len(self.train):,} training and "
                f"{len(self.test):,} test images, 3x{self.size}x{self.size}, "
                f"{self.num_classes} classes)")


AnyData = ImageData | StreamedData


def read_batches(data: StreamedData, images: FileImages, batches: Sequence[list[int]],
                 augment: tuple[int, int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """The images at the indices of each batch: uint8 (B, H, W, C) and int64 (B,) on the device.

    A batch may be empty. augment: (seed, epoch) of random crops and flips; None cuts the centre
    out of every image.
    Raises DataError where a file cannot be read.
    """
    from torch.utils.data import DataLoader

    filled = [batch for batch in batches if batch]
    loader: Any = DataLoader(
        _Views(images, data.size, augment), batch_sampler=filled,  # type: ignore[arg-type]
        num_workers=min(data.workers, len(filled)), pin_memory=data.device.type == "cuda",
        generator=torch.Generator())  # of its own: the global one belongs to dropout
    nothing = (torch.empty(0, data.size, data.size, 3, dtype=torch.uint8),
               torch.empty(0, dtype=torch.int64))
    try:
        read = iter(loader)
        for batch in batches:
            pixels, labels = next(read) if batch else nothing
            yield (pixels.to(data.device, non_blocking=True),
                   labels.to(data.device, non_blocking=True))
    except DataError as error:  # a worker's comes wrapped in its traceback
        reason = str(error).strip().splitlines()[-1].rpartition("DataError: ")[2]
        raise DataError(reason) from error


class _Views:
    """A map-style dataset of what the network sees of each image."""

    def __init__(self, images: FileImages, size: int, augment: tuple[int, int] | None) -> None:
        self.images, self.size, self.augment = images, size, augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = open_rgb(self.images.root / os.fsdecode(self.images.files[index]))
        if self.augment is None:
            view = centre(image, self.size)
        else:
            seed, epoch = self.augment
            view = random_view(image, self.size, generator(seed, "augment", epoch, int(index)))
        return torch.from_numpy(np.array(view)), int(self.images.labels[index])


def centre(image: Any, size: int) -> Any:
    """The shorter side resized to 256/224 of `size`, then the central square; PIL to PIL."""
    from PIL import Image

    width, height = image.size
    short = round(size * MARGIN)
    if width <= height:
        new = (short, int(short * height / width))
    else:
        new = (int(short * width / height), short)
    if new != image.size:
        image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def random_view(image: Any, size: int, draws: torch.Generator) -> Any:
    """A random crop resized to size x size, mirrored half of the time; PIL to PIL.

    The same numbers lead to the same view as torchvision's RandomResizedCrop and
    RandomHorizontalFlip.
    """
    from PIL import Image

    view = image.crop(crop_box(image.width, image.height, draws))
    view = view.resize((size, size), Image.Resampling.BILINEAR)
    if float(torch.rand(1, generator=draws)) < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return view


def crop_box(width: int, height: int, draws: torch.Generator) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a crop of random area and aspect ratio, or a central one
    where ten draws do not fit into the image."""
    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(1).uniform_(low, high, generator=draws)

    limits = math.log(ASPECT[0]), math.log(ASPECT[1])
    for _ in range(ATTEMPTS):
        area = width * height * float(uniform(*AREA))
        aspect = float(torch.exp(uniform(*limits)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(torch.randint(0, height - h + 1, (1,), generator=draws))
            left = int(torch.randint(0, width - w + 1, (1,), generator=draws))
            return left, top, left + w, top + h
    w = min(width, round(height * ASPECT[1]))
    h = min(height, round(width / ASPECT[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
