"""Every younger method from a study's declaration to its verdict, and what its ledger holds."""

from __future__ import annotations

import pytest
from small_studies import run, small_study, write_pair

import rethinklab as rl
from rethinklab.cli import listing

OLD = {"l1", "thinet", "regression", "slimming", "sss", "soft-filter", "weight-level", "lottery",
       "transferred", "random", "shuffled", "uniform", "random-widths", "guided"}
OPTIONS = {"synflow": {"rounds": 3}, "layer-magnitude": {"densities": "erk"},
           "inverted": {"of": "snip"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("younger")
    return write_pair(root / "images"), root / "runs"


def study_of(method, images, **changes):
    inherited = rl.Study(method=method, model="vgg11", target=0.5,
                         method_options=OPTIONS.get(method, {})).regime_names[0]
    return small_study(images, method=method, method_options=OPTIONS.get(method, {}), **{
        "seeds": 1, "regimes": [inherited, "scratch-e"],
        "recipe": rl.Recipe(epochs=1, lr=0.02, batch_size=21), **changes})


@pytest.mark.parametrize("method", sorted(set(rl.pruners.METHODS) - OLD))
def test_every_younger_method_is_a_study(method, place):
    images, store = place
    study = study_of(method, images)
    results = run(study, store)
    frame = results.frame.set_index("regime")
    assert frame["test_accuracy"].notna().all()
    assert frame.loc[study.regime_names[0], "params"] == pytest.approx(
        frame.loc["scratch-e", "params"], rel=0.01)  # of masks those that are not zero
    assert frame.loc["scratch-e", "params"] < 0.6 * frame.loc["unpruned", "params"]
    spent, own = results.ledger()["epochs"], frame["epochs"]
    before = study.acting.before_training
    assert spent["scratch-e"] == own["scratch-e"] + (0 if before else own["unpruned"])


def test_a_ledger_of_a_plan_before_training_counts_its_images_and_no_training(place):
    images, store = place
    snip, synflow = (run(study_of(method, images), store).ledger() for method in
                     ("snip", "synflow"))
    assert snip.loc["ticket", "train_images"] == snip.loc["unpruned", "train_images"]
    assert snip.loc["ticket", "calibration_passes"] == 42
    assert synflow.loc["ticket", "calibration_passes"] == 0


def test_methods_are_listed_by_when_they_look_and_what_they_cut():
    groups = listing.method_groups()
    assert groups["before training, weights"] == ["random-mask", "snip", "grasp", "synflow"]
    assert groups["during training, channels"] == ["slimming", "sss", "soft-filter"]
    assert groups["during training, weights"] == ["gradual"]
    assert {"l1", "l2", "taylor", "hrank"} <= set(groups["after training, channels"])
    assert {"lamp", "lottery"} <= set(groups["after training, weights"])
    assert sorted(name for names in groups.values() for name in names) == sorted(
        rl.pruners.METHODS)
