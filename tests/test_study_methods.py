"""Studies of all methods: what shares a stage, what fails before training, other regimes."""

from __future__ import annotations

import pytest
from small_studies import run, small_study, write_pair

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("images"))


def addresses(**settings):
    study = rl.Study(**{"model": "vgg11", "target": 0.5, "seeds": 1, **settings})
    data = rl.load_data("digits").subset(40, 20)
    return {trial.regime: [stage.address for stage in trial.stages]
            for trial in study.trials(data)}


def test_hyper_parameters_are_part_of_a_plan_stated_or_not():
    default = addresses(method="thinet")
    assert addresses(method="thinet", method_options={"images": 500}) == default
    other = addresses(method="thinet", method_options={"images": 400})
    assert other["finetune"][0] == default["finetune"][0]  # the large network is shared
    assert other["finetune"][1] != default["finetune"][1]


def test_a_longer_fine_tuning_shares_all_but_the_fine_tuning():
    short, long = (addresses(recipe=rl.Recipe(epochs=4, finetune_epochs=n)) for n in (None, 2))
    assert short["unpruned"] == long["unpruned"]
    assert short["finetune"][:2] == long["finetune"][:2]
    assert short["finetune"][2] != long["finetune"][2]


def test_what_acts_during_training_makes_another_large_network():
    plain, slim = addresses(), addresses(method="slimming")
    strong = addresses(method="slimming", method_options={"strength": 0.1})
    assert plain["unpruned"] == slim["unpruned"] == strong["unpruned"]
    assert len({plain["finetune"][0], slim["finetune"][0], strong["finetune"][0]}) == 3
    kept = addresses(method="slimming", method_options={"minimum": 2})
    assert kept["finetune"][0] == slim["finetune"][0]  # it matters when pruning only


def test_a_control_trains_the_network_that_its_method_trains():
    slim = addresses(method="slimming")
    control = addresses(method="random", method_options={"of": "slimming"})
    assert control["finetune"][0] == slim["finetune"][0]
    assert control["finetune"][1] != slim["finetune"][1]
    ticket = rl.Study(method="random", method_options={"of": "lottery"})
    assert ticket.regimes == ("ticket", "scratch-e")


@pytest.mark.parametrize("wrong", [
    {"method": "lottery", "method_options": {"rewind": 50}},
    {"method": "random", "method_options": {"of": "lottery", "options": {"rewind": 50}}},
    {"method": "random", "target": "zero",
     "method_options": {"of": "sss", "options": {"structures": "branches"}}},
    {"method": "slimming", "method_options": {"masked": "False"}},
    {"method": "slimming", "method_options": {"strength": ".01"}},
])
def test_what_could_only_fail_after_training_fails_before(wrong):
    with pytest.raises((ConfigError, PlanError)):
        rl.Study(**{"model": "vgg11", "target": 0.5, **wrong})


def test_every_method_names_an_example_that_a_study_takes():
    for name in rl.pruners.METHODS:
        study = rl.Study(method=name)
        assert (study.network, study.width, len(study.seed_numbers)) == ("vgg11", 0.0625, 2)
        assert study.regime_names


def test_a_method_of_ones_own_is_known_by_its_code_and_to_one_process_only(images, tmp_path,
                                                                           monkeypatch):
    def method(sign):
        class Own(rl.pruners.ChannelPruner):
            name = "own"

            def score(self, layer):
                return sign * layer.weight.flatten(1).sum(1)
        return Own

    monkeypatch.setattr(rl.pruners, "METHODS", dict(rl.pruners.METHODS))
    rl.pruners.METHODS["own"] = method(1)
    with pytest.raises(ConfigError, match="workers=0"):
        run(small_study(images, method="own"), tmp_path / "runs", workers=1)
    assert rl.pruners.method_digest(rl.pruners.METHODS["own"])
    assert not rl.pruners.method_digest(rl.pruners.L1Norm)


def test_a_regime_without_training_stores_the_network_as_pruned(images, tmp_path):
    results = run(small_study(images, seeds=1, regimes=["pruned"]), tmp_path / "runs")
    row = results.frame[results.frame["regime"] == "pruned"].iloc[0]
    assert (row["epochs"], row["seconds"]) == (0, 0)
    assert row["params"] < results.frame["params"].max()


def test_a_ticket_and_its_random_twin_share_the_mask(images, tmp_path):
    study = small_study(images, seeds=1, method="lottery", target=0.5,
                        method_options={"rewind": 1})
    results = run(study, tmp_path / "runs")
    counts = results.frame.set_index("regime")
    assert counts.loc["ticket", "params"] == counts.loc["scratch-e", "params"]
    assert counts.loc["ticket", "epochs"] == study.large_recipe.epochs - 1
    (verdict,) = results.verdicts()
    assert str(verdict).startswith("Scratch-E minus Winning ticket")
