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
