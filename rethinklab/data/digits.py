"""The embedded task: handwritten digits composed into 32x32 colour scenes.

scikit-learn ships 1,797 real handwritten digits of 8x8 pixels. Each scene shows one of them,
scaled and placed at random in random colours, among fragments of other digits and noise; the
label is the large digit. Training and test scenes draw on disjoint source digits.

Everything is integer arithmetic on numbers from `numpy.random.RandomState`, whose stream is
frozen, so that the same bytes come out on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray

from rethinklab.data.images import ImageData, Images, channel_statistics

SIDE = 32
TRAIN_SCENES, TEST_SCENES = 10_000, 2_000
TEST_SOURCES_PER_CLASS = 30
FRAGMENTS = 2
NOISE = 20
CHUNK = 250  # scenes composed together: small enough for the processor's cache

Ints = NDArray[np.int32]


def load(**options: Any) -> ImageData:
    """The digits task: 10,000 training and 2,000 test images, 3x32x32, 10 classes. Scenes are
    composed once in a process; every call gives copies of its own."""
    train, test = (Images(part.pixels.clone(), part.labels.clone()) for part in _composed())
    mean, std = channel_statistics(train.pixels)
    return ImageData("digits", train, test, tuple(str(d) for d in range(10)), mean, std,
                     pad=2, flip=False)


@lru_cache(maxsize=1)
def _composed() -> tuple[Images, Images]:
    """The training and the test scenes."""
    from sklearn.datasets import load_digits

    source = load_digits()
    glyphs = source.images.astype(np.int32) * 255 // 16
    train_ids, test_ids = _disjoint_sources(source.target)
    train = _scenes(glyphs, source.target, train_ids, TRAIN_SCENES, RandomState(20190506))
    test = _scenes(glyphs, source.target, test_ids, TEST_SCENES, RandomState(20190507))
    return train, test


def _disjoint_sources(labels: NDArray[np.int_]) -> tuple[Ints, Ints]:
    """Indices of the digits that training and test scenes may show, class by class."""
    random = RandomState(20190505)
    test = [random.permutation(np.flatnonzero(labels == digit))[:TEST_SOURCES_PER_CLASS]
            for digit in range(10)]
    test_ids = np.sort(np.concatenate(test)).astype(np.int32)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int32), test_ids), test_ids


def _scenes(glyphs: Ints, labels: NDArray[np.int_], ids: Ints, count: int,
            random: RandomState) -> Images:
    parts = [_compose(glyphs, ids, CHUNK, random) for _ in range(count // CHUNK)]
    pixels = np.concatenate([pixels for pixels, _ in parts])
    sources = np.concatenate([sources for _, sources in parts])
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels[sources].astype(np.int64)))


def _compose(glyphs: Ints, ids: Ints, count: int,
             random: RandomState) -> tuple[NDArray[np.uint8], Ints]:
    """`count` scenes, uint8 (count, 3, S, S), and the index of the digit that each one shows."""
    def draw(low: int, high: int, *shape: int) -> Ints:
        return random.randint(low, high, size=(count, *shape), dtype=np.int32)

    chosen = ids[draw(0, len(ids))]
    sizes = draw(20, 29)
    left, top = draw(0, 1 << 16) % (SIDE - sizes + 1), draw(0, 1 << 16) % (SIDE - sizes + 1)
    digit = _render(glyphs[chosen], sizes, left, top)

    # Ink and paper differ by at least 70 grey levels, either way round.
    paper = draw(60, 196, 3)
    contrast = draw(70, 150, 1) * (2 * draw(0, 2, 1) - 1)
    ink = paper + contrast + draw(-30, 31, 3)
    slope_x, slope_y = draw(-40, 41), draw(-40, 41)
    ramp = np.arange(SIDE, dtype=np.int32) - SIDE // 2
    shade = (slope_x[:, None, None] * ramp[None, None, :]
             + slope_y[:, None, None] * ramp[None, :, None]) // SIDE

    scene = paper[:, :, None, None] + shade[:, None]
    for _ in range(FRAGMENTS):
        small = draw(7, 11)
        speck = _render(glyphs[ids[draw(0, len(ids))]], small,
                        draw(-3, SIDE - 5), draw(-3, SIDE - 5))
        tint = paper + contrast * draw(40, 90, 1) // 100 + draw(-40, 41, 3)
        scene = _paint(scene, speck, tint)
    scene = _paint(scene, digit, ink)
    scene += draw(-NOISE, NOISE + 1, 3, SIDE, SIDE)
    return np.clip(scene, 0, 255).astype(np.uint8), chosen


def _paint(scene: Ints, alpha: Ints, colour: Ints) -> Ints:
    """`colour` (N, 3) laid over `scene` (N, 3, S, S) with opacity `alpha` (N, S, S), 0 to 255."""
    change = colour[:, :, None, None] - scene
    change *= (alpha + (alpha >> 7))[:, None]
    change >>= 8
    return np.asarray(scene + change, dtype=np.int32)


def _render(glyphs: Ints, sizes: Ints, left: Ints, top: Ints) -> Ints:
    """Glyphs (N, 8, 8) enlarged to `sizes` pixels and placed in a scene; opacity (N, S, S)."""
    padded = np.pad(glyphs, ((0, 0), (1, 1), (1, 1)))
    rows = _interpolate(padded, sizes, top)
    return _interpolate(rows.transpose(0, 2, 1), sizes, left).transpose(0, 2, 1)


def _interpolate(values: Ints, sizes: Ints, start: Ints) -> Ints:
    """Resample axis 1 of (N, 10, M) to SIDE pixels: linear, in 1/256 of a source pixel."""
    pixel = np.arange(SIDE, dtype=np.int32)[None, :] - start[:, None]
    position = (2 * pixel + 1) * (8 * 256) // (2 * sizes[:, None]) - 128 + 256
    inside = (position >= 0) & (position < 9 * 256)
    position = np.clip(position, 0, 9 * 256 - 1)
    base, part = position >> 8, position & 255
    low = np.take_along_axis(values, base[:, :, None], axis=1)
    high = np.take_along_axis(values, base[:, :, None] + 1, axis=1)
    mixed: Ints = low + ((high - low) * part[:, :, None] >> 8)
    mixed *= inside[:, :, None]
    return mixed
