"""Folders of images as a user would have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, classes: dict[str, int], side: int = 16, seed: int = 0) -> Path:
    """`classes` by name and count; each class has a brightness of its own, so it can be learnt."""
    random = np.random.default_rng(seed)
    for level, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 100, (side, side, 3)) + 150 * level // len(classes)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03}.png")
    return folder
