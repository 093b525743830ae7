"""New weights know of a method only the architecture that it left: they are trained once."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_studies import run, small_study, write_pair

import rethinklab as rl
from rethinklab.errors import StageHeld, StoreError
from rethinklab.experiments.archive import export, import_
from rethinklab.experiments.sharing import architecture, scratch_stage
from rethinklab.experiments.stages import Setting, run_stage, starting_network
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import SCHEMA
from rethinklab.experiments.upkeep import check, gc, repair
from rethinklab.pruners.plan import make_plan
from rethinklab.results.stored import StoredStudy

# Layers that every method can prune; Scratch-B then has other epochs than Scratch-E.
WIDTHS = dict.fromkeys(("features.4", "features.8", "features.11", "features.15"), 0.5)
REGIMES = ["finetune", "scratch-e", "scratch-b"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


def study_by(images, method, **changes):
    return small_study(images, method=method, target=WIDTHS, **{
        "seeds": 1, "regimes": REGIMES, **changes})


@pytest.fixture(scope="module")
def done(images, tmp_path_factory):
    """L1, then three others at its widths, in one store; the trainings from scratch after each."""
    store, counts, found = Store(tmp_path_factory.mktemp("store")), [], {}
    for method in ("l1", "thinet", "regression", "random"):
        found[method] = run(study_by(images, method), store)
        counts.append(sum(a.startswith("scratch-") for a in store.addresses()))
    return store, counts, found


def rows(results, *columns):
    return results.frame.set_index("regime").loc[["scratch-e", "scratch-b"], list(columns)]


def test_methods_of_equal_widths_train_from_scratch_once(done):
    store, counts, found = done
    assert counts == [2] * 4
    first = found["l1"]
    for results in found.values():
        columns = ("trained_at", "trained_for", "test_accuracy", "epochs", "params", "seconds")
        pd.testing.assert_frame_equal(rows(results, *columns), rows(first, *columns))
        assert set(rows(results, "trained_for")["trained_for"]) == {"l1"}
        tuned = results.frame.set_index("regime").loc["finetune"]
        assert tuned["trained_for"] == results.frame["method"].iloc[0]
        assert tuned["trained_at"] == tuned["address"]
    kept = [StoredStudy.named(results.name, store).plan(0) for results in found.values()]
    assert len({str(dict(plan.keep)) for plan in kept}) > 1  # other channels, as many
    assert check(store) == []


def test_what_is_shared_is_what_each_would_have_trained_itself(done, images, tmp_path):
    store, _, found = done
    alone = run(study_by(images, "thinet"), tmp_path / "alone")
    assert set(rows(alone, "trained_for")["trained_for"]) == {"thinet"}
    there = StoredStudy.named(alone.name, alone.store)
    here = StoredStudy.named(found["thinet"].name, store)
    for regime in ("scratch-e", "scratch-b"):
        own, shared = there.state(regime, 0), here.state(regime, 0)
        assert own.keys() == shared.keys()
        assert all(torch.equal(own[name], shared[name]) for name in own)
        assert here.history(regime, 0)["test_accuracy"].tolist() == (
            there.history(regime, 0)["test_accuracy"].tolist())
        accuracy, _ = rl.evaluate(here.network(regime, 0), here.data)
        row = found["thinet"].frame.set_index("regime").loc[regime]
        assert accuracy == pytest.approx(row["test_accuracy"])
    assert found["thinet"].mcnemar("scratch-e", "finetune")


def test_a_ledger_counts_a_shared_training_in_full_and_no_other_methods_plan(done):
    _, _, found = done
    for results in found.values():
        frame = results.frame.set_index("regime")
        large, new = frame.loc["unpruned"], frame.loc["scratch-e"]
        assert new["spent_epochs"] == large["epochs"] + new["epochs"]
        assert new["spent_forward_macs"] == large["spent_forward_macs"] + (
            new["epochs"] * new["train_images"] * new["macs"])
        assert new["spent_calibration_passes"] == frame.loc["finetune", "spent_calibration_passes"]
    assert found["l1"].ledger().loc["scratch-e", "calibration_passes"] == 0


def test_regimes_that_last_as_long_are_one_training(images, tmp_path):
    """With little cut, Scratch-B has the epochs of Scratch-E."""
    study = small_study(images, seeds=1, target={"features.4": 0.25},
                        regimes=["scratch-e", "scratch-b", "scratch-b-capped"])
    results = run(study, tmp_path / "runs")
    frame = results.frame[results.frame["regime"] != "unpruned"]
    assert set(frame["epochs"]) == {2}
    assert frame["trained_at"].nunique() == 1
    assert frame["address"].nunique() == 3
    other = run(replace(study, lrs={"scratch-b": 0.03}), results.store)
    assert other.frame["trained_at"].nunique() == 3  # large, and two learning rates


def test_what_new_weights_do_depend_on_makes_another_training(done, images):
    store, _, found = done
    study = study_by(images, "l1")
    trial = next(t for t in study.trials(study.load()) if t.regime == "scratch-e")
    stage, data = trial.stages[-1], study.load()
    network = starting_network(stage, store, data)
    base = scratch_stage(stage, network, {}, study.large_recipe)
    assert base.address == rows(found["l1"], "trained_at").loc["scratch-e", "trained_at"]
    others = [
        scratch_stage(stage, network, {}, replace(study.large_recipe, lr=0.03)),
        scratch_stage(stage, network, {"features.0.weight": torch.ones(4, 3, 3, 3) > 0},
                      study.large_recipe)]
    for changes in ({"seeds": [1]}, {"precision": "bf16"}, {"model_options": {"batch_norm": False}},
                    {"images": 20}):
        there = replace(study, **changes) if "model_options" not in changes else study
        spec = {**stage.spec}
        if "seeds" in changes:
            spec["seed"] = 1
        elif "precision" in changes:
            spec["precision"] = "bf16"
        else:
            part = {"options": {"width": 1}} if "model_options" in changes else {
                "data": there.load().fingerprint}
            spec["plan"] = {**spec["plan"], "large": {**spec["plan"]["large"], **part}}
        others.append(scratch_stage(replace(stage, spec=spec), network, {}, study.large_recipe))
    assert len({base.address, *(other.address for other in others)}) == len(others) + 1
    longer = replace(study.large_recipe, finetune_epochs=1)
    assert scratch_stage(stage, network, {}, longer).address == base.address


SHAPE = (3, 32, 32)


def fresh(model, **cut):
    plan = make_plan(model, "test", 0.5, SHAPE, cut.pop("keep", {}), {}, {}, **cut)
    return plan.scratch(model, 0), plan.masks


def test_an_architecture_is_its_widths_selections_branches_and_masks():
    model = rl.build_model("resnet20", width=0.5)
    first, last = tuple(range(4)), tuple(range(4, 8))
    conv = "layer1.0.conv1"
    cuts = {
        "whole": {}, "first": {"keep": {conv: first}}, "fewer": {"keep": {conv: first[:3]}},
        "elsewhere": {"keep": {"layer1.1.conv1": first}},
        "read first": {"read": {conv: first}}, "read last": {"read": {conv: last}},
        "branch": {"branches": ("layer1.1",)}, "other branch": {"branches": ("layer1.2",)},
        "mask": {"masks": {f"{conv}.weight": torch.arange(576).view(8, 8, 3, 3) % 2 == 0}},
        "other mask": {"masks": {f"{conv}.weight": torch.arange(576).view(8, 8, 3, 3) % 2 == 1}}}
    digests = {name: architecture(*fresh(model, **cut)) for name, cut in cuts.items()}
    assert len(set(digests.values())) == len(cuts)
    same = {"last": {"keep": {conv: last}},
            "first, and all of another": {"keep": {conv: first, "layer1.1.conv1": range(8)}}}
    for cut in same.values():
        assert architecture(*fresh(model, **cut)) == digests["first"]
    trained = rl.build_model("resnet20", width=0.5, seed=7)  # other values, the same architecture
    assert architecture(*fresh(trained, keep={conv: first})) == digests["first"]


def test_a_mask_found_twice_is_trained_twice_unless_it_is_the_same(images, tmp_path):
    """Weight-level pruning: at one mask the one-shot ticket's random twin is the same training."""
    shared = {"seeds": 1, "regimes": ["scratch-e"], "target": 0.5}
    first = run(small_study(images, method="weight-level", **shared), tmp_path / "runs")
    ticket = run(small_study(images, method="lottery", **shared), first.store)
    random = run(small_study(images, method="random",
                             method_options={"of": "weight-level"}, **shared), first.store)
    at = [results.frame.set_index("regime").loc["scratch-e", "trained_at"]
          for results in (first, ticket, random)]
    assert at[0] == at[1] != at[2]


def test_a_training_that_another_process_holds_is_passed_over(images, tmp_path):
    study = study_by(images, "l1", regimes=["scratch-e"])
    store = Store(tmp_path / "runs")
    large, plan, last = next(t for t in study.trials(study.load())
                             if t.regime == "scratch-e").stages
    for stage in (large, plan):
        run_stage(stage, store, Setting("cpu"))
    network = starting_network(last, store, study.load())
    training = scratch_stage(last, network, {}, study.large_recipe)
    with store.claim(training):
        with pytest.raises(StageHeld) as held:
            run_stage(last, store, Setting("cpu", wait=False))
        assert held.value.address == training.address
        assert store.attempts(last) == 0
        assert not store.is_held(last.address)
    run_stage(last, store, Setting("cpu", wait=False))
    assert store.result(last)["attempts"] == 1


def test_a_lost_training_is_damage_and_is_made_anew(done, images, tmp_path):
    source, _, found = done
    root = tmp_path / "runs"
    shutil.copytree(source.root, root)
    training = rows(found["l1"], "trained_at").loc["scratch-e", "trained_at"]
    weights = root / "stages" / training / "weights.safetensors"
    os.truncate(weights, 100)
    sharing = [row["address"] for row in source.scan() if row.get("trained_at") == training]
    damaged = {finding.path.name for finding in check(root) if finding.is_damage}
    assert damaged == set(sharing)
    assert len(sharing) == 5  # of four methods, and the training itself
    with pytest.raises(StoreError, match="is damaged"):
        export(root, tmp_path / "a.tar")
    assert len(repair(root)) == 5
    assert [finding for finding in check(root) if finding.is_damage] == []
    again = run(study_by(images, "l1"), root)
    pd.testing.assert_frame_equal(rows(again, "test_accuracy", "trained_at"),
                                  rows(found["l1"], "test_accuracy", "trained_at"))


def test_an_archive_takes_the_training_along_and_gc_keeps_it(done, tmp_path):
    store, _, found = done
    export(store, tmp_path / "a.tar.gz", [found["thinet"].name])
    there = Store(tmp_path / "there")
    report = import_(there, tmp_path / "a.tar.gz")
    assert report.refused == []
    assert sum(a.startswith("scratch-") for a in there.addresses()) == 2
    assert check(there) == []
    assert StoredStudy.named(found["thinet"].name, there).network("scratch-e", 0)
    assert gc(there, unreferenced=True).removed == []
    shutil.rmtree(there.root / "studies")
    (there.root / "studies").mkdir()
    gc(there, unreferenced=True)
    assert there.addresses() == []


def test_results_tell_their_schema_and_an_older_store_is_marked_anew(done, tmp_path):
    store, _, found = done
    assert {store.read_address(address)["schema"]
            for address in found["thinet"].frame["address"]} == {SCHEMA}
    assert SCHEMA == 2
    (tmp_path / "store.json").write_text('{"schema": 1}')
    (tmp_path / "stages").mkdir()
    Store(tmp_path, create=False)
    assert (tmp_path / "store.json").read_text() == '{"schema": 1}'
    Store(tmp_path)  # a run may write into it what an older version cannot read
    assert (tmp_path / "store.json").read_text() == '{"schema": 2}'


def test_what_a_result_shares_is_read_where_it_lies(done):
    store, _, found = done
    for _, row in found["thinet"].frame.iterrows():
        right = load_file(store.trained(row["address"]) / "correct.safetensors")["correct"]
        assert float(right.float().mean()) == pytest.approx(row["test_accuracy"])
        own = {p.name for p in (store.root / "stages" / row["address"]).iterdir()}
        assert ("weights.safetensors" in own) == (row["trained_at"] == row["address"])
