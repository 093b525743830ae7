"""What is recorded in data/results is what its queue says, and can be run again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import typer.testing
from small_studies import write_pair

from rethinklab.cli import app
from rethinklab.errors import ConfigError
from rethinklab.experiments.queue import load_queue
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import SCHEMA
from rethinklab.results import TABLES, load_studies, run
from rethinklab.results.rerun import Repetition, is_recorded, pick, recorded_rows, rerun

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
ENTRIES = {entry.name: entry for entry in load_queue(RESULTS / "queue.toml")}
RECORDED = load_studies(RESULTS)
LARGEST = 200_000  # bytes of a recorded table
SMALL = """
[[study]]
name = "small"
dataset = "{data}"
model = "vgg11"
width = 0.0625
target = 0.5
seeds = 2
regimes = ["finetune", "scratch-e"]
epochs = 1
lr = 0.02
batch_size = 16
tables = []
"""


@pytest.fixture(autouse=True)
def somewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_JPEG", str(tmp_path / "cifar10-jpeg"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recorded results of one small study, and the queue that they are from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue.toml").write_text(SMALL.format(data=write_pair(tmp_path / "images")))
    (entry,) = load_queue(tmp_path / "queue.toml")
    study = entry.study()
    run(study, tmp_path / "first", workers=0, progress=False, device="cpu").save(
        tmp_path / "small", ())
    return tmp_path


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_recorded_is_in_the_queue_with_the_same_settings(name):
    assert name in ENTRIES, f"{name} is no study of the queue"
    asked, there = ENTRIES[name].study(), RECORDED[name]
    if asked.dataset.startswith("folder:"):  # its place is no part of the record, but of the name
        asked = replace(asked, dataset="folder:cifar10-jpeg")
    else:
        assert there.name == asked.name
    if not asked.preset:  # one that stands in for a row says so in its record alone
        asked = replace(asked, preset=there.study.preset)
    assert there.study == asked
    assert there.margin == asked.margin


@pytest.mark.parametrize("name", RECORDED)
def test_every_row_is_a_trial_and_says_where_it_is_from(name):
    study, frame = RECORDED[name].study, RECORDED[name].frame
    assert not frame.duplicated(["regime", "seed"]).any()
    assert set(frame["regime"]) <= {"unpruned", *study.regime_names}
    kinds = frame["regime"].astype(str).map(lambda regime: "large" if regime == "unpruned"
                                            else "regime")
    assert (frame["address"].str.replace(r"-[0-9a-f]{16}$", "", regex=True) == kinds).all()
    assert frame["address"].is_unique
    assert frame["test_accuracy"].between(0, 1).all()
    for column in ("address", "data", "device", "torch", "python", "date", "seconds"):
        assert frame[column].notna().all(), column
        assert (frame[column].astype(str) != "").all(), column
    if study.scale == "classroom":
        assert frame["commit"].str.fullmatch("[0-9a-f]{40}").all()
        assert set(frame["engine"]) <= {"local", "ray", "slurm"}


@pytest.mark.parametrize("name", RECORDED)
def test_every_file_of_a_record_is_read(name):
    folder, results = RESULTS / name, RECORDED[name]
    files = {path.name for path in folder.iterdir()}
    kinds = {file.removesuffix(".csv") for file in files - {"study.json", "trials.csv"}}
    assert {"study.json", "trials.csv"} <= files
    assert kinds <= set(TABLES)
    for kind in kinds:
        assert len(results.table(kind)), kind
    assert set(results.source.notes) <= kinds
    for path in folder.iterdir():
        assert path.stat().st_size < LARGEST, path


def test_a_trial_run_again_is_identical(folder, tmp_path):
    addresses = recorded_rows(folder)["address"].tolist()
    assert len(addresses) == 6
    for again in rerun(folder, addresses, Store(tmp_path / "again"), "cpu"):
        assert again.verdict == "identical"


def test_a_trial_that_was_recorded_wrongly_is_told(folder, tmp_path):
    table = pd.read_csv(folder / "small" / "trials.csv", dtype=str)
    address = table.loc[1, "address"]
    table.loc[1, "test_accuracy"] = "0.0001"
    table.to_csv(folder / "small" / "trials.csv", index=False)
    (again,) = rerun(folder, [address], Store(tmp_path / "again"), "cpu")
    assert again.repeated != again.recorded == 0.0001
    assert "points" in again.verdict


def test_a_difference_is_held_against_the_spread_of_seeds():
    found = Repetition("a", "study", "finetune", 0, 0.90, 0.91, 0.01, "cpu", "cuda")
    assert "+1.00 points, within" in found.verdict
    assert "MORE than" in replace(found, spread=0.001).verdict
    assert replace(found, repeated=0.90).verdict == "identical"


def test_addresses_that_are_not_recorded_or_whose_images_changed_are_named(folder, tmp_path):
    with pytest.raises(ConfigError, match="no trial large-0"):
        rerun(folder, ["large-0"], Store(tmp_path / "again"))
    address = pick(folder, 1, 0)[0]
    next((tmp_path / "images" / "train").rglob("*.png")).unlink()
    with pytest.raises(ConfigError, match="the images or the settings"):
        rerun(folder, [address], Store(tmp_path / "again"))


def test_what_was_recorded_under_another_schema_is_told(folder, tmp_path):
    address = pd.read_csv(folder / "small" / "trials.csv").loc[2, "address"]
    path = folder / "small" / "study.json"
    assert json.loads(path.read_text())["schema"] == SCHEMA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 1}))
    says = r"of small was recorded under schema 1 .* has schema 2, .*record the study anew"
    with pytest.raises(ConfigError, match=f"{address} {says}"):
        rerun(folder, [address], Store(tmp_path / "again"))
    with pytest.raises(ConfigError, match=says):
        pick(folder, 1, 0)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 3}))
    with pytest.raises(ConfigError, match="recorded under schema 3"):
        rerun(folder, [address], Store(tmp_path / "again"))


def test_the_draw_follows_its_seed(folder):
    assert pick(folder, 3, 0) == pick(folder, 3, 0)
    assert len(set(pick(folder, 99, 0))) == 6
    assert len({tuple(pick(folder, 3, seed)) for seed in range(9)}) > 1


def test_the_command_says_what_came_out(folder):
    call = typer.testing.CliRunner().invoke
    shown = call(app, ["rerun", "--random", "2", "--from", str(folder), "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("identical") == 2
    assert isinstance(call(app, ["rerun"]).exception, ConfigError)


def test_a_queue_passes_over_what_is_recorded(folder):
    call = typer.testing.CliRunner().invoke
    words = ["run", "--queue", str(folder / "queue.toml"), "--store", str(folder / "other"),
             "--record", str(folder / "mine"), "--workers", "0", "--device", "cpu"]
    before = (folder / "small" / "trials.csv").read_bytes()
    first = call(app, words)
    assert "small is passed over: it is recorded" in first.output
    assert not (folder / "other").exists()
    (entry,) = load_queue(folder / "queue.toml")
    moved = folder / "elsewhere"
    (folder / "images").rename(moved)  # a folder's place is no part of what was measured
    text = (folder / "queue.toml").read_text().replace(str(folder / "images"), str(moved))
    (folder / "queue.toml").write_text(text)
    (entry,) = load_queue(folder / "queue.toml")
    assert is_recorded(entry, folder)
    again = call(app, [*words, "--only", "small"])
    assert again.exit_code == 0, again.output
    assert (folder / "small" / "trials.csv").read_bytes() == before
    assert is_recorded(entry, folder / "mine")
    more = text.replace("seeds = 2", "seeds = 3")
    (folder / "queue.toml").write_text(more)
    (entry,) = load_queue(folder / "queue.toml")
    assert not is_recorded(entry, folder)
