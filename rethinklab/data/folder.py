"""A folder of the user's own images: one sub-folder a class, the ImageFolder layout."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rethinklab.data.images import ImageData, Images, channel_statistics, stratified_split
from rethinklab.data.listing import Listing, find_parts, list_images, list_parts
from rethinklab.errors import DataError
from rethinklab.values import whole

TEST_FRACTION = 0.2
LARGEST_BYTES = 16 * 2**30
DECODING = 2  # to be raised with any change of the pixels that files are read as


def load(path: str | Path, size: int | None = None, seed: int = 0, cache: bool = True,
         **options: Any) -> ImageData:
    """The images under `path`, as RGB: `path/train/CLASS/...` and `path/test/CLASS/...`
    (or val), or `path/CLASS/...`, of which a seeded fifth of every class becomes the test set.

    `find_parts` says which names parts may have and what is ambiguous, `list_images` which files
    are passed over. Photographs are turned as their EXIF orientation says.
    size: the side in pixels to which the shorter side of each image is resized before a centre
    crop; it can be left out where all images are square and alike. cache: keep the decoded
    pixels under ~/.cache/rethinklab, so that the next load takes no decoding.
    Raises DataError for a folder without images, unreadable images, a single class, ambiguous
    parts, or images that differ in size while `size` is not given.
    """
    size = None if size is None else check_size(size)
    try:
        return _load(Path(path).expanduser(), size, seed, cache)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise DataError(f"the images in {path} cannot be read ({error}).") from error


def check_size(size: object) -> int:
    """`size` as a side in pixels. Raises ConfigError unless it is a whole number, 8 or more."""
    return whole("size", size, 8, rule="a whole number of pixels, 8 or more")


def _load(root: Path, size: int | None, seed: int, cache: bool) -> ImageData:
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.")
    name = f"folder:{root.resolve().name}"
    training, held = find_parts(root)
    if held is None:
        listing = list_images(training)
        everything = _read(listing, size, cache)
        chosen, rest = stratified_split(everything.labels, TEST_FRACTION, seed)
        train, test = everything.take(rest), everything.take(chosen)
    else:
        listing, test_listing = list_parts(training, held)
        train = _read(listing, size, cache)
        test = _read(test_listing, size or train.pixels.shape[-1], cache)
    mean, std = channel_statistics(train.pixels)
    return ImageData(name, train, test, listing.classes, mean, std)


def _read(listing: Listing, size: int | None, cache: bool) -> Images:
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    store = _cache_file(listing.files, size) if cache else None
    if store is not None and store.is_file():
        try:
            return Images(torch.from_numpy(np.load(store)), labels)
        except (ValueError, OSError, EOFError, DataError):
            store.unlink(missing_ok=True)  # cut short by a full disk, say: decode again
    pixels = _decode(listing.files, size)
    if store is not None:
        _save_cache(store, pixels)
    return Images(torch.from_numpy(pixels), labels)


def _decode(files: Sequence[Path], size: int | None) -> NDArray[np.uint8]:
    """Pixels, uint8 (N, 3, S, S)."""
    side = size or _common_side(files)
    if len(files) * 3 * side * side > LARGEST_BYTES:
        raise DataError(f"{len(files):,} images of {side}x{side} pixels do not fit in memory; "
                        "choose a smaller size=...")
    pixels = np.empty((len(files), 3, side, side), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels[index] = _read_image(file, side).transpose(2, 0, 1)
    return pixels


def _common_side(files: Sequence[Path]) -> int:
    """The side that all images share, read from their headers."""
    first = _size(files[0])
    for file in files:
        found = _size(file)
        odd = (f" where {files[0].name} is {first[0]}x{first[1]}" if found != first else
               " and not square" if found[0] != found[1] else "")
        if odd:
            raise DataError(f"{file} is {found[0]}x{found[1]} pixels{odd}; give one size for all, "
                            "for example size=32 (--size 32).")
    return first[0]


def _size(file: Path) -> tuple[int, int]:
    """Width and height as seen: turning changes neither of a square, whose header is enough."""
    with _open_image(file) as image:
        width, height = image.size
    if width != height:
        width, height = open_rgb(file).size
    return width, height


def _open_image(file: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; replace or remove it.") from error


def open_rgb(file: Path) -> Any:
    """The decoded PIL image, 8-bit RGB, turned as its EXIF orientation says.

    Raises DataError for a file that is no intact image.
    """
    from PIL import ImageOps

    with _open_image(file) as image:
        try:
            image.load()
            with suppress(Exception):  # damaged EXIF raises anything and says nothing of the pixels
                ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image, file)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{file} is damaged ({error}); replace or remove it.") from error


def _read_image(file: Path, side: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    rgb = open_rgb(file)
    if rgb.size != (side, side):
        rgb = ImageOps.fit(rgb, (side, side), method=Image.Resampling.BILINEAR)
    return np.asarray(rgb)


def _to_rgb(image: Any, file: Path) -> Any:
    """8-bit RGB; grey images of 16 bits keep their upper eight."""
    from PIL import Image

    if image.mode == "F":
        raise DataError(f"{file} holds floating-point values, whose range nobody knows; convert "
                        "the images to 8 bits.")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        image = Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _cache_file(files: Sequence[Path], size: int | None) -> Path:
    """Named by what is on disk (paths, sizes, times), so that a changed folder is read anew,
    and by the version of the decoding."""
    digest = hashlib.sha256(f"{DECODING}/{size}".encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "rethinklab" / "folders" / f"{digest.hexdigest()[:24]}.npy"


def _save_cache(store: Path, pixels: NDArray[np.uint8]) -> None:
    """Best effort: a read-only home or a full disk costs time, not the run."""
    draft = store.with_name(f"{store.stem}-{uuid.uuid4().hex}.tmp")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as handle:
            np.save(handle, pixels)
        os.replace(draft, store)
    except OSError:
        draft.unlink(missing_ok=True)
