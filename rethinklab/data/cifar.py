"""CIFAR-10 and CIFAR-100 through torchvision, downloaded once into a local folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rethinklab.data.images import ImageData, Images
from rethinklab.errors import DataError, first_line

ROOT_VARIABLE = "RETHINKLAB_DATA"

# The study normalises CIFAR-100 with the constants of CIFAR-10, too (released code).
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
# But its code for soft filter pruning takes those of each, given on the scale of 0 to 255.
OWN = {"cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
       "cifar100": ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4))}


def data_root(root: str | Path | None = None) -> Path:
    """Where downloads live: `root`, else $RETHINKLAB_DATA, else ~/.cache/rethinklab/data."""
    chosen = root or os.environ.get(ROOT_VARIABLE) or Path.home() / ".cache" / "rethinklab" / "data"
    return Path(chosen).expanduser()


def load(name: str, root: str | Path | None = None, download: bool = True,
         normalise: str | None = None, **options: Any) -> ImageData:
    """CIFAR: 50,000 training and 10,000 test images, 3x32x32, 10 or 100 classes.

    normalise: "own" for the mean and standard deviation of these very images in place of those
    that the study has for both.
    Raises DataError where the files are neither under `root` nor to be downloaded.
    """
    from torchvision import datasets

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    folder = data_root(root)

    def read(train: bool) -> Any:
        try:
            return source(folder, train=train, download=False)
        except RuntimeError:
            if not download:
                raise
            folder.mkdir(parents=True, exist_ok=True)
            return source(folder, train=train, download=True)

    try:
        parts = [read(train) for train in (True, False)]
    except Exception as error:  # torchvision passes on whatever the network or the files raise
        raise DataError(
            f"{name} could not be read from {folder} nor downloaded ({first_line(error)}). "
            f"Download {source.url} where there is a network and put it there, or name the folder "
            f"that has it with root=... (--root) or the variable {ROOT_VARIABLE}."
        ) from error
    train, test = (Images(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
                          torch.tensor(part.targets, dtype=torch.int64)) for part in parts)
    mean, std = (MEAN, STD) if normalise is None else (
        tuple(value / 255 for value in values) for values in OWN[name])
    return ImageData(name, train, test, tuple(parts[0].classes), mean, std)


load_cifar10 = partial(load, "cifar10")
load_cifar100 = partial(load, "cifar100")
