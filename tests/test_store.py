"""The store: whole or not at all, by many writers, through kills and damage."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rethinklab.errors import StoreError
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage, digest


def stage(number: int = 0) -> Stage:
    return Stage("large", {"seed": number}, {"name": "digits"})


def test_what_is_written_is_read_back(tmp_path):
    store = Store(tmp_path / "runs")
    assert not store.has(stage())
    store.write(stage(), {"test_accuracy": 0.5}, lambda f: (f / "x.txt").write_text("x"))
    assert store.has(stage())
    assert store.result(stage()) == {"test_accuracy": 0.5}
    assert (store.folder(stage()) / "x.txt").read_text() == "x"
    spec = json.loads((store.folder(stage()) / "spec.json").read_text())
    assert (spec["kind"], spec["seed"], spec["schema"]) == ("large", 0, 1)
    assert list(store.scan()) == [{"test_accuracy": 0.5}]


def test_the_first_result_stays(tmp_path):
    store = Store(tmp_path)
    store.write(stage(), {"who": "first"})
    store.write(stage(), {"who": "second"})
    assert store.result(stage()) == {"who": "first"}
    assert list((tmp_path / "work").iterdir()) == []


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.floats(allow_nan=False,
                                                                     allow_infinity=False),
                                            st.text()), max_size=5))
def test_addresses_do_not_depend_on_the_order_of_settings(spec):
    assert digest(spec) == digest(dict(reversed(spec.items())))


def test_addresses_see_every_setting_and_not_the_source():
    spec = {"seed": 0, "recipe": {"lr": 0.1}}
    other = Stage("large", {"seed": 0, "recipe": {"lr": 0.2}}, {})
    assert Stage("large", spec, {}).address != other.address
    assert Stage("large", spec, {"name": "a"}).address == Stage("large", spec, {}).address


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
    assert list(store.scan()) == [{"fine": 1}]
    assert list((tmp_path / "work").iterdir()) == []


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


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_store_without_permission_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "locked" / "runs")


def test_a_newer_store_is_refused_and_left_alone(tmp_path):
    store = Store(tmp_path)
    store.write(stage(), {"a": 1})
    (tmp_path / "store.json").write_text('{"schema": 99}')
    with pytest.raises(StoreError, match="newer"):
        Store(tmp_path)
    assert (tmp_path / "store.json").read_text() == '{"schema": 99}'
    assert (store.folder(stage()) / "result.json").is_file()


def test_places_that_cannot_be_a_store_are_named(tmp_path, monkeypatch):
    with pytest.raises(StoreError, match="no results store"):
        Store(tmp_path / "none", create=False)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "runs")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(StoreError, match="other things"):
        Store(tmp_path / "photos")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "store.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        Store(tmp_path / "odd")

    with pytest.raises(StoreError, match="cannot be used"):
        Store("~nobody-of-this-name/runs")

    def read_only(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(StoreError, match="Read-only file system"):
        Store(tmp_path / "new")


def test_a_damaged_result_is_named_with_the_remedy(tmp_path):
    store = Store(tmp_path)
    store.write(stage(), {"a": 1})
    (store.folder(stage()) / "result.json").write_text('{"a":')
    with pytest.raises(StoreError, match="delete that folder"):
        store.result(stage())


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_store import stage
from rethinklab.experiments.store import Store
store = Store({root!r})
for number in range(20):
    with store.claim(stage(number)) as to_do:
        if to_do:
            with open({log!r}, "a") as log:
                log.write(f"{{number}}\\n")
            store.write(stage(number), {{"number": number}})
"""


def test_many_writers_lose_nothing_and_do_nothing_twice(tmp_path):
    code = WRITER.format(tests=str(Path(__file__).parent), root=str(tmp_path / "runs"),
                         log=str(tmp_path / "log"))
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert sorted(r["number"] for r in Store(tmp_path / "runs").scan()) == list(range(20))
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(20))
    assert list((tmp_path / "runs" / "work").iterdir()) == []


HOLDER = """
import sys, time
sys.path.insert(0, {tests!r})
from test_store import stage
from rethinklab.experiments.store import Store
with Store({root!r}).claim(stage()):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_holder_frees_its_stage(tmp_path):
    code = HOLDER.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    with Store(tmp_path).claim(stage()) as to_do:  # would wait for ever if it were still held
        assert to_do
