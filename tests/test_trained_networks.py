"""The trained networks that come with the kit: what they say of themselves, and where from."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from small_studies import run, small_study, write_pair
from typer.testing import CliRunner

import rethinklab as rl
from rethinklab.cli import app
from rethinklab.errors import ConfigError, Missing
from rethinklab.models.trained import FOLDER, load_trained, save_trained, trained_networks
from rethinklab.results.trained import retrain, take_trained

NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    study = small_study(write_pair(place / "images"), regimes=["finetune"], seeds=[3])
    return run(study, place / "runs"), place


def test_they_are_small_and_each_reaches_what_it_says():
    """On all test images, in this environment: another torch may round the last digit otherwise."""
    assert sum(path.stat().st_size for path in FOLDER.glob("*")) < 4e6
    assert "vgg11-digits" in trained_networks()
    data = rl.load_data("digits")
    for name, about in trained_networks().items():
        model = rl.load_trained(name)
        assert not model.training
        assert abs(rl.evaluate(model, data)[0] - about["test_accuracy"]) <= 0.001
        assert about["spec"]["data"] == data.fingerprint


def test_a_network_of_a_study_is_kept_as_it_was_before_pruning(studied, tmp_path):
    results, place = studied
    path = take_trained(results, "own", tmp_path)
    unpruned = results.network("unpruned", 3).state_dict()
    kept = load_trained("own", tmp_path).state_dict()
    assert all(torch.equal(kept[name], unpruned[name]) for name in unpruned)
    (about,) = trained_networks(tmp_path).values()
    row = results.frame.set_index("regime").loc["unpruned"]
    assert (about["address"], about["seed"], about["test_accuracy"]) == (
        row["address"], 3, row["test_accuracy"])
    again = retrain("own", rl.Store(place / "again"), "cpu", tmp_path)
    assert (again.verdict, again.repeated) == ("identical", again.recorded)
    weights = load_file(path)
    weights[min(weights)][0] += 0.25
    model = load_trained("own", tmp_path)
    model.load_state_dict(weights)
    save_trained("own", model, about, tmp_path)
    again = retrain("own", rl.Store(place / "again"), "cpu", tmp_path)
    assert again.verdict == "weights differ by up to 0.25"


def test_results_without_networks_are_refused(studied, tmp_path):
    results, _ = studied
    folder = results.save(tmp_path / "kept", ())[0][0].parent
    with pytest.raises(Missing, match="not kept"):
        take_trained(rl.load_results(folder), "own", tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_damage_and_unknown_names_are_named(studied, tmp_path):
    path = take_trained(studied[0], "own", tmp_path)
    with pytest.raises(ConfigError, match="own"):
        load_trained("owm", tmp_path)
    whole = path.read_bytes()
    for cut in (0, 7, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ConfigError, match="damaged"):
            load_trained("own", tmp_path)
    model = torch.nn.Linear(2, 2)
    save_trained("own", model, {}, tmp_path)
    with pytest.raises(ConfigError, match="does not say study"):
        load_trained("own", tmp_path)


def test_the_command_lists_them():
    listed = CliRunner().invoke(app, ["list", "trained"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == NAMES
    refused = CliRunner().invoke(app, ["rerun", "--trained", "--random", "2"])
    assert isinstance(refused.exception, ConfigError)
