"""Clearing a store: leftovers of killed runs go, and what a study or a run may need stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stores import family, hashes, litter, put, stage, two_studies

from rethinklab.experiments.store import Store
from rethinklab.experiments.upkeep import check, gc, needed


@pytest.fixture
def store(tmp_path):
    return two_studies(tmp_path / "runs")


def test_leftovers_are_found_and_removed_and_checkpoints_stay(store):
    before = hashes(store.root)
    left = litter(store)
    found = check(store)
    assert {f.kind for f in found} == {"leftover"}
    named = {f.path for f in found}
    assert all(path in named or named & set(path.parents) for path in left)
    cleared = gc(store)
    assert set(cleared.removed) == named
    assert cleared.freed == 7 + 1 + 1 + 5 + 3 + 2
    assert cleared.in_use == []
    kept = hashes(store.root)
    assert {name: d for name, d in kept.items() if stage(7).address not in name} == before
    assert store.attempts(stage(7)) == 2
    assert check(store) == []
    assert gc(store).removed == []
    assert gc(store, checkpoints=True).freed == len("kept") + len("2")
    assert hashes(store.root) == before
    assert not list((store.root / "work").iterdir())


def test_clearing_away_a_checkpoint_costs_only_the_work_so_far(store):
    litter(store)
    gc(store, checkpoints=True)
    put(store, stage(7))
    assert store.result(stage(7))["attempts"] == 1


def test_what_a_run_holds_stays(store):
    with store.claim(stage(7)):
        draft = store.work(stage(7)) / "draft-1"
        draft.mkdir()
        cleared = gc(store, checkpoints=True)
        assert cleared.in_use == [stage(7).address]
        assert cleared.removed == []
        assert draft.is_dir()
        assert (store.root / "work" / f"{stage(7).address}.lock").exists()
    assert gc(store).removed == [draft]


def test_clearing_does_not_take_a_lock_from_under_one_who_waits(tmp_path):
    """A waiter that gets its lock after its file was removed would work beside another."""
    store = Store(tmp_path)
    code = ("import sys; sys.path.insert(0, {0!r}); from stores import stage\n"
            "from rethinklab.experiments.store import Store\n"
            "print('waits', flush=True)\n"
            "with Store({1!r}).claim(stage()): print('has it', flush=True); sys.stdin.readline()")
    code = code.format(str(Path(__file__).parent), str(tmp_path))
    with store.hold(stage().address):
        waiter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        assert waiter.stdout.readline() == "waits\n"
        store.drop_lock(stage().address)
    assert waiter.stdout.readline() == "has it\n"
    with store.hold(stage().address, wait=False) as held:
        assert not held
    waiter.communicate("\n")
    with store.hold(stage().address, wait=False) as held:
        assert held


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from stores import fill, stage
from rethinklab.experiments.store import Store
store = Store({root!r})

def dies(folder):
    fill(7)(folder)
    os.kill(os.getpid(), signal.SIGKILL)

with store.claim(stage(7)):
    store.write(stage(7), {{}}, dies)
"""


def test_a_run_killed_in_the_middle_of_writing_leaves_only_leftovers(store):
    before = hashes(store.root)
    code = KILLED.format(tests=str(Path(__file__).parent), root=str(store.root))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert {f.kind for f in check(store)} == {"leftover"}
    assert gc(store).freed > 500
    assert check(store) == []
    put(store, stage(7))
    assert store.result(stage(7))["attempts"] == 2
    assert hashes(store.root, stage(7).address) == before


def test_what_a_study_rests_on_is_found_from_specifications_and_results(store):
    large, plan, regime = family(0)
    assert needed(store, [regime.address]) == {large.address, plan.address, regime.address}
    assert needed(store, [plan.address]) == {large.address, plan.address}
    assert needed(store, ["regime-0123456789abcdef"]) == set()
    early = stage(8)  # an earlier epoch is not within the specification of what goes back to it
    put(store, early)
    other = family(2)[2]
    put(store, other, needs=[early.address])
    assert needed(store, [other.address]) == {other.address, early.address}


def test_what_no_study_uses_is_removed_and_the_rest_stays(store):
    before = hashes(store.root)
    for one in (*family(2), stage(7)):
        put(store, one)
    assert gc(store).removed == []
    cleared = gc(store, unreferenced=True)
    assert {p.name for p in cleared.removed} == {s.address for s in (*family(2), stage(7))}
    assert cleared.kept == ""
    assert hashes(store.root) == before
    assert check(store) == []


def test_an_unfinished_study_keeps_what_it_may_need(store):
    """The plan of a trial that is not stored yet cannot be told from plans of no study."""
    large, plan, regime = family(2)
    for one in (large, plan, family(3)[2]):
        put(store, one)
    store.save_study("third", {"study": {}, "addresses": {"2/finetune": regime.address}})
    cleared = gc(store, unreferenced=True)
    assert [p.name for p in cleared.removed] == [family(3)[2].address]
    assert "2 stages that others may rest on stay" in cleared.kept
    assert "third" in cleared.kept
    put(store, regime)
    assert gc(store, unreferenced=True).removed == []
