"""Folders of the user's own images, good and bad."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_folders import write_images
from PIL import Image

import rethinklab as rl
from rethinklab.errors import ConfigError, DataError


def test_train_and_test_folders_give_the_stored_pixels(tmp_path):
    write_images(tmp_path / "train", {"cat": 5, "dog": 7})
    write_images(tmp_path / "test", {"cat": 2, "dog": 3}, seed=1)
    data = rl.load_data(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test), data.classes) == (12, 5, ("cat", "dog"))
    stored = np.asarray(Image.open(tmp_path / "train" / "dog" / "000.png"))
    assert np.array_equal(data.train.pixels[5].permute(1, 2, 0).numpy(), stored)
    assert data.train.labels.tolist() == [0] * 5 + [1] * 7
    scaled = data.train.pixels.double() / 255
    assert np.allclose(data.mean, scaled.mean((0, 2, 3)), atol=1e-4)
    assert np.allclose(data.std, scaled.std((0, 2, 3), correction=0), atol=1e-4)


def test_without_a_test_folder_a_seeded_fifth_is_set_aside(tmp_path):
    write_images(tmp_path, {"cat": 20, "dog": 10})
    data = rl.load_data(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test)) == (24, 6)
    assert data.test.labels.tolist().count(0) == 4
    again, other = (rl.load_data(f"folder:{tmp_path}", seed=seed) for seed in (0, 1))
    assert again.fingerprint == data.fingerprint != other.fingerprint


def test_cached_pixels_equal_decoded_ones_and_a_changed_file_is_read_anew(tmp_path):
    from rethinklab.data.folder import load

    write_images(tmp_path, {"cat": 4, "dog": 4})
    fresh, cached, plain = load(tmp_path), load(tmp_path), load(tmp_path, cache=False)
    assert fresh.fingerprint == cached.fingerprint == plain.fingerprint
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "cat" / "000.png")
    assert load(tmp_path).fingerprint != fresh.fingerprint


def test_a_damaged_cache_is_decoded_again(tmp_path, monkeypatch):
    from rethinklab.data.folder import load

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    write_images(tmp_path / "images", {"cat": 4, "dog": 4})
    first = load(tmp_path / "images")
    for file in (tmp_path / "home").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    assert load(tmp_path / "images").fingerprint == first.fingerprint


def test_size_resizes_and_crops_the_centre(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((20, 40 + number, 3), 200, np.uint8)).save(
                tmp_path / name / f"{number}.png")
    with pytest.raises(DataError, match=r"40x20|size"):
        rl.load_data(f"folder:{tmp_path}")
    listing = rl.data.folder.list_images(tmp_path)
    pixels = rl.data.folder._decode(listing.files, 16)
    assert pixels.shape == (6, 3, 16, 16)
    assert (pixels == 200).all()


def test_grey_images_become_rgb(tmp_path):
    for name, level in (("dark", 10), ("light", 250)):
        (tmp_path / name).mkdir()
        for number in range(3):
            grey = np.full((16, 16), level, np.uint8)
            grey[0, 0] = number
            Image.fromarray(grey).save(tmp_path / name / f"{number}.png")
    assert rl.load_data(f"folder:{tmp_path}").input_shape == (3, 16, 16)


def test_deep_grey_images_keep_their_upper_bits_and_floats_are_refused(tmp_path):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(ramp + number).save(tmp_path / name / f"{number}.png")
    data = rl.load_data(f"folder:{tmp_path}")
    assert torch.equal(data.train.pixels[0, 0], torch.arange(256, dtype=torch.uint8).view(16, 16))
    Image.fromarray(np.ones((16, 16), np.float32)).save(tmp_path / "a" / "9.tiff")
    with pytest.raises(DataError, match=r"9.tiff holds floating-point"):
        rl.load_data(f"folder:{tmp_path}")


def test_a_link_to_nowhere_is_named(tmp_path):
    write_images(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "cat" / "lost.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"lost.png|gone.png"):
        rl.load_data(f"folder:{tmp_path}")


def bad_folder(kind, root):
    if kind == "empty":
        root.mkdir()
    elif kind == "one class":
        write_images(root, {"cat": 5})
    elif kind == "class without images":
        write_images(root, {"cat": 5})
        (root / "dog").mkdir()
    elif kind == "not an image":
        write_images(root, {"cat": 5, "dog": 5})
        (root / "dog" / "x.png").write_text("hello")
    elif kind == "cut short":
        write_images(root, {"cat": 5, "dog": 5})
        file = root / "dog" / "003.png"
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "other classes in test":
        write_images(root / "train", {"cat": 5, "dog": 5})
        write_images(root / "test", {"cat": 5, "cow": 5})


@pytest.mark.parametrize(("kind", "says"), [
    ("missing", "is not a folder"), ("empty", "holds no images"), ("one class", "single class"),
    ("class without images", "dog holds no image"), ("not an image", "x.png"),
    ("cut short", "003.png is damaged"), ("other classes in test", "cow, dog")])
def test_bad_folders_are_named(tmp_path, kind, says):
    bad_folder(kind, tmp_path / "images")
    with pytest.raises(DataError, match=says):
        rl.load_data(f"folder:{tmp_path / 'images'}")


@pytest.mark.parametrize(("name", "options", "says"), [
    ("cifar11", {}, "Did you mean 'cifar10'"), ("folder", {}, "needs a path"),
    ("digits:x", {}, "takes no path"), ("digits", {"size": 32}, "size applies to folders"),
    ("folder:.", {"size": 3}, "8 or more")])
def test_bad_names_and_sizes(name, options, says):
    with pytest.raises(ConfigError, match=says):
        rl.load_data(name, **options)
