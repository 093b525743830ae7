"""A folder of the user's own images: one sub-folder a class, the ImageFolder layout."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rethinklab.data.images import ImageData, Images, channel_statistics, stratified_split
from rethinklab.errors import DataError
from rethinklab.values import whole

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TEST_NAMES = ("test", "val", "valid", "validation")
TEST_FRACTION = 0.2
LARGEST_BYTES = 16 * 2**30


@dataclass(frozen=True)
class Listing:
    """The image files of a folder and the class that each belongs to."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def load(path: str | Path, size: int | None = None, seed: int = 0, cache: bool = True,
         **options: Any) -> ImageData:
    """The images under `path`, as RGB: `path/train/CLASS/...` and `path/test/CLASS/...`
    (or val), or `path/CLASS/...`, of which a seeded fifth of every class becomes the test set.

    size: the side in pixels to which the shorter side of each image is resized before a centre
    crop; it can be left out where all images are square and alike. cache: keep the decoded
    pixels under ~/.cache/rethinklab, so that the next load takes no decoding.
    Raises DataError for a folder without images, unreadable images, a single class, or images
    that differ in size while `size` is not given.
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
    test_folder = next((root / n for n in TEST_NAMES if (root / n).is_dir()), None)
    if (root / "train").is_dir() and test_folder is not None:
        train_list, test_list = list_images(root / "train"), list_images(test_folder)
        if train_list.classes != test_list.classes:
            odd = sorted(set(train_list.classes) ^ set(test_list.classes))
            raise DataError(f"{root}: train and {test_folder.name} have different classes; "
                            f"only one of them has {', '.join(odd[:5])}.")
        train = _read(train_list, size, cache)
        side = train.pixels.shape[-1] if size is None else size
        test = _read(test_list, side, cache)
    else:
        train_list = list_images(root / "train" if (root / "train").is_dir() else root)
        everything = _read(train_list, size, cache)
        chosen, rest = stratified_split(everything.labels, TEST_FRACTION, seed)
        train, test = everything.take(rest), everything.take(chosen)
    mean, std = channel_statistics(train.pixels)
    return ImageData(name, train, test, train_list.classes, mean, std)


def list_images(folder: Path) -> Listing:
    """The images below `folder`, class by class in alphabetical order."""
    classes = sorted(entry.name for entry in folder.iterdir()
                     if entry.is_dir() and not entry.name.startswith("."))
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder / name} holds no image ({', '.join(sorted(SUFFIXES))}).")
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(f"{folder} holds no images. Expected one sub-folder for each class, "
                        "for example cats/1.jpg and dogs/1.jpg.")
    if len(classes) < 2:
        raise DataError(f"{folder} has a single class, {classes[0]!r}; "
                        "classification needs two or more sub-folders.")
    return Listing(tuple(files), tuple(labels), tuple(classes))


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
    first = _open_image(files[0]).size
    for file in files:
        found = _open_image(file).size
        odd = (f" where {files[0].name} is {first[0]}x{first[1]}" if found != first else
               " and not square" if found[0] != found[1] else "")
        if odd:
            raise DataError(f"{file} is {found[0]}x{found[1]} pixels{odd}; give one size for all, "
                            "for example size=32 (--size 32).")
    return int(first[0])


def _open_image(file: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; replace or remove it.") from error


def open_rgb(file: Path) -> Any:
    """The decoded PIL image, 8-bit RGB. Raises DataError for a file that is no intact image."""
    with _open_image(file) as image:
        try:
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
    """Named by what is on disk (paths, sizes, times), so that a changed folder is read anew."""
    digest = hashlib.sha256(f"1/{size}".encode())
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
