"""Studies end to end on a small folder of images: stages shared, runs resumed, kills survived."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time

import pytest
from image_folders import write_images
from processes import start
from small_studies import outcome, run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError, RethinkError
from rethinklab.experiments import runner, stages
from rethinklab.experiments.upkeep import repair


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "runs"
    return run(small_study(images), store), store


def test_every_regime_of_every_seed_has_a_row(finished):
    results, _ = finished
    assert results.regimes == ["unpruned", "finetune", "scratch-e", "scratch-b"]
    assert sorted(zip(results.frame["regime"], results.frame["seed"], strict=True)) == sorted(
        (regime, seed) for regime in results.regimes for seed in (0, 1))
    summary = results.summary()
    assert summary.loc["scratch-e", "epochs"] == 2
    assert summary.loc["finetune", "epochs"] == 1
    assert summary.loc["scratch-b", "epochs"] > 2
    assert summary.loc["scratch-e", "params"] < summary.loc["unpruned", "params"]
    assert (summary["n"] == 2).all()


def test_summary_and_comparison_are_the_definitions(finished):
    results, _ = finished
    frame = results.frame
    values = {regime: frame.loc[frame["regime"] == regime, "test_accuracy"].to_numpy() * 100
              for regime in results.regimes}
    summary = results.summary()
    assert summary.loc["finetune", "mean"] == pytest.approx(values["finetune"].mean())
    assert summary.loc["finetune", "sd"] == pytest.approx(values["finetune"].std(ddof=1))
    found = results.compare("scratch-b", "finetune")
    assert found.mean == pytest.approx((values["scratch-b"] - values["finetune"]).mean())
    assert found.margin == results.margin == 1.0
    with pytest.raises(ConfigError, match="Did you mean 'scratch-b'"):
        results.compare("scratchb", "finetune")


def test_the_same_study_again_does_nothing(finished, images, monkeypatch):
    results, store = finished
    before = {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*")}
    monkeypatch.setattr(runner, "run_stages", None)  # would be called for anything missing
    assert outcome(run(small_study(images), store)) == outcome(results)
    assert {p: p.stat().st_mtime_ns for p in (store / "stages").rglob("*")} == before


def test_large_networks_are_shared_between_targets_and_regimes(finished, images):
    _, store = finished
    run(small_study(images, target=0.25, regimes=["finetune"]), store)
    folders = [p.name.split("-")[0] for p in (store / "stages").iterdir()]
    assert folders.count("large") == 2
    assert folders.count("plan") == 4
    assert folders.count("regime") == 6 + 2


def test_results_load_as_they_were_saved(finished, tmp_path):
    results, _ = finished
    results.save(tmp_path / "recorded")
    again = rl.load_results(tmp_path / "recorded")
    assert str(again) == str(results)
    assert outcome(again) == outcome(results)


def test_results_are_found_by_the_name_of_the_study(finished, images):
    results, store = finished
    assert outcome(rl.load_results(results.name[:-4], store)) == outcome(results)
    with pytest.raises(ConfigError, match="unknown study"):
        rl.load_results("nothing", store)


def test_pairs_share_large_network_and_data_order_but_not_across_seeds(images):
    study = small_study(images)
    trials = {(t.seed, t.regime): t for t in study.trials(study.load())}
    assert trials[0, "finetune"].stages[:2] == trials[0, "scratch-b"].stages[:2]
    assert trials[0, "finetune"].stages[0].address != trials[1, "finetune"].stages[0].address
    assert trials[0, "unpruned"].address == trials[0, "finetune"].stages[0].address


def test_run_one_is_idempotent(finished, images):
    _, store = finished
    study = small_study(images)
    trial = study.trials(study.load())[-1]
    first = rl.run_one(trial, rl.Store(store))
    assert rl.run_one(trial, rl.Store(store)) == first


def test_addresses_follow_the_images_not_their_place(images, tmp_path):
    shutil.copytree(images.removeprefix("folder:"), tmp_path / "copy")
    moved = small_study(f"folder:{tmp_path / 'copy'}")
    here = small_study(images)
    assert [t.address for t in here.trials(here.load())] == [
        t.address for t in moved.trials(moved.load())]
    changed = next((tmp_path / "copy" / "train").rglob("*.png"))
    changed.write_bytes(next((tmp_path / "copy" / "test").rglob("*.png")).read_bytes())
    assert here.trials(here.load())[0].address != moved.trials(moved.load())[0].address


@pytest.mark.slow
def test_two_workers_give_the_same_bits_as_one_process(finished, images, tmp_path):
    results, _ = finished
    assert outcome(run(small_study(images), tmp_path / "runs", workers=2)) == outcome(results)


DRIVER = """
import rethinklab as rl
from rethinklab.trainers.checkpoint import Checkpoint
Checkpoint.__init__.__defaults__ = (0.0,)  # a checkpoint after every epoch
study = rl.Study(dataset={images!r}, model="vgg11", width=0.0625, target=0.5, seeds=2,
                 recipe=rl.Recipe(epochs=2, lr=0.02, batch_size=16))
rl.run(study, {store!r}, workers={workers}, progress=False, device="cpu")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "sign"), [(2, "stages/*"), (0, "work/*/checkpoint.pt")])
def test_kill_nine_at_any_moment_and_again_ends_in_the_same_numbers(finished, images, tmp_path,
                                                                    workers, sign):
    """Killed at a random moment after a stage was finished, or after a checkpoint was written."""
    results, _ = finished
    store = tmp_path / "runs"
    code = DRIVER.format(images=images, store=str(store), workers=workers)
    moments = random.Random(5)
    killed = 0
    for _ in range(3):
        driver = start(code)
        done = set(store.glob(sign))
        deadline = time.monotonic() + 90
        while driver.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)
            if set(store.glob(sign)) - done:
                time.sleep(moments.uniform(0, 0.5) if workers else 0)
                break
        if driver.exitcode is None:
            killed += 1
            os.killpg(driver.pid, signal.SIGKILL)
        driver.join(30)
    assert killed >= 1
    assert outcome(run(small_study(images), store)) == outcome(results)


def test_a_failed_stage_is_named_and_the_others_are_stored(images, tmp_path, monkeypatch):
    real = stages.train

    def fails_for_one(model, data, recipe, *, seed, **options):
        if seed == 1 and recipe.milestones:
            recipe = rl.Recipe(epochs=2, lr=1e6, batch_size=16)
        return real(model, data, recipe, seed=seed, **options)

    monkeypatch.setattr(stages, "train", fails_for_one)
    with pytest.raises(RethinkError, match=r"1 failed, 5 are stored and 4 that need.*unpruned "
                                           r"seed 1: training diverged"):
        run(small_study(images), tmp_path / "runs")
    stored = [p.name.split("-")[0] for p in (tmp_path / "runs" / "stages").iterdir()]
    assert sorted(stored) == ["large", "plan", "regime", "regime", "regime",
                              "scratch", "scratch"]


def test_a_folder_that_changed_between_studies_is_read_anew(tmp_path):
    write_images(tmp_path / "images", {"dark": 10, "light": 10})
    study = small_study(f"folder:{tmp_path / 'images'}", seeds=1, regimes=["finetune"])
    first = run(study, tmp_path / "runs")
    write_images(tmp_path / "images", {"dark": 12, "light": 10}, seed=3)
    second = run(study, tmp_path / "runs")
    assert first.frame["train_images"].max() < second.frame["train_images"].max()


def test_damaged_weights_are_named_and_the_remedy_works(finished, images, tmp_path):
    store = tmp_path / "runs"
    run(small_study(images, regimes=["scratch-e"], seeds=1), store)
    weights = next((store / "stages").glob("large-*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(RethinkError, match=r"weights.safetensors is missing or damaged.*repair"):
        run(small_study(images), store)
    repair(rl.Store(store))
    assert outcome(run(small_study(images), store)) == outcome(finished[0])


BUILDERS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 48, 3)
        self.head = nn.Linear(48, classes)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images):
        if self.training:
            self.seen += 1
        return self.head(torch.relu(self.conv(images)).{pool}((2, 3)))

class Loud(Net):
    def __init__(self, classes):
        super().__init__(classes)
        nn.init.normal_(self.conv.weight, 0, 1)

class Fragile(Net):
    def forward(self, images):
        if self.training and len(images) > 2:  # more than the check before training shows it
            raise ValueError("not today")
        return super().forward(images)

def build(num_classes):
    return Net(num_classes)

def loud(num_classes):
    return Loud(num_classes)

def fragile(num_classes):
    return Fragile(num_classes)
"""


@pytest.fixture
def own_networks(tmp_path, monkeypatch):
    """Writes mynets.py into the working folder, as a user would edit it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(pool="mean"):
        sys.modules.pop("mynets", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        (tmp_path / "mynets.py").write_text(BUILDERS.format(pool=pool))

    write()
    yield write
    sys.modules.pop("mynets", None)


def own_study(images, function):
    return small_study(images, model=f"mynets:{function}", width=None, seeds=1,
                       regimes=["finetune", "scratch-e"])


def test_an_edited_network_of_ones_own_is_a_new_one(images, tmp_path, own_networks):
    study = own_study(images, "build")
    first = run(study, tmp_path / "runs")
    own_networks("amax")
    second = run(study, tmp_path / "runs")
    assert set(first.frame["address"]).isdisjoint(second.frame["address"])


def test_scratch_starts_without_anything_that_training_left(images, tmp_path, own_networks):
    from safetensors.torch import load_file

    run(own_study(images, "build"), tmp_path / "runs")
    steps = sorted(float(load_file(file)["seen"]) for file in
                   (tmp_path / "runs" / "stages").glob("*/weights.safetensors"))
    # 93 images in batches of 16 are 6 steps: two epochs in the large network and in Scratch-E,
    # and fine-tuning adds its one epoch to what it inherited
    assert steps == [12, 12, 18]


def test_another_initialisation_in_scratch_is_said(images, own_networks):
    study = own_study(images, "loud")
    with pytest.warns(UserWarning, match=r"other rules than mynets:loud.*conv.weight"):
        study.rehearse(study.load())


def test_an_error_in_ones_own_network_is_a_sentence_with_a_traceback_kept(images, tmp_path,
                                                                          own_networks):
    with pytest.raises(RethinkError, match=r"unpruned seed 0: ValueError: not today"):
        run(own_study(images, "fragile"), tmp_path / "runs")
    note = next((tmp_path / "runs" / "work").glob("*/error.txt"))
    assert "Fragile" in note.read_text() or "not today" in note.read_text()


def test_what_cannot_work_fails_before_any_training(images, tmp_path):
    with pytest.raises(PlanError, match="would empty"):
        run(small_study(images, target=0.95), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("wrong", "says"), [
    ({"dataset": "digit"}, "Did you mean 'digits'"), ({"model": "vgg17"}, "vgg1"),
    ({"method": "l11"}, "Did you mean 'l1'"), ({"target": 1.0}, "ratio 1.0"),
    ({"regimes": ["fine-tune"]}, "Did you mean 'finetune'"), ({"regimes": "finetune"}, "list"),
    ({"seeds": 0}, "seeds"), ({"seeds": [1, 1]}, "distinct"), ({"seeds": [-1]}, "seed -1"),
    ({"scale": "fast"}, "scale"), ({"width": 0.0}, "width"), ({"margin": 0.0}, "margin"),
    ({"width": "0.25"}, "width"), ({"seeds": 2.5}, "seeds"), ({"recipe": {"epochs": 3}}, "recipe"),
    ({"model": 3}, "model"), ({"dataset": 3}, "dataset"), ({"method_options": {"foo": 1}}, "foo"),
    ({"model_options": {"width": 1}}, "model_options"),
    ({"precision": "fp8"}, "precision")])
def test_bad_settings_are_named_when_the_study_is_made(wrong, says):
    with pytest.raises(RethinkError, match=says):
        rl.Study(**wrong)


def test_studies_survive_plain_data():
    study = rl.Study(seeds=[3, 5], target={"features.0": 0.5})
    assert rl.Study.from_dict(study.to_dict()) == study
    assert rl.Study.from_dict(study.to_dict()).name == study.name


def test_more_threads_than_cores_are_refused(images, tmp_path):
    with pytest.raises(ConfigError, match="choose fewer"):
        run(small_study(images), tmp_path, workers=1000)


def test_notes_say_when_a_study_cannot_tell(images, tmp_path):
    short = run(small_study(images, target=0.1, recipe=rl.Recipe(epochs=1, lr=1e-9)),
                tmp_path / "runs")
    notes = " ".join(short.notes())
    assert "Scratch-B has as many epochs as Scratch-E" in notes
    assert "guessing gives 33.3 %" in notes
    assert notes.split(". ")[0] in str(short)


def test_a_study_that_learns_needs_no_note(finished):
    results, _ = finished
    fine = results.frame.assign(test_accuracy=0.9)
    assert rl.Results(fine, 1.0, "made up").notes() == []
