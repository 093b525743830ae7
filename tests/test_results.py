"""What results offer beyond a table: families of claims, image by image, cost, other studies."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from safetensors.torch import load_file
from small_studies import run, write_pair

import rethinklab as rl
from rethinklab.analysis.mcnemar import mcnemar
from rethinklab.analysis.statistics import compare_family, compare_paired
from rethinklab.errors import ConfigError, Missing

RECIPE = rl.Recipe(epochs=1, lr=0.02, batch_size=16)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


def study_of(images, **changes):
    return rl.Study(**{"dataset": images, "model": "vgg11", "width": 0.0625, "target": 0.5,
                       "seeds": 3, "recipe": RECIPE, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return rl.Store(tmp_path_factory.mktemp("store") / "runs")


@pytest.fixture(scope="module")
def results(images, store):
    return run(study_of(images, preset="l1-vgg16-cifar10"), store)


def test_verdicts_are_one_family(results):
    found = results.verdicts()
    assert [c.a for c in found] == ["Scratch-E", "Scratch-B"]
    pairs = [(c.a, c.b, list(results.accuracies(name)), list(results.accuracies("finetune")))
             for c, name in zip(found, ("scratch-e", "scratch-b"), strict=True)]
    assert [str(c) for c in found] == [str(c) for c in compare_family(pairs, margin=results.margin)]
    assert {c.family for c in found} == {2}
    assert results.compare("scratch-e", "finetune").family == 1


def test_new_weights_are_compared_with_every_way_to_train_inherited_ones():
    rows = [{"regime": regime, "seed": seed, "test_accuracy": 0.9 + seed / 100 + n / 1000,
             "params": 1, "macs": 1, "epochs": 6, "seconds": 1.0}
            for n, regime in enumerate(("unpruned", "pruned", "finetune", "restart", "scratch-e",
                                        "scratch-b")) for seed in range(3)]
    frame = pd.DataFrame(rows)
    found = rl.Results(frame, 0.3, "label").verdicts()
    assert [(c.a, c.b) for c in found] == [
        ("Scratch-E", "Fine-tuned"), ("Scratch-E", "LR restart"),
        ("Scratch-B", "Fine-tuned"), ("Scratch-B", "LR restart")]
    assert {c.family for c in found} == {4}
    alone = frame[~frame["regime"].isin(["finetune", "restart"])]
    assert [(c.a, c.b) for c in rl.Results(alone, 0.3, "label").verdicts()] == [
        ("Scratch-E", "Pruned"), ("Scratch-B", "Pruned")]
    short = rl.Results(frame.assign(epochs=1), 0.3, "label")
    assert any("LR restart has 1 epochs" in note for note in short.notes())


@pytest.mark.parametrize(("longer", "says"), [
    (0.904, r"gains \+0.40 points, within the margin of 0.5: it has converged"),
    (0.895, r"gains -0.50 points, within the margin of 0.5: it has converged"),
    (0.906, r"gains \+0.60 points, more than the margin of 0.5: it has not converged")])
def test_training_for_twice_as_long_tells_whether_the_unpruned_network_converged(longer, says):
    rows = [{"regime": regime, "seed": seed, "test_accuracy": level, "params": 1, "macs": 1,
             "epochs": 6, "seconds": 1.0} for regime, level in (
                 ("unpruned", 0.9), ("unpruned-longer", longer)) for seed in range(2)]
    found = rl.Results(pd.DataFrame(rows), 0.5, "label")
    (note,) = found.notes()
    assert re.search(says, note)
    assert found.cautions() == []
    assert note in str(found)


def test_non_inferiority_is_asked_for(results):
    found = results.compare("scratch-b", "finetune", claim="non-inferiority")
    assert found.verdict in ("not inferior", "not decided")
    with pytest.raises(ConfigError, match="claim"):
        results.compare("scratch-b", "finetune", claim="superiority")


def test_image_by_image_is_from_the_stored_correctness(results, store):
    found = results.mcnemar("scratch-e", "finetune")
    assert len(found) == 3
    rows = results.frame.set_index(["regime", "seed"])
    for seed, one in enumerate(found):
        right = [load_file(store.root / "stages" / rows.loc[(regime, seed), "trained_at"]
                           / "correct.safetensors")["correct"].numpy()
                 for regime in ("scratch-e", "finetune")]
        by_hand = mcnemar(*right)
        assert (one.only_a, one.only_b, one.p) == (by_hand.only_a, by_hand.only_b, by_hand.p)
        gap = rows.loc[("scratch-e", seed), "test_accuracy"] - rows.loc[
            ("finetune", seed), "test_accuracy"]
        assert one.difference == pytest.approx(100 * gap)


def test_what_was_not_recorded_is_named_with_the_remedy(results, tmp_path):
    results.save(tmp_path / "kept")
    kept = rl.load_results(tmp_path / "kept")
    for ask in (lambda: kept.mcnemar("scratch-e", "finetune"), lambda: kept.plan(0),
                lambda: kept.network("scratch-e", 0), lambda: kept.history("scratch-e", 0)):
        with pytest.raises(Missing, match=r"of kept were not kept.*rl\.run\(results\.study\)"):
            ask()
    by_hand = rl.Results(results.frame, 1.0, "label")
    with pytest.raises(Missing, match="came as a table, without networks"):
        by_hand.network("scratch-e", 0)
    with pytest.raises(ConfigError, match="by hand"):
        by_hand.save(tmp_path / "by-hand")


def test_all_that_a_study_made_is_an_attribute_away(results):
    network = results.network("finetune", 1)
    accuracy, _ = rl.evaluate(network, results.study.load())
    assert 100 * accuracy == pytest.approx(results.accuracies("finetune")[1])
    widths = results.table("widths").query("seed == 1").set_index("layer")["after"]
    assert dict(widths) == results.plan(1).kept_widths
    assert results.history("unpruned", 1)["test_accuracy"].iloc[-1] == pytest.approx(
        results.accuracies("unpruned")[1] / 100)
    with pytest.raises(ConfigError, match="Did you mean 'widths'"):
        results.table("width")


def test_the_regimes_asked_for_are_what_is_left(results):
    few = results.only("finetune", "unpruned", "linear")
    assert few.regimes == ["unpruned", "finetune"]
    assert few.summary().equals(results.summary().loc[few.regimes])


def test_stored_and_recorded_results_answer_alike(results, store, tmp_path):
    results.save(tmp_path / "kept")
    stored, kept = rl.load_results(results.name, store), rl.load_results(tmp_path / "kept")
    assert str(stored) == str(kept) == str(results)
    assert replace(kept.study, dataset=stored.study.dataset) == stored.study
    for kind in ("widths", "histories", "overlap"):
        pd.testing.assert_frame_equal(stored.table(kind), kept.table(kind), rtol=1e-4)
        assert stored.table(kind).attrs == kept.table(kind).attrs
    pd.testing.assert_frame_equal(stored.ledger(), kept.ledger())


def test_many_studies_are_loaded_by_name(results, store, tmp_path):
    for name in ("one", "two"):
        results.save(tmp_path / name, ())
    assert list(rl.load_studies(tmp_path)) == ["one", "two"]
    assert list(rl.load_studies(tmp_path, ["two"])) == ["two"]
    assert list(rl.load_studies(tmp_path / "one")) == ["one"]
    assert results.name in rl.load_studies(store.root)
    assert list(rl.load_studies(store, [results.name[:-3]])) == [results.name]
    with pytest.raises(ConfigError, match="Did you mean 'two'"):
        rl.load_studies(tmp_path, ["tow"])
    assert "l1-vgg11-digits-half-classroom" in rl.load_studies()  # those of the kit
    with pytest.raises(ConfigError, match="load_studies"):
        rl.load_results(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no results"):
        rl.load_studies(tmp_path / "empty")


@pytest.mark.parametrize(("file", "old", "new", "said"), [
    ("study.json", '"settings"', '"setting"', "settings"), ("study.json", "{", "[", "study.json"),
    ("trials.csv", "test_accuracy", "accuracy", "no column test_accuracy"),
    ("trials.csv", "finetune", "finetuned", "finetuned"),
    ("trials.csv", "regime,", "regimes,", "no column regime")])
def test_a_damaged_record_is_named(results, tmp_path, file, old, new, said):
    results.save(tmp_path / "kept", ())
    path = tmp_path / "kept" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=said):
        rl.load_results(tmp_path / "kept")


def test_a_result_from_before_correctness_was_stored_is_named(results, store, images, tmp_path):
    place = rl.Store(tmp_path / "runs")
    found = run(study_of(images, seeds=1), place)
    address = found.frame.set_index("regime").loc["scratch-e", "trained_at"]
    (place.root / "stages" / address / "correct.safetensors").unlink()
    with pytest.raises(ConfigError, match="which images scratch-e of seed 0 gets right"):
        found.mcnemar("scratch-e", "finetune")


def test_another_study_is_compared_by_seed(results, images, store):
    control = run(study_of(images, method="random", method_options={"of": "l1"}, seeds=[1, 2, 5]),
                  store)
    found = results.against(control, "finetune")
    first, second = (list(r.accuracies("finetune")[[1, 2]]) for r in (results, control))
    expected = compare_paired(first, second, margin=results.margin,
                              names=("Fine-tuned (l1)", "Fine-tuned (random)"))
    assert str(found) == str(expected)
    fewer = run(replace(study_of(images), images=15), store)
    with pytest.raises(ConfigError, match="differ in data"):
        results.against(fewer, "finetune")
    alone = run(study_of(images, method="random", method_options={"of": "l1"}, seeds=[7]), store)
    with pytest.raises(ConfigError, match="no seed in common"):
        results.against(alone, "finetune")


def test_the_ledger_has_a_row_a_regime(results):
    table = results.ledger()
    assert list(table.index) == ["unpruned", "finetune", "scratch-e", "scratch-b"]
    assert table.loc["finetune", "epochs"] == 2
    assert (table["backward_macs"] == 2 * table["forward_macs"]).all()


def test_parquet_holds_what_csv_holds(results, tmp_path):
    results.to_frame().to_parquet(tmp_path / "r.parquet", index=False)
    whole = pd.read_parquet(tmp_path / "r.parquet")
    assert whole.to_csv(index=False) == results.to_frame().to_csv(index=False)
    assert set(whole["method"]) == {"l1"}


def test_results_are_there_while_the_study_still_runs(images, tmp_path):
    study, store = study_of(images), rl.Store(tmp_path / "runs")
    trials = study.trials(study.load())
    store.save_study(study.name, {"study": study.to_dict(), "addresses": {
        f"{t.seed}/{t.regime}": t.address for t in trials}})
    with pytest.raises(ConfigError, match=r"no trial of .* is stored"):
        rl.load_results(study.name, store)
    for trial in trials[:3]:
        rl.run_one(trial, store, "cpu")
    found = rl.load_results(study.name, store)
    assert len(found.frame) == 3
    assert "Unpruned" in str(found)
