"""Where images come from: `load_data(name)` and the registry of sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rethinklab.data.cifar import load_cifar10, load_cifar100
from rethinklab.data.digits import load as load_digits
from rethinklab.data.folder import load as load_folder
from rethinklab.data.images import ImageData, Images
from rethinklab.errors import ConfigError, unknown_name

__all__ = ["DATASETS", "ImageData", "Images", "check_dataset", "load_data"]

DATASETS: dict[str, tuple[Callable[..., ImageData], str]] = {
    "digits": (load_digits, "handwritten digits in 32x32 scenes, embedded; needs no download"),
    "cifar10": (load_cifar10, "CIFAR-10 through torchvision, downloaded once"),
    "cifar100": (load_cifar100, "CIFAR-100 through torchvision, downloaded once"),
    "folder": (load_folder, "folder:PATH, your own images, one sub-folder a class"),
}


def check_dataset(name: str) -> str:
    """`name` where it is a known source. Raises ConfigError with the nearest match."""
    kind, _, path = str(name).partition(":")
    if kind not in DATASETS and Path(str(name)).expanduser().is_dir():
        raise ConfigError(f"dataset {name!r} is a folder; say folder:{name}.")
    if kind not in DATASETS:
        raise unknown_name("dataset", name, [n if n != "folder" else "folder:PATH"
                                             for n in DATASETS])
    if kind == "folder" and not path:
        raise ConfigError("dataset 'folder' needs a path, for example folder:~/my-images.")
    if kind != "folder" and path:
        raise ConfigError(f"dataset {kind!r} takes no path, but {path!r} was given.")
    return name


def load_data(name: str, *, root: str | Path | None = None, size: int | None = None,
              seed: int = 0) -> ImageData:
    """Load a classification task as uint8 tensors.

    name: "digits", "cifar10", "cifar100" or "folder:PATH". root: where CIFAR lies or is
    downloaded to (else $RETHINKLAB_DATA, else ~/.cache/rethinklab/data). size: side in pixels,
    for a folder. seed: of the split of a folder that has no test part.
    Raises ConfigError for an unknown name, DataError where images are missing or unreadable.
    """
    kind, _, path = check_dataset(name).partition(":")
    loader = DATASETS[kind][0]
    if kind == "folder":
        return loader(path, size=size, seed=seed)
    if size is not None:
        raise ConfigError(f"size applies to folders; {kind} images have a size of their own.")
    return loader(root=root)
