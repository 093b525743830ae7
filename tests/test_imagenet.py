"""A streamed task against torchvision's transforms, and its determinism whoever reads."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import write_images
from PIL import Image
from torch import nn
from torchvision.transforms import v2

import rethinklab as rl
from rethinklab.data import batches, streamed
from rethinklab.errors import ConfigError, DataError
from rethinklab.seeds import stream

CLASSES = {"cat": 9, "dog": 7, "eel": 6}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_images(root / "train", CLASSES, side=40)
    write_images(root / "val", {"cat": 3, "dog": 4, "eel": 2}, side=50, seed=1)
    return root


@pytest.fixture(scope="module")
def task(tree):
    return replace(rl.load_data(f"imagenet:{tree}", size=32), workers=0)


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**31))
def test_views_are_torchvisions(width, height, seed):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    image = Image.fromarray(values)
    draws = torch.Generator().manual_seed(seed)
    ours = streamed.random_view(image, 32, draws)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip()])(image)
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    theirs = v2.Compose([v2.Resize(37), v2.CenterCrop(32)])(image)
    assert np.array_equal(np.asarray(streamed.centre(image, 32)), np.asarray(theirs))


def test_the_task_looks_like_one_in_memory(task):
    assert (len(task.train), len(task.test), task.num_classes) == (22, 9, 3)
    assert task.classes == ("cat", "dog", "eel")
    assert task.input_shape == (3, 32, 32)
    assert task.train.labels.bincount().tolist() == [9, 7, 6]
    assert "22 training and 9 test images" in repr(task)


def test_test_images_are_normalised_as_torchvision_does(task, tree):
    images, labels = next(batches.test_batches(task, "cpu"))
    look = v2.Compose([v2.Resize(37), v2.CenterCrop(32), v2.PILToTensor(),
                       v2.ToDtype(torch.float32, scale=True), v2.Normalize(task.mean, task.std)])
    expected = torch.stack([look(Image.open(file))
                            for file in sorted((tree / "val").rglob("*.png"))])
    assert torch.allclose(images, expected, atol=1e-5)
    assert labels.tolist() == [0] * 3 + [1] * 4 + [2] * 2
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_training_image_depends_on_seed_epoch_and_place(task, tree):
    data = replace(task, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    images, labels = next(iter(batches.training_batches(data, 22, 7).epoch(2)))
    order = torch.randperm(22, generator=torch.Generator().manual_seed(stream(7, "order", 2)))
    files = sorted((tree / "train").rglob("*.png"))
    look = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    for image, index in zip(images, order.tolist(), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(stream(7, "augment", 2, index))
            expected = look(Image.open(files[index]))
        assert torch.equal(image.round().to(torch.uint8), expected)
    assert torch.equal(labels, task.train.labels[order])


def test_workers_change_no_batch_and_no_global_number(task):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    here, there = (list(batches.training_batches(replace(task, workers=w), 4, 1).epoch(0))
                   for w in (0, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert [len(labels) for _, labels in here] == [4, 4, 4, 4, 4, 2]
    for (images, labels), (images_too, labels_too) in zip(here, there, strict=True):
        assert torch.equal(images, images_too)
        assert torch.equal(labels, labels_too)
    other = next(iter(batches.training_batches(task, 4, 1).epoch(1)))[0]
    assert not torch.equal(here[0][0], other)


def test_training_and_testing_take_it(task):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    recipe = rl.Recipe(epochs=8, lr=0.1, batch_size=4)
    first, again = (rl.train(model, task, recipe, device="cpu", progress=False) for _ in range(2))
    assert first.history["train_loss"].tolist() == again.history["train_loss"].tolist()
    assert first.test_accuracy == rl.evaluate(first.model, task)[0] > 0.5


def test_calibration_images_are_balanced_and_plain(task, tree):
    images, labels = batches.calibration_batch(task, 9, seed=1)
    assert images.shape == (9, 3, 32, 32)
    assert labels.bincount().tolist() == [3, 3, 3]
    plain = replace(task, test=task.train)
    every, _ = next(batches.test_batches(plain, "cpu"))
    assert all((every == image).flatten(1).all(1).any() for image in images)


def test_parts_of_the_task(task):
    held = task.hold_out(0.2, seed=1)
    assert len(held.train) + len(held.test) == len(task.train)
    assert not set(held.train.files.tolist()) & set(held.test.files.tolist())
    assert len(task.subset(5, 3).train) == 5


def test_the_fingerprint_is_of_the_listing(task, tree, tmp_path):
    assert task.fingerprint == task.to("cpu").fingerprint
    assert task.fingerprint != replace(task, size=64).fingerprint
    write_images(tmp_path / "train", CLASSES, side=40)
    write_images(tmp_path / "val", {"cat": 3, "dog": 4, "eel": 2}, side=50, seed=1)
    copy = rl.load_data(f"imagenet:{tmp_path}", size=32)
    assert copy.fingerprint == task.fingerprint
    (tmp_path / "val" / "cat" / "000.png").rename(tmp_path / "val" / "cat" / "other.png")
    assert rl.load_data(f"imagenet:{tmp_path}", size=32).fingerprint != task.fingerprint


def test_hidden_entries_change_nothing(task, tree, tmp_path):
    shutil.copytree(tree, tmp_path / "tree")
    for folder in (".", "train", "val", "train/cat", "val/dog"):
        for name in (".ipynb_checkpoints/deep", ".Trashes", "__MACOSX/cat"):
            (tmp_path / "tree" / folder / name).mkdir(parents=True)
            shutil.copy(tree / "train" / "cat" / "000.png", tmp_path / "tree" / folder / name)
        (tmp_path / "tree" / folder / "._000.png").write_bytes(b"\0\5\x16\7")
    found = rl.load_data(f"imagenet:{tmp_path / 'tree'}", size=32)
    assert found.fingerprint == task.fingerprint
    assert found.train.files.tolist() == task.train.files.tolist()


def test_parts_follow_the_rules_of_folders(tmp_path):
    write_images(tmp_path / "Training", {"a": 2, "b": 2})
    write_images(tmp_path / "DEV", {"a": 1, "b": 1})
    assert len(rl.load_data(f"imagenet:{tmp_path}").test) == 2
    (tmp_path / "test").mkdir()  # ImageNet's own test images lie there without labels
    shutil.copy(tmp_path / "DEV" / "a" / "000.png", tmp_path / "test" / "1.png")
    with pytest.warns(UserWarning, match="test is not used, since DEV"):
        assert len(rl.load_data(f"imagenet:{tmp_path}").test) == 2
    write_images(tmp_path, {"cat": 1})
    with pytest.raises(DataError, match="cat with images stands beside Training, test, DEV"):
        rl.load_data(f"imagenet:{tmp_path}")


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_photographs_are_turned_as_their_exif_says(tmp_path, orientation, turns):
    stored = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for part in ("train", "val"):
        for name in ("a", "b"):
            for tree in ("tagged", "turned"):
                (tmp_path / tree / part / name).mkdir(parents=True)
            Image.fromarray(stored).save(tmp_path / "tagged" / part / name / "1.png", exif=exif)
            turned = Image.fromarray(np.ascontiguousarray(np.rot90(stored, turns)))
            turned.save(tmp_path / "turned" / part / name / "1.png")
    tagged, plain = (replace(rl.load_data(f"imagenet:{tmp_path / tree}", size=32), workers=0)
                     for tree in ("tagged", "turned"))
    for read in (lambda data: next(batches.test_batches(data, "cpu"))[0],
                 lambda data: next(iter(batches.training_batches(data, 2, 5).epoch(1)))[0]):
        assert torch.equal(read(tagged), read(plain))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named_in_one_sentence(tmp_path, workers):
    write_images(tmp_path / "train", {"a": 3, "b": 3})
    write_images(tmp_path / "val", {"a": 1, "b": 1})
    (tmp_path / "val" / "b" / "000.png").write_bytes(b"no image")
    data = replace(rl.load_data(f"imagenet:{tmp_path}", size=16), workers=workers)
    with pytest.raises(DataError, match=r"000\.png cannot be read") as caught:
        list(batches.test_batches(data, "cpu"))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path, tree):
    with pytest.raises(ConfigError, match="needs a path"):
        rl.load_data("imagenet")
    with pytest.raises(ConfigError, match="size"):
        rl.load_data(f"imagenet:{tree}", size=2)
    with pytest.raises(DataError, match="folders train and val"):
        rl.load_data(f"imagenet:{tmp_path}")
    write_images(tmp_path / "train", {"a": 1, "b": 1})
    write_images(tmp_path / "val", {"a": 1, "c": 1})
    with pytest.raises(DataError, match=r"different classes.*b, c"):
        rl.load_data(f"imagenet:{tmp_path}")
