"""Decoded folders, kept in files whose pages any number of processes share.

A file begins with a page of JSON (how many training and test images, their side, the channels'
mean and standard deviation), goes on with the pixels as bytes, (N, S, S, 3), the training images
first, and ends with a CRC-32 of all that stands before.

What is checked when: the name of a file is a hash of every image file's real path, size and time
of change, which are looked at on each loading, while the images themselves are not opened. Every
opening compares the CRC-32 of the whole file, a pass over the memory that is mapped anyhow and
that runs at gigabytes a second; a flipped byte, a file cut short and a stretch of zeros are found,
and the images are decoded again. What happens to the file later, while it is mapped, is not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rethinklab.data.decoding import DECODING
from rethinklab.errors import DataError

PAGE = 4096
CHECKSUM = 4  # bytes
LEFT = {".npy", ".pixels", ".tmp"}  # of this version, of an older one, and of killed processes


@dataclass(frozen=True)
class Decoded:
    """The pixels of a folder. train, test: uint8 (N, S, S, 3). mean, std: of each channel of the
    training images, on the 0 to 1 scale."""

    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Cleared:
    """What `clear` found: the folder, how many files it removed, and their bytes."""

    folder: Path
    files: int
    freed: int

    def __str__(self) -> str:
        what = "file" if self.files == 1 else "files"
        return (f"{self.files} {what} of decoded images removed from {self.folder}, "
                f"{self.freed / 1e6:,.1f} MB freed." if self.files else
                f"No decoded images are kept in {self.folder}.")


def cache_folder() -> Path:
    """Where decoded folders are kept: $XDG_CACHE_HOME/rethinklab/folders, or below ~/.cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "rethinklab" / "folders"


def cache_file(stamps: Iterable[str], size: int | None) -> Path:
    """Where the pixels of the image files with these stamps belong, decoded at `size`: any other
    file, order, size or version of the decoding has another place."""
    digest = hashlib.sha256(f"{DECODING}/{size}".encode())
    for stamp in stamps:
        digest.update(os.fsencode(f"{stamp}\n"))
    return cache_folder() / f"{digest.hexdigest()[:24]}.pixels"


def open_shared(file: Path) -> Decoded | None:
    """The pixels in `file`, mapped and not copied; None where there is no such file or it is
    damaged.

    All processes that open it share its pages. The mapping is copy-on-write: whoever writes into
    the pixels has a copy of the pages concerned, and neither the file nor another process changes.
    """
    try:
        mapped = np.memmap(file, np.uint8, mode="c")
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    body, checksum = mapped[:-CHECKSUM], mapped[-CHECKSUM:].tobytes()
    if len(body) < PAGE or zlib.crc32(body.data) != int.from_bytes(checksum, "little"):
        return None
    told = json.loads(body[:PAGE].tobytes())
    pixels = body[PAGE:].view(np.ndarray).reshape(-1, told["side"], told["side"], 3)
    return Decoded(pixels[: told["train"]], pixels[told["train"] :], tuple(told["mean"]),
                   tuple(told["std"]))


def save(file: Path, decoded: Decoded) -> None:
    """Write `file` as a whole or not at all. Best effort: a read-only home or a full disk costs
    time, not the run."""
    told = {"train": len(decoded.train), "side": decoded.train.shape[1], "mean": decoded.mean,
            "std": decoded.std}
    draft = file.with_name(f"{file.stem}-{uuid.uuid4().hex}.tmp")
    checksum = 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as handle:
            for part in (json.dumps(told).encode().ljust(PAGE), decoded.train.data,
                         decoded.test.data):
                handle.write(part)
                checksum = zlib.crc32(part, checksum)
            handle.write(checksum.to_bytes(CHECKSUM, "little"))
        os.replace(draft, file)
    except OSError:
        with suppress(OSError):
            draft.unlink()


def clear() -> Cleared:
    """Remove all decoded folders; the next loading of each decodes it anew. The images themselves
    stay where they are, and so does what processes have mapped already.

    Raises DataError where a file cannot be removed.
    """
    folder, files, freed = cache_folder(), 0, 0
    for file in sorted(folder.glob("*")):
        if file.suffix in LEFT:
            try:
                size = file.stat().st_size
                file.unlink()
            except OSError as error:
                raise DataError(f"{file} cannot be removed ({error.strerror}); end what uses it, "
                                "or remove it by hand.") from error
            files, freed = files + 1, freed + size
    return Cleared(folder, files, freed)
