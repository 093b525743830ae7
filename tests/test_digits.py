"""The embedded task: the same bytes everywhere, and no digit on both sides."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

import rethinklab as rl
from rethinklab.data import digits as module

FINGERPRINT = "64663caaac4f88ab"


def test_bytes_are_the_same_on_every_machine(digits):
    assert digits.fingerprint == FINGERPRINT


def test_sizes_classes_and_balance(digits):
    assert digits.train.pixels.shape == (10_000, 3, 32, 32)
    assert digits.test.pixels.shape == (2_000, 3, 32, 32)
    assert digits.input_shape == (3, 32, 32)
    assert digits.num_classes == 10
    share = torch.bincount(digits.train.labels).double() / 10_000
    assert share.min() > 0.09
    assert share.max() < 0.11


def test_training_and_test_scenes_show_different_digits():
    labels = load_digits().target
    train, test = module._disjoint_sources(labels)
    assert set(train) & set(test) == set()
    assert len(train) + len(test) == len(labels)
    assert np.bincount(labels[test]).tolist() == [30] * 10


def test_digits_are_never_mirrored(digits):
    assert not digits.flip


def test_rendering_agrees_with_floating_point_interpolation():
    random = np.random.default_rng(0)
    glyphs = random.integers(0, 256, (1, 8, 8)).astype(np.int32)
    size, left, top = 20, 5, 9
    drawn = module._render(glyphs, *(np.array([v], dtype=np.int32) for v in (size, left, top)))[0]

    def source(start):  # centre of each pixel, in pixels of the glyph framed by zeros
        return (np.arange(32) - start + 0.5) * 8 / size + 0.5

    framed = np.pad(glyphs[0].astype(float), 1)
    rows = np.stack([np.interp(source(top), np.arange(10), column) for column in framed.T], axis=1)
    expected = np.stack([np.interp(source(left), np.arange(10), row) for row in rows])
    assert np.abs(drawn - expected).max() <= 5


def test_held_out_images_come_from_the_training_set(digits):
    held = digits.hold_out(0.1, seed=1)
    assert len(held.train) + len(held.test) == len(digits.train)
    known = {row.numpy().tobytes() for row in digits.test.pixels}
    assert not any(row.numpy().tobytes() in known for row in held.test.pixels[:200])
    assert torch.equal(held.test.labels, digits.hold_out(0.1, seed=1).test.labels)
    assert not torch.equal(held.test.pixels, digits.hold_out(0.1, seed=2).test.pixels)


def test_fingerprint_sees_pixels_labels_and_augmentation(small):
    from dataclasses import replace

    pixels = small.train.pixels.clone()
    pixels[0, 0, 0, 0] ^= 1
    changed = [replace(small, train=rl.Images(pixels, small.train.labels)),
               replace(small, train=rl.Images(small.train.pixels, small.train.labels.flip(0))),
               replace(small, flip=True), replace(small, pad=0)]
    assert len({small.fingerprint, *(data.fingerprint for data in changed)}) == 5


def test_a_load_gives_copies_that_later_loads_do_not_see():
    first = rl.load_data("digits")
    before = first.train.pixels.clone()
    first.train.pixels.zero_()
    first.test.labels.zero_()
    second = rl.load_data("digits")
    assert torch.equal(second.train.pixels, before)
    assert second.test.labels.any()
