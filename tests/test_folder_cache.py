"""Decoded folders: what is kept, shared and noticed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from image_folders import write_images
from PIL import Image
from typer.testing import CliRunner

import rethinklab as rl
from rethinklab.cli import app
from rethinklab.data import cache, decoding, folder
from rethinklab.data.batches import TrainingBatches
from rethinklab.errors import DataError


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path / "images" / "train", {"cat": 20, "dog": 14})
    write_images(tmp_path / "images" / "test", {"cat": 6, "dog": 5}, seed=1)
    return tmp_path / "images"


@pytest.fixture
def decodings(monkeypatch):
    """How many images are decoded each time."""
    counted = []

    def count(files, *options):
        counted.append(len(files))
        return decoding.decode(files, *options)

    monkeypatch.setattr(folder, "decode", count)
    return counted


def kept():
    return sorted(cache.cache_folder().glob("*"))


@pytest.mark.parametrize("part", [".", "train"], ids=["with parts", "split here"])
def test_mapped_pixels_are_the_decoded_ones_and_are_decoded_once(images, decodings, part):
    fresh, mapped = folder.load(images / part), folder.load(images / part)
    assert len(decodings) == 2  # training and test images
    plain = folder.load(images / part, cache=False)
    assert fresh.fingerprint == mapped.fingerprint == plain.fingerprint
    assert (mapped.mean, mapped.std) == (plain.mean, plain.std)
    for ours, theirs in ((mapped.train, plain.train), (mapped.test, plain.test)):
        assert torch.equal(ours.pixels, theirs.pixels)
        assert torch.equal(ours.labels, theirs.labels)


def test_the_fingerprint_knows_pixels_and_not_how_they_lie_in_memory(images):
    data = folder.load(images)
    copied = [rl.Images(part.pixels.contiguous(), part.labels) for part in (data.train, data.test)]
    assert copied[0].pixels.stride() != data.train.pixels.stride()
    rebuilt = rl.ImageData(data.name, *copied, data.classes, data.mean, data.std)
    assert rebuilt.fingerprint == data.fingerprint


def same_size_again(file):
    status = file.stat()
    Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(file)
    with file.open("ab") as handle:  # decoders pass over what follows the image
        handle.write(bytes(status.st_size - file.stat().st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def other_size_same_time(file):
    status = file.stat()
    Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [
    same_size_again, other_size_same_time, lambda file: file.unlink(),
    lambda file: shutil.copy(file, file.with_name("new.png")),
    lambda file: file.rename(file.with_name("zzz.png"))],
    ids=["newer", "of another size", "removed", "added", "renamed"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_changed_folder_is_decoded_anew(images, change, part):
    before = folder.load(images)
    change(images / part / "cat" / "003.png")
    after = folder.load(images)
    assert after.fingerprint == folder.load(images, cache=False).fingerprint
    assert after.fingerprint != before.fingerprint


def test_a_link_that_leads_to_other_images_is_noticed(tmp_path):
    for version in ("v1", "v2"):
        for n in range(3):
            target = tmp_path / version / f"{n}.bmp"
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), 50 * n + len(version), np.uint8)).save(target)
            os.utime(target, ns=(0, 0))
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "v2" / "0.bmp")
    os.utime(tmp_path / "v2" / "0.bmp", ns=(0, 0))
    write_images(tmp_path / "images", {"dog": 3})
    (tmp_path / "images" / "cat").symlink_to(tmp_path / "v1")
    before = folder.load(tmp_path / "images")
    (tmp_path / "images" / "cat").unlink()
    (tmp_path / "images" / "cat").symlink_to(tmp_path / "v2")
    assert folder.load(tmp_path / "images").fingerprint != before.fingerprint


def test_another_size_seed_or_version_of_the_decoding_is_kept_elsewhere(images, monkeypatch):
    folder.load(images / "train")
    folder.load(images / "train", size=8)
    folder.load(images / "train", seed=1)
    assert len(kept()) == 3
    monkeypatch.setattr(cache, "DECODING", decoding.DECODING + 1)
    folder.load(images / "train")
    assert len(kept()) == 4


def test_any_flipped_byte_is_noticed_and_the_cache_made_anew(images, decodings):
    first = folder.load(images)
    (file,) = kept()
    whole = file.read_bytes()
    places = [0, 20, cache.PAGE - 1, cache.PAGE, len(whole) // 2, len(whole) - 5, len(whole) - 1]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.unlink()  # `first` keeps its mapping of the file as it was
        file.write_bytes(damaged)
        assert cache.open_shared(file) is None
        assert folder.load(images).fingerprint == first.fingerprint
        assert file.read_bytes() == whole
    assert len(decodings) == 2 * (1 + len(places))


@pytest.mark.parametrize("length", [0, 3, 100, cache.PAGE, -1, -cache.PAGE])
def test_a_cache_that_is_cut_short_is_made_anew(images, length):
    first = folder.load(images).fingerprint
    (file,) = kept()
    whole = file.read_bytes()
    file.write_bytes(whole[:length])
    assert cache.open_shared(file) is None
    assert folder.load(images).fingerprint == first
    assert file.read_bytes() == whole


def test_writing_into_mapped_pixels_changes_neither_the_file_nor_other_mappings(images):
    folder.load(images)
    mine, other = folder.load(images), folder.load(images)
    (file,) = kept()
    whole, before = file.read_bytes(), other.train.pixels.clone()
    mine.train.pixels.fill_(0)
    assert file.read_bytes() == whole
    assert torch.equal(other.train.pixels, before)
    assert not mine.train.pixels.any()


def test_training_reads_the_mapped_pixels_themselves_and_writes_none(images):
    folder.load(images)
    data = folder.load(images)
    assert TrainingBatches(data, 8, seed=0).pixels.data_ptr() == data.train.pixels.data_ptr()
    before = [part.pixels.clone() for part in (data.train, data.test)]
    model = rl.build_model("vgg11", num_classes=2, width=0.0625)
    rl.train(model, data, rl.Recipe(epochs=2, batch_size=8), device="cpu", progress=False)
    rl.make_pruner("thinet", 0.5).fit(model, data)
    assert torch.equal(data.train.pixels, before[0])
    assert torch.equal(data.test.pixels, before[1])


def test_training_on_mapped_pixels_is_the_same_to_the_bit(images):
    folder.load(images)
    mapped = folder.load(images)
    copied = rl.ImageData(mapped.name, *(rl.Images(part.pixels.contiguous(), part.labels) for part
                                         in (mapped.train, mapped.test)),
                          mapped.classes, mapped.mean, mapped.std)
    ended = []
    for data in (mapped, copied):
        model = rl.build_model("vgg11", num_classes=2, width=0.0625, seed=0)
        rl.train(model, data, rl.Recipe(epochs=1, batch_size=8), device="cpu", progress=False)
        ended.append(torch.cat([value.flatten() for value in model.parameters()]))
    assert torch.equal(*ended)


def test_a_home_that_cannot_be_written_costs_time_only(images, tmp_path, monkeypatch, decodings):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    first, again = folder.load(images), folder.load(images)
    assert first.fingerprint == again.fingerprint
    assert len(decodings) == 4
    assert str(cache.clear()).startswith("No decoded images are kept in")


@pytest.fixture
def impatient(monkeypatch):
    """Other processes are called at once; gives how many tasks each call hands over."""
    monkeypatch.setattr(decoding, "PATIENCE", -1.0)
    monkeypatch.setattr(decoding, "BLOCK", 4)
    monkeypatch.setattr(decoding, "default_workers", lambda: 2)
    calls, shared = [], decoding._shared

    def spy(tasks):
        calls.append(len(tasks))
        return shared(tasks)

    monkeypatch.setattr(decoding, "_shared", spy)
    return calls


def test_several_processes_decode_the_same_pixels_in_the_same_order(images, impatient):
    shared = folder.load(images, cache=False, progress=False)
    assert impatient == [9, 3]  # 34 and 11 images by fours
    alone = decoding.read_block([str(images / "train" / "dog" / f"{n:03}.png") for n in range(14)],
                                16, None)
    assert np.array_equal(shared.train.pixels[20:].permute(0, 2, 3, 1).numpy(), alone)


def test_what_other_processes_find_wrong_is_said_in_one_sentence(images, impatient):
    (images / "train" / "dog" / "007.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"007.png cannot be read as an image") as caught:
        folder.load(images)
    assert "\n" not in str(caught.value)
    Image.fromarray(np.zeros((16, 17, 3), np.uint8)).save(images / "train" / "dog" / "007.png")
    with pytest.raises(DataError, match=r"007.png is 17x16 pixels where 000.png is 16x16; give"):
        folder.load(images)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the child inherits this test's settings")
def test_a_daemon_decodes_alone(images, impatient):
    files = [str(images / "test" / "cat" / f"{n:03}.png") for n in range(6)]
    with multiprocessing.get_context("fork").Pool(1) as pool:  # its processes are daemons
        there = pool.apply(decoding.decode, (files,))
    assert np.array_equal(there, decoding.decode(files))
    assert impatient == [2]  # of the call here alone


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_asked_for_only_where_progress_is_on(images, monkeypatch, progress):
    asked = []
    bar = decoding.make_bar
    monkeypatch.setattr(decoding, "make_bar",
                        lambda show, **options: asked.append(show) or bar(show, **options))
    rl.load_data(f"folder:{images}", progress=progress)
    assert asked == [progress, progress]


def test_decoding_needs_no_torch(images):
    """A process that decodes starts in a fraction of the time that torch takes."""
    code = ("import sys; from rethinklab.data.decoding import read_block; "
            f"read_block([{str(images / 'train' / 'cat' / '000.png')!r}], 16, None); "
            "import rethinklab.data.cache; sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_clearing_says_what_it_removed_and_leaves_the_images(images):
    first = folder.load(images)
    (file,) = kept()
    (file.parent / "old.npy").write_bytes(bytes(1000))
    (file.parent / "notes.txt").write_text("the user's")
    size = file.stat().st_size + 1000
    cleared = cache.clear()
    assert (cleared.folder, cleared.files, cleared.freed) == (file.parent, 2, size)
    assert [path.name for path in kept()] == ["notes.txt"]
    assert folder.load(images).fingerprint == first.fingerprint
    assert torch.equal(first.train.pixels, folder.load(images, cache=False).train.pixels)


def test_the_command_says_what_it_removed(images, capsys):
    folder.load(images)
    where, megabytes = kept()[0].parent, kept()[0].stat().st_size / 1e6
    said = CliRunner().invoke(app, ["data", "clear"])
    assert said.exit_code == 0
    assert f"1 file of decoded images removed from {where}, {megabytes:.1f} MB" in said.output
    assert "No decoded images are kept in" in CliRunner().invoke(app, ["data", "clear"]).output
