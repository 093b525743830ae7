"""What a study's regimes start from and spend, against the same done by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_studies import run, write_pair

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.experiments.stages import Setting, load_network, load_plan, run_stage
from rethinklab.experiments.watchers import TimeUp
from rethinklab.trainers.evaluate import correctness
from rethinklab.trainers.regimes import REGIMES, find_regime

RECIPE = rl.Recipe(epochs=4, lr=0.02, batch_size=16)
RETRAINED = ("finetune", "finetune:0.5", "lr-rewind", "lr-rewind:0.5", "weight-rewind",
             "weight-rewind:0.5", "one-cycle", "restart", "linear", "scratch-b-full", "sx-a",
             "ticket", "pruned", "unpruned-longer", "unpruned-rewind")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


def study_of(images, **changes):
    return rl.Study(**{"dataset": images, "model": "vgg11", "width": 0.0625, "target": 0.5,
                       "seeds": 1, "recipe": RECIPE, **changes})


@pytest.fixture(scope="module")
def done(images, tmp_path_factory):
    store = rl.Store(tmp_path_factory.mktemp("store"))
    study = study_of(images, regimes=RETRAINED)
    return study, store, run(study, store)


def trial_of(study, regime):
    return next(t for t in study.trials(study.load()) if t.regime == regime)


def weights_of(stage, store):
    return load_file(store.folder(stage) / "weights.safetensors")


def same(model, stored):
    state = model.state_dict()
    return all(torch.equal(state[name], value) for name, value in stored.items())


def test_every_regime_ran_for_its_epochs(done):
    _, _, results = done
    epochs = results.summary()["epochs"].astype(int).to_dict()
    ratio = results.summary().loc["unpruned", "macs"] / results.summary().loc["pruned", "macs"]
    assert epochs.pop("scratch-b-full") == pytest.approx(4 * ratio + 1, abs=1)
    assert epochs == {"unpruned": 4, "pruned": 0, "finetune": 1, "finetune:0.5": 2, "lr-rewind": 4,
                      "lr-rewind:0.5": 2, "weight-rewind": 4, "weight-rewind:0.5": 2,
                      "one-cycle": 1, "restart": 1, "linear": 1, "sx-a": 5, "ticket": 4,
                      "unpruned-longer": 8, "unpruned-rewind": 4}


@pytest.mark.parametrize("name", ["lr-rewind", "lr-rewind:0.5"])
def test_learning_rate_rewinding_is_the_end_of_the_schedule_on_inherited_weights(done, name):
    study, store, _ = done
    trial = trial_of(study, name)
    large, plan, last = trial.stages
    start = load_plan(plan, store).apply(load_network(large, store))
    first = find_regime(name).first_epoch(RECIPE)
    by_hand = rl.train(start, study.load(), RECIPE, first_epoch=first, device="cpu",
                       progress=False)
    assert same(by_hand.model, weights_of(last, store))


def test_the_unpruned_network_is_trained_for_longer_or_on(done):
    study, store, results = done
    new = rl.build_model("vgg11", num_classes=2, width=0.0625, seed=0)
    longer = replace(RECIPE, epochs=8)
    large = results.network("unpruned", 0)
    for regime, start, recipe in (("unpruned-longer", new, longer),
                                  ("unpruned-rewind", large, RECIPE)):
        by_hand = rl.train(start, study.load(), recipe, device="cpu", progress=False)
        assert same(by_hand.model, weights_of(trial_of(study, regime).stages[-1], store))
        assert same(results.network(regime, 0), by_hand.model.state_dict())
    rows = results.frame.set_index("regime")
    assert rows.loc["unpruned-longer", "spent_epochs"] == 8  # it rests on nothing
    assert rows.loc["unpruned-rewind", "spent_epochs"] == 4 + 4
    assert rows.loc["unpruned-rewind", "params"] == rows.loc["unpruned", "params"]
    assert "twice as long" in results.notes()[-1]


def test_methods_share_what_is_trained_of_the_unpruned_network(images):
    """Whatever prunes it, and whatever a method counts as its fine-tuning."""
    regimes = ["unpruned-longer", "unpruned-rewind", "finetune"]
    first, *others = (
        {trial.regime: trial.address for trial in study.trials(study.load())}
        for study in (study_of(images, regimes=regimes, **changes) for changes in (
            {}, {"method": "thinet"}, {"target": 0.25}, {"method": "slimming"},
            {"method": "soft-filter", "method_options": {"pretrained": True}},
            {"recipe": replace(RECIPE, finetune_epochs=3, counted_epochs=8)})))
    for other in others:
        assert other.pop("finetune") != first["finetune"]
        assert other == {name: first[name] for name in other}
    assert len(set(first.values())) == 4
    unlike = study_of(images, regimes=regimes, recipe=replace(RECIPE, lr=0.01))
    assert not set(first.values()) & {trial.address for trial in unlike.trials(unlike.load())}


def test_what_is_unpruned_takes_no_part_in_the_verdicts(done):
    _, _, results = done
    compared = {name for c in results.verdicts() for name in (c.a, c.b)}
    assert not {title for title in compared if title.startswith("Unpruned")}
    control = results.compare("lr-rewind", "unpruned-rewind")
    assert (control.a, control.b) == ("LR rewinding", "Unpruned, rewound")
    assert results.regimes[:3] == ["unpruned", "unpruned-longer", "unpruned-rewind"]


def test_weight_rewinding_goes_back_to_the_weights_of_that_epoch(done):
    study, store, _ = done
    trial = trial_of(study, "weight-rewind:0.5")
    large, plan, early, last = trial.stages
    assert early.spec == {**large.spec, "until": 2}
    network = rl.train(rl.build_model("vgg11", num_classes=2, width=0.0625), study.load(), RECIPE,
                       last_epoch=2, device="cpu", progress=False).model
    assert same(network, weights_of(early, store))
    ticket = load_plan(plan, store).ticket(network)
    by_hand = rl.train(ticket, study.load(), RECIPE, first_epoch=2, device="cpu", progress=False)
    assert same(by_hand.model, weights_of(last, store))


def test_rewinding_to_the_start_is_the_winning_ticket(done):
    study, _, results = done
    trial = trial_of(study, "weight-rewind")  # a tenth of four epochs is none
    assert [stage.kind for stage in trial.stages] == ["large", "plan", "regime"]
    frame = results.frame.set_index("regime")["test_accuracy"]
    assert frame["weight-rewind"] == frame["ticket"]


def test_stored_correctness_is_the_accuracy_image_by_image(done):
    study, store, results = done
    data = study.load()
    for _, row in results.frame.iterrows():
        right = load_file(store.trained(row["address"]) / "correct.safetensors")["correct"]
        assert float(right.float().mean()) == pytest.approx(row["test_accuracy"])
    large = trial_of(study, "unpruned").stages[0]
    assert torch.equal(correctness(load_network(large, store), data),
                       load_file(store.folder(large) / "correct.safetensors")["correct"])


def test_the_ledger_adds_what_a_trial_and_all_before_it_spent(done):
    _, _, results = done
    rows = results.frame.set_index("regime")
    large, tuned = rows.loc["unpruned"], rows.loc["finetune"]
    images = 42
    assert large["spent_forward_macs"] == images * 4 * large["macs"]
    assert tuned["spent_epochs"] == 5
    assert tuned["spent_train_images"] == images * 5
    forward = images * (4 * large["macs"] + tuned["macs"])
    assert tuned["spent_forward_macs"] == forward
    assert tuned["spent_backward_macs"] == 2 * forward
    rewound = rows.loc["weight-rewind:0.5"]
    assert rewound["spent_epochs"] == 4 + 2 + 2  # large, back to its middle, the rest
    assert rewound["spent_seconds"] >= large["spent_seconds"]


def test_passes_over_calibration_images_are_counted(images, tmp_path):
    study = study_of(images, method="thinet", regimes=["pruned"], recipe=rl.Recipe(epochs=1),
                     method_options={"images": 30})
    results = run(study, tmp_path / "runs")
    spent = results.frame.set_index("regime")["spent_calibration_passes"]
    assert spent["unpruned"] == 0
    assert spent["pruned"] % 30 == 0
    assert spent["pruned"] >= 30 * 7  # at least one look at each layer but the last


def test_training_inside_a_method_is_counted(images, tmp_path):
    study = study_of(images, method="lottery", target=0.2, method_options={"rounds": 3},
                     regimes=["ticket"], recipe=rl.Recipe(epochs=2, lr=0.02, batch_size=16))
    results = run(study, tmp_path / "runs")
    spent = results.frame.set_index("regime")["spent_epochs"]
    assert spent["ticket"] == 2 + 2 * 2 + 2  # large, two rounds more, the ticket


def test_an_own_learning_rate_is_another_trial_with_that_rate(images, tmp_path):
    usual = study_of(images, regimes=["finetune", "scratch-e"])
    other = study_of(images, regimes=["finetune", "scratch-e"], lrs={"finetune": 0.01})
    assert usual.name != other.name
    assert trial_of(usual, "scratch-e").address == trial_of(other, "scratch-e").address
    run(other, tmp_path / "runs")
    stage = tmp_path / "runs" / "stages" / trial_of(other, "finetune").address
    assert set(pd.read_csv(stage / "history.csv")["lr"]) == {0.01}
    with pytest.raises(ConfigError, match="lrs names 'linear'"):
        study_of(images, regimes=["finetune"], lrs={"linear": 0.01})


def test_soft_filter_pruning_from_a_trained_network_begins_with_its_weights(images, tmp_path):
    study = study_of(images, method="soft-filter", target=0.25, regimes=["pruned"],
                     method_options={"pretrained": True})
    trial = trial_of(study, "pruned")
    plain, soft, plan, _ = trial.stages
    assert (plain.address, soft.needs, plan.needs) == (trial_of(study, "unpruned").address,
                                                       (plain,), (soft,))
    assert soft.spec["recipe"]["lr"] == pytest.approx(RECIPE.lr / 10)
    store = rl.Store(tmp_path / "runs")
    run(study, store)
    from rethinklab.pruners.soft_filter import SoftPruning
    by_hand = rl.train(load_network(plain, store), study.load(),
                       rl.Recipe(**soft.spec["recipe"]), callbacks=[SoftPruning(0.25)],
                       device="cpu", progress=False)
    assert same(by_hand.model, weights_of(soft, store))


def test_a_published_architecture_is_trained_from_scratch_beside_the_large_network(images,
                                                                                   tmp_path):
    study = study_of(images, model="resnet32", width=0.5, target=0.5, pruned_model="resnet20",
                     regimes=["scratch-e", "scratch-b"], recipe=rl.Recipe(epochs=2, batch_size=16))
    results = run(study, tmp_path / "runs")
    small = rl.build_model("resnet20", num_classes=2, width=0.5)
    large = rl.build_model("resnet32", num_classes=2, width=0.5)
    costs = [rl.profile(m, (3, 8, 8), latency=False) for m in (large, small)]
    rows = results.summary()
    assert rows.loc["scratch-e", "params"] == costs[1].params
    assert rows.loc["scratch-b", "epochs"] == int(2 * costs[0].flops / costs[1].flops)
    assert len(trial_of(study, "scratch-e").stages) == 1
    with pytest.raises(ConfigError, match="none to inherit"):
        study_of(images, pruned_model="resnet20", regimes=["finetune"])
    with pytest.raises(ConfigError, match="pruned_model 'resnet21'"):
        study_of(images, pruned_model="resnet21", regimes=["scratch-e"])


def test_a_held_out_study_never_sees_the_test_images(images):
    study, held = study_of(images), study_of(images, hold_out=0.25)
    data, kept = study.load(), held.load()
    assert held.name != study.name
    assert len(kept.train) + len(kept.test) == len(data.train)
    everything = {row.numpy().tobytes() for row in data.train.pixels}
    assert all(row.numpy().tobytes() in everything for row in kept.test.pixels)


def test_every_regime_is_in_the_lists(images):
    assert set(REGIMES) >= {"finetune", "lr-rewind", "weight-rewind", "one-cycle", "restart",
                            "linear", "scratch-e", "scratch-b", "scratch-b-capped",
                            "scratch-b-full", "sx-a"}
    names = study_of(images, regimes=["sx-b", "scratch-b-full", "finetune"]).regimes
    assert names == ("scratch-b-full", "finetune")


def test_time_is_up_before_an_epoch_that_would_not_end(done, tmp_path):
    study, _, _ = done
    store = rl.Store(tmp_path / "runs")
    large = trial_of(study, "unpruned").stages[0]
    with pytest.raises(rl.RethinkError, match="goes on from there") as stopped:
        run_stage(large, store, Setting("cpu", seconds=0.0))
    assert stopped.value.exit_code == 4
    assert (store.work(large) / "checkpoint.pt").is_file()
    run_stage(large, store, Setting("cpu", seconds=1000))
    assert store.result(large)["epochs"] == 4

    state = SimpleNamespace(history=[{"seconds": 3.0}, {"seconds": 1.0}])
    assert TimeUp(2.9)(state)
    assert not TimeUp(30)(state)


def test_events_hold_the_history(images, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = study_of(images)
    store = rl.Store(tmp_path / "runs")
    large = trial_of(study, "unpruned").stages[0]
    run_stage(large, store, Setting("cpu", events=str(tmp_path / "events")))
    (folder,) = (tmp_path / "events").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    values = [point.value for point in events.Scalars("test_accuracy")]
    assert len(values) == 4
    assert values[-1] == pytest.approx(store.result(large)["test_accuracy"])


def test_results_of_several_shares_survive_being_recorded(done, tmp_path):
    study, store, results = done
    results.save(tmp_path / "recorded")
    assert str(rl.load_results(tmp_path / "recorded")) == str(results)
    assert rl.load_results(study.name, store).regimes == results.regimes


def test_a_study_of_fewer_images_is_another_study_on_a_part_of_them(images):
    whole = study_of(images)
    few = replace(whole, images=10)
    assert few.name != whole.name
    assert (len(few.load().train), len(few.load().test)) == (10, 10)
    every = {row.numpy().tobytes() for row in whole.load().train.pixels}
    assert all(row.numpy().tobytes() in every for row in few.load().train.pixels)
    more = replace(whole, images=10**6).load()
    assert (len(more.train), len(more.test)) == (len(whole.load().train), len(whole.load().test))
    with pytest.raises(ConfigError, match="images 0"):
        replace(whole, images=0)
