"""Batches against definitions: every image once, crops as by hand, torchvision's normalisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import write_images
from torch import nn
from torchvision.transforms import v2

import rethinklab as rl
from rethinklab.data import batches as batches_module
from rethinklab.data import streamed
from rethinklab.data.batches import (
    TrainingBatches,
    balanced_sample,
    batch_bounds,
    calibration_batch,
    crop,
    part_bounds,
    plain_batches,
    training_batches,
)
from rethinklab.errors import ConfigError
from rethinklab.trainers.evaluate import score


@given(count=st.integers(1, 500), size=st.integers(1, 70))
def test_bounds_cover_every_image_once_and_no_batch_is_a_single_image(count, size):
    bounds = batch_bounds(count, size)
    assert [i for start, end in bounds for i in range(start, end)] == list(range(count))
    if size > 1 and count > 1:
        assert min(end - start for start, end in bounds) > 1


@given(st.integers(1, 6), st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_crop_is_the_crop_by_hand(count, pad, channels, seed):
    draws = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 7, 9, channels), dtype=torch.uint8, generator=draws)
    top, left = torch.randint(0, 2 * pad + 1, (2, count), generator=draws)
    framed = torch.zeros(count, 7 + 2 * pad, 9 + 2 * pad, channels, dtype=torch.uint8)
    framed[:, pad : pad + 7, pad : pad + 9] = pixels
    for image, result in enumerate(crop(pixels, top, left, pad)):
        y, x = int(top[image]), int(left[image])
        assert torch.equal(result, framed[image, y : y + 7, x : x + 9])


def test_an_epoch_is_every_image_once_shuffled(small):
    plain = replace(small, pad=0, flip=False)
    seen = torch.cat([images for images, _ in TrainingBatches(plain, 64, seed=1).epoch(0)])
    expected = torch.cat([images for images, _ in plain_batches(plain, plain.train)])
    assert not torch.equal(seen, expected)
    assert torch.equal(seen.flatten(1).sum(1).sort().values,
                       expected.flatten(1).sum(1).sort().values)


def test_augmented_images_are_shifts_and_mirrors_of_their_originals(small):
    data = replace(small, pad=2, flip=True)
    batches = TrainingBatches(data, 64, seed=5)
    originals = batches.pixels
    order = torch.cat([labels for _, labels in batches.epoch(0)])
    assert torch.equal(order.sort().values, data.train.labels.sort().values)
    images = next(iter(batches.epoch(0)))[0]
    framed = torch.nn.functional.pad(originals, (0, 0, 2, 2, 2, 2))
    variants = {}
    for number in range(len(originals)):
        for y in range(5):
            for x in range(5):
                cut = framed[number, y : y + 32, x : x + 32]
                variants[cut.numpy().tobytes()] = (number, False)
                variants[cut.flip(1).contiguous().numpy().tobytes()] = (number, True)
    restored = (images.permute(0, 2, 3, 1) - batches.normalise.shift[:3]) / \
        batches.normalise.scale[:3]
    found = [variants[row.round().to(torch.uint8).contiguous().numpy().tobytes()]
             for row in restored]
    assert len({number for number, _ in found}) == 64
    assert 10 < sum(mirrored for _, mirrored in found) < 54


def test_normalisation_is_torchvisions(small):
    images, _ = next(plain_batches(small, small.test))
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True),
                            v2.Normalize(small.mean, small.std)])
    assert torch.allclose(images, reference(small.test.pixels), atol=1e-5)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_epochs_depend_on_seed_and_epoch_and_on_nothing_else(small):
    def first(seed, epoch):
        return next(iter(TrainingBatches(small, 64, seed).epoch(epoch)))[0]

    torch.manual_seed(0)
    reference = first(1, 0)
    torch.manual_seed(99)
    assert torch.equal(reference, first(1, 0))
    assert not torch.equal(reference, first(2, 0))
    assert not torch.equal(reference, first(1, 1))


class Oracle(nn.Module):
    """Knows the answers, in order."""

    def __init__(self, labels):
        super().__init__()
        self.labels, self.place = labels, 0

    def forward(self, images):
        part = self.labels[self.place : self.place + len(images)]
        self.place += len(images)
        return nn.functional.one_hot(part, 10).float()


@pytest.mark.parametrize("batch_size", [7, 64, 500])
def test_a_perfect_predictor_scores_one_with_a_ragged_last_batch(small, batch_size):
    assert len(small.test) % batch_size
    accuracy, _ = score(Oracle(small.test.labels), plain_batches(small, small.test, batch_size))
    assert accuracy == 1.0


def test_accuracy_is_the_fraction_right(small):
    labels = small.test.labels.clone()
    labels[:25] = (labels[:25] + 1) % 10
    accuracy, _ = score(Oracle(labels), plain_batches(small, small.test, 33))
    assert accuracy == (101 - 25) / 101


@pytest.mark.parametrize("group", [2, 3, 64])
def test_augmenting_several_batches_at_once_changes_no_image(small, group):
    data = replace(small, pad=4, flip=True)
    one, many = (list(TrainingBatches(data, 30, 2, group=g).epoch(1)) for g in (1, group))
    assert len(one) == len(many) == 7
    for (images, labels), (images_too, labels_too) in zip(one, many, strict=True):
        assert torch.equal(images, images_too)
        assert torch.equal(labels, labels_too)
        assert images_too.is_contiguous(memory_format=torch.channels_last)


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), seed=st.integers(0, 2**31 - 1),
       data=st.data())
def test_a_calibration_sample_takes_turns_between_classes(labels, seed, data):
    count = data.draw(st.integers(1, len(labels)))
    labels = torch.tensor(labels)
    index = balanced_sample(labels, count, seed)
    assert len(set(index.tolist())) == count
    have, taken = (torch.bincount(part, minlength=6) for part in (labels, labels[index]))
    left = taken < have  # classes that could have given one more
    assert not left.any() or taken.max() - taken[left].min() <= 1


def test_a_calibration_batch_is_plain_training_images(small):
    images, labels = calibration_batch(small, 25, seed=4)
    assert images.shape == (25, 3, 32, 32)
    assert sorted(labels.bincount().tolist()) == [2] * 5 + [3] * 5
    plain, _ = next(plain_batches(small, small.train))
    for image, label in zip(images, labels, strict=True):
        place = (plain == image).flatten(1).all(1).nonzero().flatten()
        assert small.train.labels[place[0]] == label
    again, other = (calibration_batch(small, 25, seed=s)[0] for s in (4, 5))
    assert torch.equal(images, again)
    assert not torch.equal(images, other)


@pytest.mark.parametrize("count", [0, 199, 2.5, True])
def test_a_calibration_batch_of_too_many_images_is_an_error(small, count):
    with pytest.raises(ConfigError, match="cannot take"):
        calibration_batch(small, count)


@given(start=st.integers(0, 50), count=st.integers(0, 70), processes=st.integers(1, 9))
def test_parts_follow_one_another_and_differ_by_at_most_one_image(start, count, processes):
    parts = [range(*part_bounds(start, start + count, (number, processes)))
             for number in range(processes)]
    assert [image for part in parts for image in part] == list(range(start, start + count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(size=st.integers(14, 60), processes=st.integers(2, 7), group=st.integers(1, 3))
def test_parts_of_the_batches_make_up_the_epoch(small, size, processes, group):
    data = replace(small, pad=2, flip=True)
    shared = [list(TrainingBatches(data, size, 3, group, (number, processes)).epoch(1))
              for number in range(processes)]
    same_images(TrainingBatches(data, size, 3).epoch(1), shared)
    assert min(len(labels) for share in shared for _, labels in share) >= 2


def same_images(whole, shared):
    parts = [part for batch in zip(*shared, strict=True) for part in batch]
    for one, several in zip(zip(*whole, strict=True), zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(several), torch.cat(one))


def test_a_last_batch_that_is_too_small_to_share_joins_the_one_before():
    assert batch_bounds(22, 4) == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 22)]
    assert batch_bounds(22, 4, 2) == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 22)]
    assert batch_bounds(22, 6, 2) == [(0, 6), (6, 12), (12, 18), (18, 22)]


@pytest.mark.parametrize(("count", "size"), [(22, 4), (5, 64)])
def test_a_batch_too_small_to_share_is_an_error(count, size):
    with pytest.raises(ConfigError, match=rf"batch size {size} makes .* of {min(count, size)} of "
                                          rf"the {count} .* 3 processes .*choose 6 or more"):
        batch_bounds(count, size, 3)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for name in ("train", "val"):
        write_images(root / name, {"cat": 5, "dog": 6})
    return replace(rl.load_data(f"imagenet:{root}", size=16), workers=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_process_reads_its_own_files_only(tree, monkeypatch, workers):
    read = []
    reader = streamed.open_rgb
    monkeypatch.setattr(streamed, "open_rgb", lambda path: read.append(path) or reader(path))
    whole = list(training_batches(tree, 4, 1).epoch(0))  # 4, 4 and 3 images
    read.clear()
    shared = []
    for number in range(2):
        task = replace(tree, workers=workers)
        shared.append(list(training_batches(task, 4, 1, (number, 2)).epoch(0)))
    if not workers:
        assert len(read) == len(set(read)) == 11
    assert [[len(labels) for _, labels in share] for share in shared] == [[2, 3], [2, 4]]
    same_images(whole, shared)


def test_processes_take_turns_at_whole_test_batches(tree, small, monkeypatch):
    monkeypatch.setattr(batches_module, "STREAMED", 2)
    monkeypatch.setitem(batches_module.TESTED, "cpu", 20)
    for task in (tree, small):
        whole = list(batches_module.test_batches(task, "cpu"))
        assert len(whole) == 6
        shares = [list(batches_module.test_batches(task, "cpu", (number, 4)))
                  for number in range(4)]
        assert [len(share) for share in shares] == [2, 2, 1, 1]
        for number, (images, labels) in enumerate(whole):
            own = shares[number % 4][number // 4]
            assert torch.equal(own[0], images)
            assert torch.equal(own[1], labels)


def test_processes_on_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(streamed.os, "sched_getaffinity", lambda process: range(24), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert streamed.default_workers() == 16
    for processes, workers in ((2, 12), (8, 3), (64, 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert streamed.default_workers() == workers
