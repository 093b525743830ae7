"""The learning-rate grid: equal trials, no look at the test images, edges named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from image_folders import write_images

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.experiments.tuning import tune

OPTIONS = {"workers": 0, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", {"dark": 40, "light": 44})
    write_images(root / "test", {"dark": 10, "light": 11}, seed=1)
    study = rl.Study(dataset=f"folder:{root}", model="vgg11", width=0.0625, target=0.5, seeds=2,
                     regimes=["finetune", "scratch-e", "pruned"],
                     recipe=rl.Recipe(epochs=2, lr=0.02, batch_size=16))
    store = rl.Store(tmp_path_factory.mktemp("store") / "runs")
    return study, store, tune(study, store, factors=(0.1, 1, 4), hold_out=0.25, **OPTIONS)


def test_every_arm_has_as_many_trials(tuned):
    _, _, found = tuned
    assert found.table.groupby("regime")["n"].sum().to_dict() == {
        "unpruned": 6, "finetune": 6, "scratch-e": 6}
    assert found.table.groupby("regime")["factor"].apply(list).map(tuple).nunique() == 1


def test_the_best_on_held_out_images_is_chosen_for_each_arm(tuned):
    study, _, found = tuned
    for arm, rows in found.table.groupby("regime"):
        best = rows.loc[rows["accuracy"].idxmax()]
        (chosen,) = rows[rows["chosen"]].to_dict("records")
        assert chosen["accuracy"] == best["accuracy"]
        rate = found.study.large_recipe.lr if arm == "unpruned" else found.study.lrs.get(arm)
        assert rate == (pytest.approx(chosen["lr"]) if rate is not None else None)
        assert rate is not None or chosen["factor"] == 1
    assert found.study.hold_out is None
    assert found.study.regimes == study.regimes


def test_no_network_of_the_grid_was_tested_on_the_test_images(tuned):
    study, store, _ = tuned
    held = study.load().hold_out(0.25)
    rows = [row for row in store.scan() if "test_images" in row]
    assert rows
    assert {row["test_images"] for row in rows} == {len(held.test)}
    assert {row["train_images"] for row in rows} == {len(held.train)}


def test_the_grid_is_no_result_of_a_row_and_has_names_of_its_own(tuned):
    _, store, _ = tuned
    studies = store.studies()
    assert studies
    assert all(name.startswith("tuning-") for name in studies)
    assert all(not content["study"]["preset"] for content in studies.values())


def test_a_training_that_is_not_on_the_grid_is_said(tuned):
    study, store, _ = tuned
    slim = replace(study, method="slimming", target=0.3, method_options={"minimum": 1},
                   regimes=["scratch-e"], seeds=1)
    found = tune(slim, store, factors=(1, 2), hold_out=0.25, **OPTIONS)
    assert any("slimming acts" in note for note in found.notes)


def test_a_best_rate_at_the_edge_is_said(tuned):
    _, _, found = tuned
    chosen = found.table[found.table["chosen"]]
    at_edge = chosen[chosen["factor"].isin([0.1, 4])]
    assert len(found.notes) == len(at_edge)  # L1-norm pruning trains nothing besides
    assert all("of the grid" in note for note in found.notes)
    assert str(found).count("Note:") == len(found.notes)


def test_the_tuned_study_runs(tuned):
    _, store, found = tuned
    results = rl.run(found.study, store, **OPTIONS)
    assert set(results.regimes) == {"unpruned", "pruned", "finetune", "scratch-e"}


def test_a_rate_that_diverges_is_not_chosen(tuned, tmp_path):
    study, _, _ = tuned
    found = tune(study, tmp_path / "runs", factors=(1, 1e5), hold_out=0.25, **OPTIONS)
    assert found.table[found.table["chosen"]]["factor"].eq(1).all()
    assert found.table[found.table["factor"] == 1e5]["accuracy"].isna().any()
    assert "diverged" in str(found)


@pytest.mark.parametrize("grid", [(1,), (), (0.3, 3), (0, 1), (1, float("inf"))])
def test_grids_that_are_none_are_named(tuned, grid):
    with pytest.raises(ConfigError, match="learning-rate grid"):
        tune(tuned[0], tuned[1], factors=grid)
