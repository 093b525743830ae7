"""The store on a disk that is full or read-only: what was there stays, and an error says why."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stores import hashes, put, read_only, said, small_disk, stage

from rethinklab.errors import StoreError
from rethinklab.experiments import upkeep
from rethinklab.experiments.store import Store


def complaint_of(act):
    """The text of the error, empty where there is none."""
    try:
        act()
    except StoreError as error:
        return str(error)
    return ""


class Full:
    """Stands for a disk that fills up while a stage's files are written."""

    def __call__(self, folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_was_there_and_nothing_half(tmp_path):
    store = Store(tmp_path)
    store.write(stage(1), {"fine": 1})
    with pytest.raises(StoreError, match="No space left"):
        store.write(stage(2), {"fine": 2}, Full())
    assert not store.has(stage(2))
    assert [said(row) for row in store.scan()] == [{"fine": 1}]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("left", [0, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64])
def test_a_disk_that_is_full_at_any_point_costs_only_what_was_to_be_written(tmp_path, left):
    with small_disk(tmp_path / "disk", 256) as disk:
        store = Store(disk / "runs")
        put(store, stage(1))
        store.save_study("old", {"study": {}, "addresses": {"1": stage(1).address}})
        before = hashes(disk)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "other").write_bytes(b"x" * max(0, free - left * 1024))
        for write in (lambda: put(store, stage(2)),
                      lambda: store.save_study("new", {"study": {"x": "x" * 9000}})):
            complaint = complaint_of(write)
            assert not complaint or re.search(r"No space left.*ree some space.*again\.$", complaint)
        assert hashes(disk, "other").items() >= before.items()
        if not store.has(stage(2)):
            assert set(hashes(disk / "runs" / "stages")) == {
                name.removeprefix("runs/stages/") for name in before if "/stages/" in name}
        (disk / "other").unlink()
        assert all(f.kind in ("leftover", "waiting") for f in upkeep.check(store)
                   if "new" not in f.path.name)
        upkeep.gc(store)
        if not store.has(stage(2)):
            put(store, stage(2))
        assert not list((disk / "runs" / "work").iterdir())


FILE_LIMIT = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from stores import fill, stage
from rethinklab.errors import StoreError
from rethinklab.experiments.store import Store
store = Store({root!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
with store.claim(stage(2)):
    try:
        store.write(stage(2), {{}}, fill(2))
    except StoreError as error:
        print(error)
"""


def test_a_file_that_may_not_grow_is_named_and_harms_nothing(tmp_path):
    store = Store(tmp_path)
    put(store, stage(1))
    before = hashes(tmp_path)
    code = FILE_LIMIT.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.count("\n") == 1
    assert "could not be stored" in said.stdout
    assert "File too large" in said.stdout
    assert "run again" in said.stdout
    upkeep.gc(store, checkpoints=True)
    assert hashes(tmp_path) == before


def test_a_store_that_became_read_only_is_named_and_still_read(tmp_path):
    store = Store(tmp_path / "runs")
    put(store, stage(1))
    store.save_study("old", {"study": {}, "addresses": {"1": stage(1).address}})
    before = hashes(tmp_path)
    with read_only(tmp_path / "runs"):
        for act in (lambda: put(store, stage(2)), lambda: store.write(stage(2), {}),
                    lambda: store.save_study("new", {}), lambda: Store(tmp_path / "runs")):
            with pytest.raises(StoreError, match=r"(Read-only|Permission).*(choose|free)"):
                act()
        place = Store(tmp_path / "runs", create=False)
        assert len(place.frame()) == 1
        assert upkeep.check(place) == []
    assert hashes(tmp_path) == before


def test_a_disk_that_fills_under_the_weights_is_named(tmp_path):
    import resource

    import rethinklab as rl
    from rethinklab.experiments.stages import save_weights

    store, model = Store(tmp_path), rl.build_model("vgg11", width=0.25)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match="finished before is safe"):
            store.write(stage(), {}, lambda folder: save_weights(model, folder / "w.safetensors"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not store.has(stage())
    assert list((tmp_path / "work").iterdir()) == []


def test_a_store_without_permission_is_named(tmp_path):
    (tmp_path / "locked").mkdir()
    with read_only(tmp_path / "locked"), pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "locked" / "runs")
