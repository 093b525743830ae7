"""Looking after a store: damage is found and moved aside, leftovers go, what is in use stays."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import (
    call,
    family,
    fill,
    hashes,
    litter,
    put,
    read_only,
    small_disk,
    stage,
    two_studies,
)

from rethinklab.errors import StoreError
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage
from rethinklab.experiments.upkeep import check, gc, overview, repair


@pytest.fixture
def store(tmp_path):
    return two_studies(tmp_path / "runs")


def kinds(findings):
    return [(finding.kind, finding.path.name) for finding in findings]


def edit(path: Path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(path: Path, *names):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in names}))


def test_a_healthy_store_has_nothing_to_find_and_check_changes_nothing(store):
    before = hashes(store.root)
    assert check(store) == []
    assert check(str(store.root)) == []
    with read_only(store.root):
        assert check(store) == []
    assert repair(store) == []
    assert hashes(store.root) == before


DAMAGE = {
    "no result": (lambda f: (f / "result.json").unlink(), "result.json is missing"),
    "half a result": (lambda f: os.truncate(f / "result.json", 40), "result.json cannot be read"),
    "a list": (lambda f: (f / "result.json").write_text("[1]"), "not a JSON object"),
    "no spec": (lambda f: (f / "spec.json").unlink(), "spec.json is missing"),
    "half a spec": (lambda f: os.truncate(f / "spec.json", 9), "spec.json cannot be read"),
    "another setting": (lambda f: edit(f / "spec.json", seed=9), "spec.json is of another stage"),
    "another kind": (lambda f: edit(f / "spec.json", kind="x"), "spec.json is of another stage"),
    "no number": (lambda f: edit(f / "spec.json", seed=float("nan")), "of another stage"),
    "another result": (lambda f: edit(f / "result.json", address="large-0"),
                       "result.json is of another stage"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "safetensors is missing"),
    "cut weights": (lambda f: os.truncate(f / "weights.safetensors", 300),
                    "weights.safetensors has 300 bytes and was written with"),
    "a flipped bit": (lambda f: flip(f / "weights.safetensors", -1),
                      "weights.safetensors is not what was written"),
    "an odd manifest": (lambda f: edit(f / "result.json", files={"a": 1}), "of another form"),
    "odd needs": (lambda f: edit(f / "result.json", needs=5), "does not say what it needs"),
    "a file instead": (lambda f: (shutil.rmtree(f), f.write_text("x")), "not a folder"),
}


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_found_moved_aside_and_made_anew(store, kind):
    harm, text = DAMAGE[kind]
    victim = family(0)[2]
    folder = store.folder(victim)
    whole = hashes(store.root)
    harm(folder)
    damaged = hashes(store.root)
    findings = [f for f in check(store) if f.kind != "waiting"]
    assert kinds(findings) == [("stage", victim.address)]
    assert text in findings[0].text
    assert findings[0].mendable
    assert hashes(store.root) == damaged

    (said,) = repair(store)
    assert victim.address in said
    assert text in said
    assert sorted(hashes(store.root / "quarantine").values()) == sorted(
        d for name, d in damaged.items() if victim.address in name)
    assert kinds(check(store)) == [("waiting", "first.json")]
    put(store, victim)
    assert check(store) == []
    assert hashes(store.root, "quarantine") == whole


@pytest.mark.parametrize(("name", "size"), [("weights.safetensors", 0), ("plan.json", 5),
                                            ("weights.safetensors", 300), ("history.csv", 13)])
def test_damage_is_found_without_a_manifest_too(store, name, size):
    """Results from before there were manifests."""
    for one in (*family(0), *family(1)):
        drop(store.folder(one) / "result.json", "files", "attempts")
    assert check(store) == []
    os.truncate(store.folder(family(0)[0]) / name, size)
    (finding,) = check(store)
    assert finding.path.name == family(0)[0].address
    assert f"{name} is cut short or damaged" in finding.text


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return two_studies(tmp_path_factory.mktemp("sound") / "runs")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_cut_and_any_flipped_bit_of_a_stage_is_found(sound, draw):
    stages = sorted((sound.root / "stages").iterdir())
    path = draw.draw(st.sampled_from(sorted(p for s in stages for p in s.iterdir())))
    content = path.read_bytes()
    position = draw.draw(st.integers(0, len(content) - 1))
    cut = path.name == "result.json" or draw.draw(st.booleans())
    try:
        os.truncate(path, position) if cut else flip(path, position)
        assert kinds(check(sound)) == [("stage", path.parent.name)]
    finally:
        path.write_bytes(content)
    assert check(sound) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"study": {}}',
                                     '{"study": {}, "addresses": {"0": "../../x"}}'])
def test_damaged_studies_are_moved_aside(store, content):
    path = store.root / "studies" / "first.json"
    path.write_text(content)
    assert kinds(check(store)) == [("study", "first.json")]
    with pytest.raises(StoreError, match=r"first.json is damaged|first is damaged"):
        gc(store, unreferenced=True)
    assert len(repair(store)) == 1
    assert [p.read_text() for p in (store.root / "quarantine").iterdir()] == [content]
    assert list(store.studies()) == ["second"]
    assert check(store) == []


def test_a_study_that_waits_for_results_is_no_damage(store):
    shutil.rmtree(store.folder(family(0)[2]))
    (finding,) = check(store)
    assert (finding.kind, finding.is_damage, finding.mendable) == ("waiting", False, False)
    assert "1 of 2 results are not there yet" in finding.text
    assert call("check", "--store", store.root)[0] == 0


@pytest.mark.parametrize("content", [None, "", "{", '{"schema": "one"}', "[]"])
def test_a_lost_store_json_is_written_anew(store, content):
    marker = store.root / "store.json"
    whole = hashes(store.root)
    marker.unlink() if content is None else marker.write_text(content)
    (store.root / "figures").mkdir()
    with pytest.raises(StoreError, match="store repair"):
        Store(store.root)
    assert kinds(check(store.root)) == [("store", "store.json")]
    assert call("check", "--store", store.root)[0] == 3
    assert call("repair", "--store", store.root)[0] == 0
    assert hashes(store.root) == whole
    assert check(store.root) == []


def test_a_newer_store_is_left_alone(store):
    newer = Stage("large", {"seed": 5}, {})
    folder = store.folder(newer)
    put(store, newer)
    edit(folder / "spec.json", schema=99)
    (store.root / "store.json").unlink()
    with pytest.raises(StoreError, match="newer"):  # a lost marker is as new as the newest stage
        repair(store.root)
    before = hashes(store.root)
    for act in (check, repair, gc):
        with pytest.raises(StoreError, match="newer"):
            act(store.root)
    assert hashes(store.root) == before


def test_what_is_no_store_is_named(tmp_path):
    for act in (check, repair, gc):
        with pytest.raises(StoreError, match="no results store"):
            act(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_stage_at_work_is_not_moved_aside(store):
    victim = family(0)[0]
    (store.folder(victim) / "result.json").unlink()
    with store.claim(victim) as to_do:
        assert to_do
        (said,) = repair(store)
        assert "left alone" in said
        store.write(victim, {"address": victim.address}, fill(0))
    assert [f for f in check(store) if f.is_damage] == []


def test_a_store_that_cannot_be_written_is_not_harmed_by_upkeep(store):
    (store.folder(family(0)[0]) / "weights.safetensors").unlink()
    litter(store)
    before = hashes(store.root)
    with read_only(store.root):
        assert len([f for f in check(store) if f.is_damage]) == 1
        for act in (repair, gc):
            with pytest.raises(StoreError, match=r"Read-only|Permission|locked"):
                act(store)
    assert hashes(store.root) == before


def test_a_full_disk_does_not_stop_clearing_away(tmp_path):
    with small_disk(tmp_path / "disk", 512) as disk:
        store = two_studies(disk / "runs")
        before = hashes(disk)
        litter(store)
        with pytest.raises(OSError, match="No space left"):
            (store.work(stage(7)) / "draft-1" / "rest").write_bytes(bytes(1 << 20))
        assert gc(store, checkpoints=True).freed > 100_000
        assert hashes(disk) == before


def test_an_overview_counts_results_and_bytes(store):
    shutil.rmtree(store.folder(family(1)[2]))
    shown = overview(store)
    assert shown.studies == {"first": (2, 2), "second": (1, 2)}
    assert shown.stages == 5
    assert shown.bytes == sum(p.stat().st_size for p in store.root.rglob("*") if p.is_file())
    code, out, _ = call("list", "--store", store.root)
    assert code == 0
    assert "second  1 of 2 results" in out


def test_the_command_line_of_upkeep(store):
    assert call("check", "--store", store.root) == (0, "Nothing is damaged.\n", "")
    litter(store)
    code, out, _ = call("check", "--store", store.root)
    assert code == 0
    assert "store gc" in out
    os.truncate(store.folder(family(0)[0]) / "weights.safetensors", 100)
    code, out, _ = call("check", "--store", store.root)
    assert code == 3
    assert "damaged stage" in out
    assert "store repair" in out
    code, out, _ = call("repair", "--store", store.root)
    assert (code, out.count("quarantine")) == (0, 1)
    code, out, _ = call("gc", "--store", store.root, "--checkpoints", "--unreferenced")
    assert code == 0
    assert "freed" in out
    assert call("check", "--store", store.root)[0] == 0
    code, out, err = call("check", "--store", "nowhere")
    assert (code, out) == (3, "")
    assert "no results store" in err
    assert err.count("\n") == 1
