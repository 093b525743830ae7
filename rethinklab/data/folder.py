"""A folder of the user's own images: one sub-folder a class, the ImageFolder layout."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethinklab.data.cache import Decoded, cache_file, open_shared, save
from rethinklab.data.decoding import decode
from rethinklab.data.images import ImageData, Images, channel_statistics, stratified_split
from rethinklab.data.listing import Listing, find_parts, list_images, list_parts
from rethinklab.errors import DataError
from rethinklab.values import whole

TEST_FRACTION = 0.2


def load(path: str | Path, size: int | None = None, seed: int = 0, cache: bool = True,
         progress: bool = True, **options: Any) -> ImageData:
    """The images under `path`, as RGB: `path/train/CLASS/...` and `path/test/CLASS/...`
    (or val), or `path/CLASS/...`, of which a seeded fifth of every class becomes the test set.

    `find_parts` says which names parts may have and what is ambiguous, `list_images` which files
    are passed over. Photographs are turned as their EXIF orientation says.
    size: the side in pixels to which the shorter side of each image is resized before a centre
    crop; it can be left out where all images are square and alike. cache: keep the decoded
    pixels under ~/.cache/rethinklab, from where the next load maps them: processes share their
    memory, and nothing is decoded while the names, sizes and times of the files are what they
    were (`rethinklab.data.cache` says what else is checked). progress: draw a bar where decoding
    takes longer than a second.
    Raises DataError for a folder without images, unreadable images, a single class, ambiguous
    parts, or images that differ in size while `size` is not given.
    """
    size = None if size is None else check_size(size)
    progress = progress and multiprocessing.parent_process() is None
    try:
        return _load(Path(path).expanduser(), size, seed, cache, progress)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise DataError(f"the images in {path} cannot be read ({error}).") from error


def check_size(size: object) -> int:
    """`size` as a side in pixels. Raises ConfigError unless it is a whole number, 8 or more."""
    return whole("size", size, 8, rule="a whole number of pixels, 8 or more")


def _load(root: Path, size: int | None, seed: int, cache: bool, progress: bool) -> ImageData:
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.")
    name = f"folder:{root.resolve().name}"
    training, held = find_parts(root)
    if held is None:
        found = list_images(training)
        chosen, rest = stratified_split(_labels(found), TEST_FRACTION, seed)
        train, test = found.take(rest.tolist()), found.take(chosen.tolist())
    else:
        train, test = list_parts(training, held)
    read = _cached if cache else _decode
    decoded = read(train, test, size, progress)
    return ImageData(name, Images(_channels_first(decoded.train), _labels(train)),
                     Images(_channels_first(decoded.test), _labels(test)),
                     train.classes, decoded.mean, decoded.std)


def _cached(train: Listing, test: Listing, size: int | None, progress: bool) -> Decoded:
    file = cache_file((image.stamp for part in (train, test) for image in part.files), size)
    shared = open_shared(file)
    if shared is None:
        decoded = _decode(train, test, size, progress)
        save(file, decoded)
        shared = open_shared(file) or decoded
    return shared


def _decode(train: Listing, test: Listing, size: int | None, progress: bool) -> Decoded:
    """Test images take the side of the training images where no size is given."""
    first = decode([image.path for image in train.files], size, progress)
    second = decode([image.path for image in test.files], size or first.shape[1], progress)
    return Decoded(first, second, *channel_statistics(_channels_first(first)))


def _labels(listing: Listing) -> Tensor:
    return torch.tensor(listing.labels, dtype=torch.int64)


def _channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, S, S, 3) seen as (N, 3, S, S): in memory the channels stay last, as batches want
    them, so that training makes no second copy."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
