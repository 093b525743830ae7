"""The store: whole or not at all, by many writers, through kills and damage."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import put, said, stage

from rethinklab.errors import ConfigError, StoreError
from rethinklab.experiments import upkeep
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import SCHEMA, Stage, digest
from rethinklab.files import write_atomically


def test_what_is_written_is_read_back(tmp_path):
    store = Store(tmp_path / "runs")
    assert not store.has(stage())
    store.write(stage(), {"test_accuracy": 0.5}, lambda f: (f / "x.txt").write_text("x"))
    assert store.has(stage())
    assert said(store.result(stage())) == {"test_accuracy": 0.5}
    assert (store.folder(stage()) / "x.txt").read_text() == "x"
    spec = json.loads((store.folder(stage()) / "spec.json").read_text())
    assert (spec["kind"], spec["seed"], spec["schema"]) == ("large", 0, SCHEMA)
    assert list(store.scan()) == [store.result(stage())]


def test_a_result_names_its_files_with_bytes_and_sha256(tmp_path):
    store = Store(tmp_path)
    put(store, stage())
    folder = store.folder(stage())
    sums = subprocess.run(["sha256sum", *(p.name for p in folder.iterdir())], cwd=folder,
                          capture_output=True, text=True, check=True).stdout
    expected = {name: [os.path.getsize(folder / name), digits]
                for digits, name in map(str.split, sums.splitlines()) if name != "result.json"}
    assert store.result(stage())["files"] == expected
    assert set(expected) == {"spec.json", "weights.safetensors", "history.csv", "plan.json"}


def test_a_draft_lies_with_the_work_that_its_lock_guards(tmp_path):
    store, seen = Store(tmp_path), []
    with store.claim(stage()):
        store.write(stage(), {}, seen.append)
    assert seen[0].parent == store.work(stage())
    assert seen[0].name.startswith("draft-")
    assert not list((tmp_path / "work").iterdir())


def test_a_table_of_all_results(tmp_path):
    store = Store(tmp_path)
    assert store.frame().empty
    for number in range(5):
        put(store, stage(number), test_accuracy=number / 8, ledger={"epochs": 3}, needs=["a"])
    frame = store.frame()
    rows = [{k: v for k, v in row.items() if k not in ("ledger", "needs", "files")}
            for row in map(store.result, map(stage, range(5)))]
    expected = pd.DataFrame(rows).sort_values("address", ignore_index=True)
    pd.testing.assert_frame_equal(frame, expected)
    assert list(frame["address"]) == store.addresses()


def test_what_vanishes_while_scanning_is_passed_over(tmp_path):
    store = Store(tmp_path)
    for number in range(3):
        put(store, stage(number))
    found = store.scan()
    first = next(found)["address"]
    gone, stays = (a for a in store.addresses() if a != first)
    os.rename(tmp_path / "stages" / gone, tmp_path / "elsewhere")
    (tmp_path / "stages" / "large-0000000000000000").mkdir()  # moved by half
    (tmp_path / "stages" / "a-file").touch()
    assert [row["address"] for row in found] == [stays]
    assert sorted(store.frame()["address"]) == sorted([first, stays])


def test_the_first_result_stays(tmp_path):
    store = Store(tmp_path)
    store.write(stage(), {"who": "first"})
    store.write(stage(), {"who": "second"})
    assert said(store.result(stage())) == {"who": "first"}
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
    with pytest.raises(StoreError, match="store repair"):
        store.result(stage())


def test_a_half_written_result_is_named_and_others_are_read(tmp_path):
    store = Store(tmp_path)
    for number in range(3):
        put(store, stage(number))
    path = store.folder(stage(1)) / "result.json"
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match=rf"{stage(1).address} is damaged.*store repair"):
            store.result(stage(1))
        with pytest.raises(StoreError, match=rf"{stage(1).address} is damaged.*store repair"):
            store.frame()
        assert store.result(stage(2))["test_accuracy"] == 0.5
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(StoreError, match="nested too deep"):
        store.result(stage(1))
    path.write_text("[]")
    with pytest.raises(StoreError, match="not a JSON object"):
        store.read_address(stage(1).address)


def test_a_ruin_is_moved_aside_and_costs_no_work(tmp_path):
    store = Store(tmp_path)
    put(store, stage())
    (store.folder(stage()) / "result.json").unlink()
    (store.folder(stage()) / "weights.safetensors").write_bytes(b"half")
    put(store, stage())
    assert upkeep.check(store) == []
    (aside,) = (tmp_path / "quarantine").iterdir()
    assert (aside / "weights.safetensors").read_bytes() == b"half"


def test_a_lost_marker_is_named_with_the_remedy(tmp_path):
    put(Store(tmp_path), stage())
    (tmp_path / "figures").mkdir()
    (tmp_path / "store.json").unlink()
    for create in (True, False):
        with pytest.raises(StoreError, match=r"store.json is lost.*store repair"):
            Store(tmp_path, create=create)


def test_a_study_is_found_by_how_its_name_begins(tmp_path):
    store = Store(tmp_path)
    for name in ("l1-vgg16", "l1-vgg16-b", "slimming"):
        store.save_study(name, {})
    assert store.find_study("s") == "slimming"
    assert store.find_study("l1-vgg16") == "l1-vgg16"
    with pytest.raises(ConfigError, match="l1-vgg16, l1-vgg16-b"):
        store.find_study("l1")
    with pytest.raises(ConfigError, match="unknown study 'x'"):
        store.find_study("x")
    (tmp_path / "studies" / "slimming.json").write_text("{")
    with pytest.raises(StoreError, match=r"slimming.json is damaged.*store repair"):
        store.find_study("s")


def test_attempts_are_counted_and_never_stop_a_run(tmp_path):
    store = Store(tmp_path)
    for number in range(1, 4):
        with store.claim(stage()) as to_do:
            assert to_do
            assert store.attempts(stage()) == number
    for damage in (b"", b"many", b"\xff", b"-5", b"9" * 5000):
        (store.work(stage()) / "attempts").write_bytes(damage)
        assert store.attempts(stage()) == 0
        with store.claim(stage()):
            assert store.attempts(stage()) == 1
    (store.work(stage()) / "attempts").unlink()
    (store.work(stage()) / "attempts").mkdir()
    put(store, stage())
    assert store.result(stage())["attempts"] == 0
    with store.claim(stage()) as to_do:
        assert not to_do
    assert not store.work(stage()).exists()


def test_a_temporary_file_that_is_cleared_away_is_written_again(tmp_path, monkeypatch):
    replace, lost = os.replace, []

    def late(draft, path):
        if len(lost) < 2:
            lost.append(draft)
            os.unlink(draft)
        replace(draft, path)

    monkeypatch.setattr(os, "replace", late)
    write_atomically(tmp_path / "a.json", "content")
    assert (tmp_path / "a.json").read_text() == "content"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a.json", "content")


@pytest.mark.parametrize("now", [0.0, 4e9])
def test_no_clock_is_trusted(tmp_path, monkeypatch, now):
    """Dates of files from 1970 or 2096, and a clock that goes back at every look."""
    ticks = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks) * 10**9)
    store = Store(tmp_path)
    put(store, stage(0))
    with store.claim(stage(1)):
        write_atomically(store.work(stage(1)) / "checkpoint.pt", "kept")
    store.save_study("s", {"study": {}, "addresses": {"0": stage(0).address}})
    for path in tmp_path.rglob("*"):
        os.utime(path, (now, now))
    with store.claim(stage(1)) as to_do:
        assert to_do
        assert upkeep.gc(store).in_use == [stage(1).address]
    assert (store.work(stage(1)) / "checkpoint.pt").read_text() == "kept"
    put(store, stage(1))
    with store.claim(stage(0)) as to_do:
        assert not to_do
    assert store.result(stage(1))["attempts"] == 3
    assert upkeep.check(store) == []
    assert list((tmp_path / "work").iterdir()) == []


WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from stores import fill, stage
from rethinklab.experiments.store import Store
store = Store({root!r})
numbers = [int(sys.argv[1]) * 100 + n for n in range(5)] + list(range(20))
for number in numbers:
    with store.claim(stage(number)) as to_do:
        if to_do:
            with open({log!r}, "a") as log:
                log.write(f"{{number}}\\n")
            time.sleep({pause})
            store.write(stage(number), {{"number": number}}, fill(number))
    store.save_study(f"of-{{number}}", {{"study": {{}}, "addresses": {{
        "0": stage(number).address}}}})
"""


def start_writers(tmp_path, count, pause=0.0):
    code = WRITER.format(tests=str(Path(__file__).parent), root=str(tmp_path / "runs"),
                         log=str(tmp_path / "log"), pause=pause)
    return [subprocess.Popen([sys.executable, "-c", code, str(n + 1)]) for n in range(count)]


def test_many_writers_lose_nothing_and_do_nothing_twice(tmp_path):
    """Eight processes: five stages of each one's own, then the same twenty; clean-ups between."""
    writers = start_writers(tmp_path, 8)
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "runs" / "store.json").is_file():
            upkeep.gc(tmp_path / "runs")
        time.sleep(0.01)
    assert [writer.wait(120) for writer in writers] == [0] * 8
    expected = sorted([100 * w + n for w in range(1, 9) for n in range(5)] + [*range(20)])
    store = Store(tmp_path / "runs")
    assert sorted(r["number"] for r in store.scan()) == expected
    assert {r["attempts"] for r in store.scan()} == {1}
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == expected
    upkeep.gc(store)
    assert upkeep.check(store) == []
    assert list((tmp_path / "runs" / "work").iterdir()) == []


def test_nothing_is_done_twice_but_what_was_in_flight(tmp_path):
    """Writers are killed in the middle; attempts tell what each stage cost."""
    log = tmp_path / "log"
    writers = start_writers(tmp_path, 2, pause=0.05)
    while not log.exists() or len(log.read_text().split()) < 8:
        time.sleep(0.01)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    for writer in writers:
        writer.wait(30)
    assert [writer.wait(120) for writer in start_writers(tmp_path, 2)] == [0, 0]
    store = Store(tmp_path / "runs")
    attempts = {str(result["number"]): result["attempts"] for result in store.scan()}
    begun = Counter(log.read_text().split())
    assert attempts.keys() == begun.keys()
    assert sum(count > 1 for count in attempts.values()) <= len(writers)
    for number, count in attempts.items():  # one more where the kill fell before the log
        assert count in (begun[number], begun[number] + 1)
        assert count <= 2
    upkeep.gc(store)
    assert upkeep.check(store) == []
    assert list((tmp_path / "runs" / "work").iterdir()) == []


HOLDER = """
import sys, time
sys.path.insert(0, {tests!r})
from stores import stage
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
