"""Where images come from: `load_data(name)` and the registry of sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rethinklab.data.cifar import OWN, load_cifar10, load_cifar100
from rethinklab.data.digits import load as load_digits
from rethinklab.data.folder import load as load_folder
from rethinklab.data.imagenet import load as load_imagenet
from rethinklab.data.images import ImageData, Images
from rethinklab.data.streamed import AnyData, StreamedData
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.values import plain, whole

__all__ = ["DATASETS", "AnyData", "ImageData", "Images", "StreamedData", "check_dataset",
           "check_normalise", "load_data"]

# Any: to its user a streamed task is like one in memory, and few need to know which it is
DATASETS: dict[str, tuple[Callable[..., Any], str]] = {
    "digits": (load_digits, "handwritten digits in 32x32 scenes, embedded; needs no download"),
    "cifar10": (load_cifar10, "CIFAR-10 through torchvision, downloaded once"),
    "cifar100": (load_cifar100, "CIFAR-100 through torchvision, downloaded once"),
    "folder": (load_folder, "folder:PATH, your own images, one sub-folder a class"),
    "imagenet": (load_imagenet, "imagenet:PATH, a tree with train and val, streamed from disk"),
}
WITH_PATH = ("folder", "imagenet")
NORMALISE = ("own",)


def check_dataset(name: str) -> str:
    """`name` where it is a known source. Raises ConfigError with the nearest match."""
    kind, _, path = str(name).partition(":")
    if kind not in DATASETS and Path(str(name)).expanduser().is_dir():
        raise ConfigError(f"dataset {name!r} is a folder; say folder:{name}.")
    if kind not in DATASETS:
        raise unknown_name("dataset", name, [f"{n}:PATH" if n in WITH_PATH else n
                                             for n in DATASETS])
    if kind in WITH_PATH and not path:
        raise ConfigError(f"dataset {kind!r} needs a path, for example {kind}:~/my-images.")
    if kind not in WITH_PATH and path:
        raise ConfigError(f"dataset {kind!r} takes no path, but {path!r} was given.")
    return name


def check_normalise(normalise: str | None, dataset: str) -> None:
    """Raises ConfigError unless images of `dataset` can be normalised so."""
    if normalise is None:
        return
    if normalise not in NORMALISE:
        raise unknown_name("way to normalise", normalise, NORMALISE)
    if dataset not in OWN:
        raise ConfigError(f"normalise {normalise!r} applies to {' and '.join(OWN)}; {dataset} has "
                          "one mean and standard deviation only, so leave it out.")


def load_data(name: str, *, root: str | Path | None = None, size: int | None = None,
              seed: int = 0, hold_out: float | None = None,
              images: int | None = None, normalise: str | None = None) -> ImageData:
    """Load a classification task as uint8 tensors; "imagenet:PATH" gives a `StreamedData`, which
    offers the same to training, testing and pruning and leaves the images in their files.

    name: "digits", "cifar10", "cifar100", "folder:PATH" or "imagenet:PATH". root: where CIFAR
    lies or is downloaded to (else $RETHINKLAB_DATA, else ~/.cache/rethinklab/data). size: side in
    pixels, for a folder or imagenet. seed: of the split of a folder that has no test part.
    hold_out: this share of the training images takes the place of the test images. images: at
    most so many training and so many test images, a random part of each. normalise: "own" for
    CIFAR by the mean and standard deviation of its own training images, as the study's code for
    soft filter pruning does, in place of the constants of its other scripts.
    Raises ConfigError for an unknown name, DataError where images are missing or unreadable.
    """
    kind, _, path = check_dataset(name).partition(":")
    loader = DATASETS[kind][0]
    check_normalise(normalise, name)
    if kind in WITH_PATH:
        data = loader(path, size=size, seed=seed)
    elif size is not None:
        raise ConfigError(f"size applies to folders and imagenet; {kind} images have a size of "
                          "their own.")
    else:
        data = loader(root=root, normalise=normalise)
    images = None if images is None else whole("images", images, 1)
    if images is not None and images < max(len(data.train), len(data.test)):
        data = data.subset(*(images if images < len(part) else None
                             for part in (data.train, data.test)))
    held = plain(hold_out)
    return data.hold_out(held) if held else data
