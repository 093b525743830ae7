"""CIFAR is read by torchvision's own loader, from files in the true format."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

import rethinklab as rl
from rethinklab.data.cifar import OWN
from rethinklab.errors import ConfigError


def write_cifar10(root: Path, monkeypatch) -> np.ndarray:
    """Five training batches and a test batch of 10 images each; returns the first batch."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)

    def dump(name: str, content: dict) -> list[str]:
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    batches = [random.integers(0, 256, (10, 3072)).astype(np.uint8) for _ in range(6)]
    entries = [dump(name, {"data": batch, "labels": list(range(10))}) for name, batch in
               zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], batches, strict=True)]
    meta = dump("batches.meta", {"label_names": [f"class{i}" for i in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", entries[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", entries[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta",
                        {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return batches[0]


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_reads_the_true_format_from_a_local_root(tmp_path, monkeypatch, how):
    first = write_cifar10(tmp_path / "images", monkeypatch)
    if how == "variable":
        monkeypatch.setenv("RETHINKLAB_DATA", str(tmp_path / "images"))
    data = rl.load_data("cifar10", root=tmp_path / "images" if how == "argument" else None)
    assert (len(data.train), len(data.test), data.num_classes) == (50, 10, 10)
    # The files store each image as its red, green and blue planes, row by row.
    assert np.array_equal(data.train.pixels[0].numpy(), first[0].reshape(3, 32, 32))
    assert data.train.labels[:10].tolist() == list(range(10))
    assert data.mean == (0.4914, 0.4822, 0.4465)
    assert data.std == (0.2023, 0.1994, 0.2010)


def test_soft_filter_pruning_normalises_by_the_constants_of_its_own_scripts(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    usual, own = (rl.load_data("cifar10", root=tmp_path, normalise=n) for n in (None, "own"))
    # The released script has them on the scale of 0 to 255.
    assert [255 * value for value in own.mean] == pytest.approx([125.3, 123.0, 113.9])
    assert [255 * value for value in own.std] == pytest.approx([63.0, 62.1, 66.7])
    assert own.fingerprint != usual.fingerprint, "other constants are another task"
    assert OWN["cifar100"] == ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4))


@pytest.mark.parametrize(("name", "normalise", "says"), [
    ("digits", "own", "digits has one mean"), ("folder:/images", "own", "folder:/images has one"),
    ("cifar10", "owm", "Did you mean 'own'"), ("cifar100", 3, "Known: own")])
def test_constants_that_images_do_not_have_are_refused(name, normalise, says):
    with pytest.raises(ConfigError, match=says):
        rl.load_data(name, normalise=normalise)
    with pytest.raises(ConfigError, match=says):
        rl.Study(dataset=name, normalise=normalise)


def test_a_study_says_how_it_normalises_only_where_it_is_not_as_usual():
    usual, own = (rl.Study(dataset="cifar10", normalise=n) for n in (None, "own"))
    assert "normalise" not in usual.source
    assert "normalise" not in usual._identity(), "names given before stay"
    assert own.source["normalise"] == "own"
    assert own.name != usual.name
    assert rl.Study.from_dict(own.to_dict()) == own


def test_without_a_network_the_error_names_place_and_remedy(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", no_network)
    with pytest.raises(rl.RethinkError) as caught:
        rl.load_data("cifar100", root=tmp_path)
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "cifar-100-python.tar.gz" in text
    assert "RETHINKLAB_DATA" in text
