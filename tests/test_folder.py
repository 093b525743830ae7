"""Folders of the user's own images, good and bad."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import torch
from image_folders import write_images
from PIL import Image

import rethinklab as rl
from rethinklab.data.listing import walk_images
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


def test_size_resizes_and_crops_the_centre(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((20, 40 + number, 3), 200, np.uint8)).save(
                tmp_path / name / f"{number}.png")
    with pytest.raises(DataError, match=r"40x20|size"):
        rl.load_data(f"folder:{tmp_path}")
    pixels = rl.data.decoding.decode([image.path for image in walk_images(tmp_path)], 16)
    assert pixels.shape == (6, 16, 16, 3)
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


def test_the_split_of_a_folder_is_the_one_that_results_were_recorded_with(tmp_path):
    write_images(tmp_path, {"cat": 20, "dog": 10})
    (tmp_path / "cat" / "more").mkdir()
    (tmp_path / "cat" / "003.png").rename(tmp_path / "cat" / "more" / "a.png")
    # computed before hidden entries were passed over
    assert rl.load_data(f"folder:{tmp_path}").fingerprint == "cb0ce4eeed12aa75"
    clutter(tmp_path)
    assert rl.load_data(f"folder:{tmp_path}").fingerprint == "cb0ce4eeed12aa75"


def clutter(root):
    """What Jupyter, macOS, Windows and network drives leave: copies of images, and no images."""
    image = next(root.rglob("000.png"))
    deep = image.parent / "more" / "most"
    for folder in (root, image.parent, deep):
        for name in (".ipynb_checkpoints", ".cache", ".Trashes", "__MACOSX", "@eaDir"):
            (folder / name / "cat").mkdir(parents=True, exist_ok=True)
            shutil.copy(image, folder / name / "000-checkpoint.png")
            shutil.copy(image, folder / name / "cat" / "001.png")
        for name in ("._000.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
            (folder / name).write_bytes(b"\0\5\x16\7")
    shutil.copy(image, deep / ".hidden.png")


@pytest.mark.parametrize(("training", "held"), [
    ("train", "test"), ("Training", "TESTING"), ("TRAIN", "VAL"), ("train", "Valid"),
    ("training", "validation"), ("Train", "Dev")])
def test_parts_have_their_usual_names_in_any_case(tmp_path, training, held):
    write_images(tmp_path / training, {"cat": 5, "dog": 7})
    write_images(tmp_path / held, {"cat": 2, "dog": 3}, seed=1)
    clutter(tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.csv").write_text("000.png,1,2,3,4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = rl.load_data(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test), data.classes) == (12, 5, ("cat", "dog"))
    stored = np.asarray(Image.open(tmp_path / held / "cat" / "001.png"))
    assert np.array_equal(data.test.pixels[1].permute(1, 2, 0).numpy(), stored)


def test_a_lone_training_part_is_split(tmp_path):
    write_images(tmp_path / "Training", {"cat": 10, "dog": 10})
    data = rl.load_data(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test), data.classes) == (16, 4, ("cat", "dog"))


def test_a_part_that_is_not_used_is_said(tmp_path):
    write_images(tmp_path / "train", {"cat": 5, "dog": 7})
    write_images(tmp_path / "test", {"cat": 2, "dog": 3})
    write_images(tmp_path / "valid", {"cat": 1, "dog": 1})
    with pytest.warns(UserWarning, match="valid is not used, since test is the test set"):
        assert len(rl.load_data(f"folder:{tmp_path}").test) == 5
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").mkdir()  # as in competitions, whose test images have no labels
    shutil.copy(tmp_path / "train" / "cat" / "000.png", tmp_path / "test" / "1.png")
    with pytest.warns(UserWarning, match="test is not used, .* valid .* no class folders"):
        assert len(rl.load_data(f"folder:{tmp_path}").test) == 2


def test_parts_below_the_classes_are_said(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / name, {"Train": 4, "test": 2})
    with pytest.warns(UserWarning, match=r"cat.Train is not used as a part but as images of"):
        assert rl.load_data(f"folder:{tmp_path}").classes == ("cat", "dog")


PETS = ("cat", "dog")


@pytest.mark.parametrize(("folders", "says"), [
    (("train", *PETS), "ambiguous, since cat, dog with images stands beside train; give"),
    (("train/cat", "train/dog", "test/cat", "test/dog", "cat"), "cat with images .* train, test"),
    (("TEST", "bus", "car"), "bus, car with images stands beside TEST"),
    (("train/cat", "train/dog", "test_set/cat", "test_set/dog"), "test_set .* stands beside train"),
    (("train/cat", "train/dog", "Training/cat"), "more than one training part .Training, train"),
    (("train/cat", "train/dog", "val/cat", "dev/cat"), "more than one validation part .dev, val"),
    (("test/cat", "test/dog"), "test but no training images"),
    (("Testing", "Validation"), "Testing, Validation but no training images"),
    (("train/cat", "train/dog", "train/val/cat", "train/val/dog"), "train is ambiguous, since val"),
    (("train/cat", "train/dog", "train/val", "test/cat", "test/dog"), "only one of them has val"),
    (("training_set/cat", "test_set/cat"), "looks like parts .test_set, training_set.; call"),
    (("train2017", "val2017"), "looks like parts"),
    (("train/cat", "train/dog", "test/.cat", "test/__MACOSX"), "test holds no images")])
def test_ambiguous_parts_are_named(tmp_path, folders, says):
    for folder in folders:
        write_images(tmp_path, {folder: 3})
    with pytest.raises(DataError, match=says) as caught:
        rl.load_data(f"folder:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_both_parts_may_have_a_class_called_like_a_part(tmp_path):
    """As CIFAR-100 has, in which trains are a class."""
    for part in ("train", "test"):
        write_images(tmp_path / part, {"bus": 2, "train": 2})
    assert rl.load_data(f"folder:{tmp_path}").classes == ("bus", "train")


# where the first row and the first column of the stored pixels are seen, by the EXIF standard
SEEN = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: np.rot90}


def write_turned(file, stored, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(file, exif=exif)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
@pytest.mark.parametrize("orientation", SEEN)
def test_photographs_are_turned_as_their_exif_says(tmp_path, orientation, suffix):
    stored = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    file = tmp_path / f"1.{suffix}"
    write_turned(file, stored, orientation)
    if suffix == "jpg":
        with Image.open(file) as image:  # the decoder itself turns nothing
            stored = np.asarray(image)
    assert np.array_equal(np.asarray(rl.data.decoding.open_rgb(file)), SEEN[orientation](stored))


def test_an_error_gives_the_size_as_seen(tmp_path):
    for file in (tmp_path / name / f"{n}.jpg" for name in PETS for n in (0, 1)):
        write_turned(file, np.zeros((12, 20, 3), np.uint8), 6)
    with pytest.raises(DataError, match="is 12x20 pixels and not square"):
        rl.load_data(f"folder:{tmp_path}")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"nonsense", b"MM\0*\0\0\0\x08\0\x09\1\x12", b"?"])
def test_damaged_exif_leaves_the_pixels_as_they_are(tmp_path, exif):
    stored = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "1.png", exif=exif)
    assert np.array_equal(np.asarray(rl.data.decoding.open_rgb(tmp_path / "1.png")), stored)


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
