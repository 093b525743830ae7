"""How a folder of images is laid out: its parts, their classes, and the files of each class."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from rethinklab.errors import DataError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
PARTS = {"training": ("train", "training"), "test": ("test", "testing"),
         "validation": ("val", "valid", "validation", "dev")}
# what macOS, network drives and Windows leave beside images, thumbnails and deleted ones among it
LEFT_BEHIND = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}


class ImageFile(NamedTuple):
    """An image file as it was found. size: in bytes. stamp: the real path, size and time of
    change, by which a file that was changed or exchanged is told from the one before."""

    path: str
    size: int
    stamp: str


@dataclass(frozen=True)
class Listing:
    """The image files of a folder and the class that each belongs to."""

    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def take(self, index: Sequence[int]) -> Listing:
        """The files at `index`, in that order."""
        return Listing(tuple(self.files[i] for i in index), tuple(self.labels[i] for i in index),
                       self.classes)


def find_parts(root: Path) -> tuple[Path, Path | None]:
    """The folders of the training and of the test images; (root, None) where `root` has no parts.

    Parts are the sub-folders called train or training; test or testing; val, valid, validation or
    dev, in any case. The test part is preferred to the validation part, and one without class
    folders is passed over where the other has them; the one that is not used is said in a warning.
    Sub-folders without images beside the parts do not matter.
    Raises DataError where one part stands there under two names, where training images are
    missing, where other folders of images stand beside parts (which may be classes called like
    parts), where a lone training part has a class called like a part (two parts with the same
    classes may have it), and where all sub-folders have names such as training_set.
    """
    folders = visible_folders(root)
    found = {part: [f for f in folders if part_called(f.name) == part] for part in PARTS}
    for part, same in found.items():
        if len(same) > 1:
            raise DataError(f"{root} has more than one {part} part ({_names(same)}); keep one.")
    present = list(chain(*found.values()))
    if not present:
        if folders and all(_resembles_part(folder.name) for folder in folders):
            raise DataError(f"{root} has no classes but what looks like parts ({_names(folders)}); "
                            "call them train and test.")
        return root, None
    beside = [f for f in folders if f not in present and any(walk_images(f))]
    if beside:
        raise DataError(f"{root} is ambiguous, since {_names(beside)} with images stands beside "
                        f"{_names(present)}; give a class that is called like a part another name, "
                        "or leave nothing beside the parts.")
    if not found["training"]:
        raise DataError(f"{root} has {_names(present)} but no training images; put them into "
                        f"{root / 'train'}.")
    training, held = found["training"][0], _held(root, [*found["test"], *found["validation"]])
    inner = [folder for folder in visible_folders(training) if part_called(folder.name)]
    if inner and held is None:
        raise DataError(f"{training} is ambiguous, since {_names(inner)} is called like a part but "
                        f"stands among its classes; move a part up beside {training.name}, or give "
                        "a class another name.")
    return training, held


def _held(root: Path, candidates: list[Path]) -> Path | None:
    """The first with class folders; the others are named in a warning."""
    chosen = next((f for f in candidates if visible_folders(f)), next(iter(candidates), None))
    for folder in candidates:
        if chosen is not None and folder != chosen:
            reason = "" if visible_folders(folder) else " and it has no class folders"
            warnings.warn(f"{root}: {folder.name} is not used, since {chosen.name} is the test "
                          f"set{reason}.", stacklevel=2)
    return chosen


def list_parts(training: Path, held: Path) -> tuple[Listing, Listing]:
    """Both parts as `list_images` has them. Raises DataError where they differ in classes."""
    train, test = list_images(training), list_images(held)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"{training.parent}: {training.name} and {held.name} have different "
                        f"classes; only one of them has {', '.join(odd[:5])}.")
    return train, test


def list_images(folder: Path) -> Listing:
    """The images below `folder`, class by class in alphabetical order.

    Hidden files and folders (names that begin with a dot) and what operating systems leave behind
    (`LEFT_BEHIND`) are passed over at every depth. Warns of a class divided into parts.
    Raises DataError for a folder without images, a class without images, or a single class.
    """
    classes = [entry.name for entry in visible_folders(folder)]
    files: list[ImageFile] = []
    labels: list[int] = []
    divided: list[Path] = []
    for label, name in enumerate(classes):
        found = list(walk_images(folder / name))
        if not found:
            raise DataError(f"{folder / name} holds no image ({', '.join(sorted(SUFFIXES))}).")
        files += found
        labels += [label] * len(found)
        start = len(os.path.join(folder, name, ""))
        below = (image.path[start:].partition(os.sep) for image in found)
        inner = {first for first, deeper, _ in below if deeper}
        divided += [folder / name / part for part in sorted(inner) if part_called(part)]
    if not files:
        raise DataError(f"{folder} holds no images. Expected one sub-folder for each class, "
                        "for example cats/1.jpg and dogs/1.jpg.")
    if len(classes) < 2:
        raise DataError(f"{folder} has a single class, {classes[0]!r}; "
                        "classification needs two or more sub-folders.")
    if divided:
        warnings.warn(f"{divided[0]} is not used as a part but as images of the class "
                      f"{divided[0].parent.name}, since parts stand above the classes.",
                      stacklevel=2)
    return Listing(tuple(files), tuple(labels), tuple(classes))


def walk_images(folder: str | Path) -> Iterator[ImageFile]:
    """The image files in `folder` and below, in the order of their names at every depth; links to
    folders are not followed. Each is looked at once and not opened."""
    return _walk(os.fspath(folder), os.path.realpath(folder))


def _walk(folder: str, real: str) -> Iterator[ImageFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.path.normcase(entry.name))
    except OSError:
        return  # not the user's to read, and so none of the images meant
    place = os.path.join(real, "")
    for entry in entries:
        if not is_visible(entry.name):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _walk(entry.path, place + entry.name)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            status = entry.stat()
            path = os.path.realpath(entry.path) if entry.is_symlink() else place + entry.name
            yield ImageFile(entry.path, status.st_size,
                            f"{path}|{status.st_size}|{status.st_mtime_ns}")


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders that may be parts or classes, by name."""
    return sorted((entry for entry in folder.iterdir()
                   if is_visible(entry.name) and entry.is_dir()), key=lambda entry: entry.name)


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name may be the user's own, and no hidden leftover."""
    return not name.startswith(".") and name.casefold() not in LEFT_BEHIND


def part_called(name: str) -> str | None:
    """The part of which `name` is a usual name, a key of PARTS."""
    return next((part for part, names in PARTS.items() if name.casefold() in names), None)


def _resembles_part(name: str) -> bool:
    return any(part_called(word) for word in re.split(r"[^a-z]+", name.casefold()))


def _names(folders: Iterable[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
