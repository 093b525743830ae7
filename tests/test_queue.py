"""A queue of studies in a file: read, checked, run in order, resumed and recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.testing
from small_studies import write_pair

import rethinklab as rl
from rethinklab.cli import app
from rethinklab.errors import ConfigError
from rethinklab.experiments.queue import choose, load_queue

QUEUE = Path(__file__).resolve().parent.parent / "data" / "results" / "queue.toml"

SMALL = """
[[study]]
name = "first"
why = "an example"
dataset = "{data}"
model = "vgg11"
width = 0.0625
target = 0.5
seeds = 2
regimes = ["finetune", "scratch-e"]
epochs = 1
lr = 0.02
batch_size = 16

[[study]]
name = "second"
preset = "l1-vgg16-cifar10"
scale = "paper"
needs = "gpu"
"""


def write(folder, text=SMALL, data="digits"):
    path = folder / "queue.toml"
    path.write_text(text.replace("{data}", data))
    return path


def test_entries_are_studies_with_the_settings_of_the_file(tmp_path):
    first, second = load_queue(write(tmp_path))
    study = first.study()
    assert study == rl.Study(dataset="digits", model="vgg11", width=0.0625, target=0.5, seeds=2,
                             regimes=["finetune", "scratch-e"],
                             recipe=rl.Recipe(epochs=1, lr=0.02, batch_size=16))
    row = second.study()
    assert (row.preset, row.scale, row.large_recipe.epochs) == ("l1-vgg16-cifar10", "paper", 160)
    assert second.obstacle(gpu=True) == ""
    assert "GPU" in second.obstacle(gpu=False)


def test_the_ladder_has_pairs_enough_and_the_controls_of_its_claims(monkeypatch):
    monkeypatch.setenv("CIFAR10_JPEG", "/images")
    named = {entry.name: entry.study() for entry in load_queue(QUEUE)}
    ladder = {name: study for name, study in named.items()
              if not name.endswith(("-quick", "-classroom", "-paper"))}
    assert len(ladder) > 40
    for name, study in ladder.items():
        assert len(study.seed_numbers) >= 6, name
        assert study.scale in ("classroom", "short"), name
        if "digits" in name:
            assert {"unpruned-longer", "unpruned-rewind"} <= set(study.regime_names), name
            assert (study.images, study.precision) == (None, "bf16"), name
    for name in ("weight-level-vgg11-digits", "budgets-vgg11-digits"):
        assert len(ladder[name].seed_numbers) == 10


def test_images_can_lie_where_a_variable_says(tmp_path, monkeypatch):
    (entry, _) = load_queue(write(tmp_path, data="folder:$MY_BIRDS"))
    monkeypatch.delenv("MY_BIRDS", raising=False)
    assert "$MY_BIRDS" in entry.obstacle(gpu=True)
    monkeypatch.setenv("MY_BIRDS", "/birds")
    assert entry.obstacle(gpu=True) == ""
    assert entry.study().dataset == "folder:/birds"


def test_a_study_can_be_like_an_earlier_one(tmp_path):
    text = SMALL + """
[[study]]
name = "third"
like = "first"
method = "random"
method_options = { of = "l1" }
tables = []

[[study]]
name = "fourth"
like = "third"
epochs = 2
"""
    first, _, third, fourth = load_queue(write(tmp_path, text))
    assert third.study() == rl.Study(dataset="digits", model="vgg11", width=0.0625, target=0.5,
                                     seeds=2, regimes=["finetune", "scratch-e"], method="random",
                                     method_options={"of": "l1"}, epochs=1, lr=0.02, batch_size=16)
    assert (third.why, third.tables, first.tables) == ("", (), None)
    assert fourth.study().large_recipe.epochs == 2
    assert fourth.study().method == "random"


@pytest.mark.parametrize(("text", "says"), [
    ("[[study]]\nname = 'a'\nlike = 'b'\n[[study]]\nname = 'b'\n", "earlier study that 'a'"),
    ("", "one or more"), ("[[study]]\nname = 'a b'\n", "study 1"),
    ("[[study]]\nname = 'a'\nmodle = 'vgg11'\n", "Did you mean 'model'"),
    ("[[study]]\nname = 'a'\nneeds = 'tpu'\n", "'tpu'"),
    ("[[study]]\nname = 'a'\n[[study]]\nname = 'a'\n", "called 'a'"),
    ("[[study]\n", "cannot be read"), ("x = 1\n", "tables"),
])
def test_a_wrong_queue_is_named(text, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        load_queue(write(tmp_path, text))


def test_a_setting_that_cannot_be_names_the_entry(tmp_path):
    (entry,) = load_queue(write(tmp_path, "[[study]]\nname = 'odd'\nmethod = 'magic'\n"))
    with pytest.raises(ConfigError, match=r"'odd' of the queue.*magic"):
        entry.study()
    with pytest.raises(ConfigError, match="Did you mean 'odd'"):
        choose([entry], ["od"])


@pytest.mark.slow
def test_a_queue_runs_records_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, data=write_pair(tmp_path / "images"))
    call = typer.testing.CliRunner().invoke
    words = ["run", "--queue", str(path), "--only", "first", "--workers", "0",
             "--device", "cpu"]
    first = call(app, words)
    assert first.exit_code == 0, first.output
    recorded = (tmp_path / "recorded" / "first" / "trials.csv").read_text()
    assert (tmp_path / "recorded" / "first" / "histories.csv").is_file()
    again = call(app, words)
    assert again.exit_code == 0
    assert (tmp_path / "recorded" / "first" / "trials.csv").read_text() == recorded
    assert isinstance(call(app, [*words, "--epochs", "2"]).exception, ConfigError)
