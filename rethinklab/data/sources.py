"""The registry of sources, and `load_data(name)`."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rethinklab.data.cifar import OWN, load_cifar10, load_cifar100
from rethinklab.data.digits import load as load_digits
from rethinklab.data.folder import load as load_folder
from rethinklab.data.imagenet import load as load_imagenet
from rethinklab.data.images import ImageData
from rethinklab.data.streamed import AnyData, StreamedData
from rethinklab.errors import ConfigError, DataError, RethinkError, unknown_name
from rethinklab.own import import_named
from rethinklab.values import plain, whole

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
MEMORY = "memory:"  # what the name begins with of images that were handed over in this process
OWN_DATA = "or your own as package.module:function"
_HANDED_OVER: dict[str, AnyData] = {}


def dataset_name(dataset: str | AnyData) -> str:
    """The name of a source, of images in memory one that this process alone can load.

    Raises ConfigError for anything that is neither a name nor images.
    """
    if isinstance(dataset, (ImageData, StreamedData)):
        name = f"{MEMORY}{dataset.name}#{dataset.fingerprint}"
        _HANDED_OVER[name] = dataset
        return name
    if not isinstance(dataset, str):
        raise ConfigError(f"dataset must be a name such as folder:~/birds or an rl.ImageData, not "
                          f"{dataset!r}.")
    return check_dataset(dataset)


def check_dataset(name: str) -> str:
    """`name` where it is a known source, or has the form "package.module:function". Raises
    ConfigError with the nearest match."""
    kind, _, path = str(name).partition(":")
    if kind not in DATASETS and Path(str(name)).expanduser().is_dir():
        raise ConfigError(f"dataset {name!r} is a folder; say folder:{name}.")
    if str(name).startswith(MEMORY) or _is_own(kind, path):
        return name
    if kind not in DATASETS:
        raise unknown_name("dataset", name, [*(f"{n}:PATH" if n in WITH_PATH else n
                                               for n in DATASETS), OWN_DATA])
    if kind in WITH_PATH and not path:
        raise ConfigError(f"dataset {kind!r} needs a path, for example {kind}:~/my-images.")
    if kind not in WITH_PATH and path:
        raise ConfigError(f"dataset {kind!r} takes no path, but {path!r} was given.")
    return name


def _is_own(kind: str, path: str) -> bool:
    """Whether "kind:path" can be a function of the user's, not a known source misspelt."""
    return (re.fullmatch(r"[A-Za-z_][\w.]*", kind) is not None and path.isidentifier()
            and kind not in DATASETS and not get_close_matches(kind.lower(), DATASETS))


def _load_own(name: str) -> AnyData:
    """What was handed over by the name, or what the user's function of that name gives."""
    if name in _HANDED_OVER:
        return _HANDED_OVER[name]
    if name.startswith(MEMORY):
        shown = name.removeprefix(MEMORY).partition("#")[0]
        raise DataError(f"the images {shown!r} were in the memory of another process and have no "
                        "name to load them by; make the study with the same ImageData here, or "
                        "give dataset=\"package.module:function\" of what makes them.")
    data = import_named("dataset", name)
    try:
        data = data() if callable(data) else data
    except RethinkError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise DataError(f"dataset {name!r} cannot be made ({type(error).__name__}: {error}); it "
                        "must be a function without arguments that gives an rl.ImageData."
                        ) from error
    if not isinstance(data, (ImageData, StreamedData)):
        raise ConfigError(f"dataset {name!r} gives a {type(data).__name__}; it must be a function "
                          "without arguments that gives an rl.ImageData.")
    return data


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
              images: int | None = None, normalise: str | None = None,
              progress: bool = True) -> ImageData:
    """Load a classification task as uint8 tensors; "imagenet:PATH" gives a `StreamedData`, which
    offers the same to training, testing and pruning and leaves the images in their files.

    name: "digits", "cifar10", "cifar100", "folder:PATH", "imagenet:PATH", or of a function of your
    own that takes nothing and gives an `ImageData`, "package.module:function". root: where CIFAR
    lies or is downloaded to (else $RETHINKLAB_DATA, else ~/.cache/rethinklab/data). size: side in
    pixels, for a folder or imagenet. seed: of the split of a folder that has no test part.
    hold_out: this share of the training images takes the place of the test images. images: at
    most so many training and so many test images, a random part of each. normalise: "own" for
    CIFAR by the mean and standard deviation of its own training images, as the study's code for
    soft filter pruning does, in place of the constants of its other scripts. progress: draw a bar
    while a folder is decoded for the first time, where that takes longer than a second.
    Raises ConfigError for an unknown name, DataError where images are missing or unreadable.
    """
    kind, _, path = check_dataset(name).partition(":")
    check_normalise(normalise, name)
    if kind in WITH_PATH:
        data = DATASETS[kind][0](path, size=size, seed=seed, progress=progress)
    elif size is not None:
        raise ConfigError(f"size applies to folders and imagenet; {kind} images have a size of "
                          "their own.")
    elif kind not in DATASETS:
        data = _load_own(name)
    else:
        data = DATASETS[kind][0](root=root, normalise=normalise)
    images = None if images is None else whole("images", images, 1)
    if images is not None and images < max(len(data.train), len(data.test)):
        data = data.subset(*(images if images < len(part) else None
                             for part in (data.train, data.test)))
    held = plain(hold_out)
    return data.hold_out(held) if held else data
