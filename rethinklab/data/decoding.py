"""Image files to pixels, by several processes where one would keep the user waiting.

No torch is imported here: a process that decodes is to start at once.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rethinklab.bars import make_bar
from rethinklab.errors import DataError

DECODING = 2  # to be raised with any change of the pixels that files are read as
LARGEST_BYTES = 16 * 2**30
BLOCK = 50  # images that a process decodes at a time
PATIENCE = 1.0  # seconds of decoding before others are called to help and a bar is drawn
MOST_WORKERS = 16

Task = tuple[Sequence[str], int, str | None]  # what `read_block` takes
Blocks = Generator[NDArray[np.uint8], None, None]


def decode(files: Sequence[str], size: int | None = None,
           progress: bool = False) -> NDArray[np.uint8]:
    """The pixels of image files, uint8 (N, S, S, 3).

    size: the side S to which each image's shorter side is resized before a centre crop; without
    it, all must be squares of the first one's side. What takes longer than a second is shared by
    as many processes as this one may use cores, except in a process that has a parent: its
    brothers and sisters have the other cores, and a daemon may have no children.
    Raises DataError for the first file that is no intact image or, without `size`, differs.
    """
    side = size or _side(files[0])
    if len(files) * 3 * side * side > LARGEST_BYTES:
        raise DataError(f"{len(files):,} images of {side}x{side} pixels do not fit in memory; "
                        "choose a smaller size=...")
    alike = None if size else os.path.basename(files[0])
    tasks: list[Task] = [(files[start : start + BLOCK], side, alike)
                         for start in range(0, len(files), BLOCK)]
    pixels = np.empty((len(files), side, side, 3), dtype=np.uint8)
    done = 0
    with make_bar(progress, total=len(files), desc="decoding images", unit="image",
                  delay=PATIENCE) as bar, closing(_blocks(tasks)) as blocks:
        for block in blocks:
            pixels[done : done + len(block)] = block
            done += len(block)
            bar.update(len(block))
    return pixels


def _blocks(tasks: Sequence[Task]) -> Blocks:
    """What the tasks give, in their order: begun here, and handed over where it takes long."""
    alone = multiprocessing.parent_process() is not None or default_workers() == 1
    begun = time.monotonic()
    for number, task in enumerate(tasks):
        if not alone and time.monotonic() - begun > PATIENCE:
            yield from _shared(tasks[number:])
            return
        yield read_block(*task)


def _shared(tasks: Sequence[Task]) -> Blocks:
    from loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(min(default_workers(), len(tasks)))
    try:
        yield from executor.map(read_block, *zip(*tasks, strict=True))
    finally:
        executor.shutdown(kill_workers=True)


def default_workers() -> int:
    """A reading process for each core that this one may use, at most 16. Training processes that
    torchrun started on one machine share its cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min((cores or 1) // sharing, MOST_WORKERS))


def read_block(files: Sequence[str], side: int, alike: str | None) -> NDArray[np.uint8]:
    """Some files' pixels, uint8 (N, S, S, 3). alike: the name of the file whose size all must
    have, S x S; None where each is resized and cropped."""
    from PIL import Image, ImageOps

    pixels = np.empty((len(files), side, side, 3), dtype=np.uint8)
    for number, file in enumerate(files):
        rgb = open_rgb(file)
        if rgb.size != (side, side):
            if alike is not None:
                raise _odd(file, rgb.size, f" where {alike} is {side}x{side}")
            rgb = ImageOps.fit(rgb, (side, side), method=Image.Resampling.BILINEAR)
        pixels[number] = np.asarray(rgb)
    return pixels


def _side(file: str) -> int:
    """The side of a square image."""
    width, height = open_rgb(file).size
    if width != height:
        raise _odd(file, (width, height), " and not square")
    return width


def _odd(file: str, found: tuple[int, int], why: str) -> DataError:
    return DataError(f"{file} is {found[0]}x{found[1]} pixels{why}; give one size for all, "
                     "for example size=32 (--size 32).")


def open_rgb(file: str | os.PathLike[str]) -> Any:
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


def _open_image(file: str | os.PathLike[str]) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; replace or remove it.") from error


def _to_rgb(image: Any, file: str | os.PathLike[str]) -> Any:
    """8-bit RGB; grey images of 16 bits keep their upper eight."""
    from PIL import Image

    if image.mode == "F":
        raise DataError(f"{file} holds floating-point values, whose range nobody knows; convert "
                        "the images to 8 bits.")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        image = Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")
