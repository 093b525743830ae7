"""What a tiny study leaves, gathered, and the figures of it: histories, lines, scans, latency."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from figure_cases_runs import histories, latencies, lines
from figure_checks import problems
from hypothesis import given
from hypothesis import strategies as st
from small_studies import run, small_study, write_task

import rethinklab as rl
from rethinklab.analysis.thin import thin
from rethinklab.data.batches import plain_batches
from rethinklab.errors import ConfigError, Missing
from rethinklab.experiments.store import Store
from rethinklab.figures.barrier import barrier
from rethinklab.figures.latency import latency
from rethinklab.figures.learning_curves import learning_curves
from rethinklab.figures.pipeline import ARROWS, STAGES, pipeline
from rethinklab.figures.sensitivity import sensitivity
from rethinklab.results import Results, load_results, runs
from rethinklab.results.runs import (
    HISTORY_ROWS,
    gather_barrier,
    gather_histories,
    gather_latency,
    gather_sensitivity,
    leaves_some,
    same_architecture,
)
from rethinklab.results.stored import StoredStudy

REGIMES = ["pruned", "finetune", "lr-rewind:0.5", "scratch-e"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def stored(images, root):
    study = small_study(images, regimes=REGIMES)
    run(study, root)
    return StoredStudy.named(study.name, Store(root))


@pytest.fixture(scope="module")
def masked(images, root):
    """Single weights, so that each seed has another mask."""
    study = small_study(images, regimes=["finetune", "scratch-e"], method="weight-level",
                        model_options={"variant": "weight-level"})
    run(study, root)
    return StoredStudy.named(study.name, Store(root))


@pytest.fixture(scope="module")
def alone(images, root):
    study = small_study(images, regimes=["pruned"], seeds=1)
    run(study, root)
    return StoredStudy.named(study.name, Store(root))


# Histories and learning curves

def test_histories_hold_every_training_from_its_own_first_epoch(stored):
    table = gather_histories(stored)
    assert list(table.columns) == ["regime", "seed", "epoch", "train_loss", "test_accuracy", "lr"]
    epochs = table.groupby(["regime", "seed"])["epoch"].apply(list).to_dict()
    lengths = {"unpruned": 2, "finetune": 1, "lr-rewind:0.5": 1, "scratch-e": 2}
    assert epochs == {(regime, seed): list(range(1, count + 1))
                      for regime, count in lengths.items() for seed in (0, 1)}
    assert table.attrs["label"] == stored.label


def test_histories_end_at_the_results(stored):
    table = gather_histories(stored)
    last = table.groupby(["regime", "seed"])["test_accuracy"].last()
    frame = stored.frame.astype({"regime": str}).set_index(["regime", "seed"])
    for key, accuracy in last.items():
        assert accuracy == frame.loc[key, "test_accuracy"]


def test_long_histories_are_thinned_to_their_ends(stored, monkeypatch):
    monkeypatch.setattr(runs, "HISTORY_ROWS", 5)
    table = gather_histories(stored)
    assert len(table) <= 5 + 8  # the last epoch of each training besides
    assert (table.groupby(["regime", "seed"])["epoch"].max() ==
            gather_histories(stored).groupby(["regime", "seed"])["epoch"].max()).all()
    assert "every 3 epochs" in table.attrs["label"]
    assert HISTORY_ROWS * 60 < 150_000  # bytes


def test_nothing_trained_has_no_history(alone, monkeypatch):
    assert set(gather_histories(alone)["regime"]) == {"unpruned"}
    monkeypatch.setattr(alone, "frame", alone.frame.assign(epochs=0))
    with pytest.raises(Missing, match="finetune"):
        gather_histories(alone)


def test_tables_survive_their_files(stored, tmp_path):
    for gather, draw in ((gather_histories, learning_curves), (gather_latency, latency)):
        kind, results = gather.__name__.removeprefix("gather_"), Results.of(stored)
        table = results.table(kind)  # once: a second measurement of latency would be another
        results.save(tmp_path / kind, [kind])
        again = load_results(tmp_path / kind).table(kind)
        assert list(again.columns) == list(table.columns)
        assert draw(again).caption == draw(table).caption


def thick(axes):
    return [line for line in axes.lines if line.get_linewidth() > 1]


def test_curves_draw_means_bands_and_seeds():
    table = histories(3, epochs=20)
    figure = learning_curves(table)
    expected = table.groupby(["regime", "epoch"])[["test_accuracy", "train_loss"]]
    for axes, column, factor in zip(figure.axes, ("test_accuracy", "train_loss"), (100, 1),
                                    strict=True):
        means, spreads = (factor * getattr(expected, how)()[column] for how in ("mean", "std"))
        for line, band, regime in zip(thick(axes), axes.collections,
                                      ("unpruned", "finetune", "scratch-e", "scratch-b"),
                                      strict=True):
            assert line.get_xdata() == pytest.approx(np.arange(1, 21))
            assert line.get_ydata() == pytest.approx(means[regime].to_numpy())
            edge = band.get_paths()[0].vertices[:, 1]
            assert edge.max() == pytest.approx((means[regime] + spreads[regime]).max())
        thin = [line for line in axes.lines if line.get_linewidth() < 1]
        assert len(thin) == 12


def test_a_mean_over_seeds_needs_all_of_them():
    table = histories(2, ("scratch-b",), epochs=10, ragged=True)
    axes = learning_curves(table).axes[0]
    assert len(thick(axes)[0].get_xdata()) == 10  # the second seed has 15
    hole = histories(2, ("scratch-b",), epochs=10)
    hole.loc[3, "test_accuracy"] = np.nan
    drawn = thick(learning_curves(hole).axes[0])[0].get_ydata()
    assert np.isnan(drawn).tolist() == [epoch == 3 for epoch in range(10)]


# Sensitivity

def test_scan_is_of_the_unpruned_network_on_training_images(stored):
    table = gather_sensitivity(stored)
    assert "training images, which the network has seen" in table.attrs["label"]
    data, model = stored.data, stored.network("unpruned", 0)
    fraction = min(0.9, runs.SCAN_IMAGES / len(data.train))
    unpruned, _ = rl.evaluate(model, data.hold_out(fraction))
    assert set(table.loc[table["ratio"] == 0, "accuracy"]) == {unpruned}
    order = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Conv2d)]
    assert list(dict.fromkeys(table["layer"])) == order
    widths = dict(zip(order, (4, 8, 16, 16, 32, 32, 32, 32), strict=True))
    kept = {name: set(rows["ratio"]) for name, rows in table.groupby("layer")}
    assert {name: 0.9 in ratios for name, ratios in kept.items()} == {
        name: width * 0.1 >= 1 for name, width in widths.items()}
    assert problems(sensitivity(table)) == []


def test_scan_looks_at_few_layers_of_a_deep_network(stored, monkeypatch):
    monkeypatch.setattr(runs, "SCAN_LAYERS", 3)
    assert len(set(gather_sensitivity(stored)["layer"])) == 3


@given(st.integers(1, 200), st.integers(2, 30))
def test_thinning_takes_both_ends_and_no_more_than_asked(count, most):
    items = [str(number) for number in range(count)]
    taken = thin(items, most)
    assert len(taken) == len(set(taken)) == min(count, most)
    assert (taken[0], taken[-1]) == (items[0], items[-1])
    assert taken == sorted(taken, key=int)


@given(st.integers(1, 64), st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]))
def test_a_ratio_leaves_some_or_is_left_out(width, ratio):
    assert leaves_some(ratio, width) == (int(round(width * (1 - ratio), 9)) >= 1)


# Barriers

def test_lines_join_the_regimes_of_a_seed_and_the_seeds_of_a_regime(stored):
    table = gather_barrier(stored)
    assert list(table.columns) == ["pair", "seed", "alpha", "loss", "error"]
    assert list(dict.fromkeys(zip(table["pair"], table["seed"], strict=True))) == [
        ("Fine-tuned – LR rewinding (0.5)", 0), ("Fine-tuned – LR rewinding (0.5)", 1),
        ("Fine-tuned – Scratch-E", 0), ("Fine-tuned – Scratch-E", 1),
        ("Fine-tuned, two seeds", 0)]
    assert (table.groupby(["pair", "seed"])["alpha"].apply(list).map(len) == 11).all()
    assert "re-estimated on" in table.attrs["label"]
    assert problems(barrier(table)) == []


def test_ends_of_a_line_are_the_networks_themselves(stored):
    table = gather_barrier(stored, reestimate=False)
    assert "not re-estimated" in table.attrs["label"]
    ends = {("Fine-tuned – Scratch-E", 1, 0.0): ("finetune", 1),
            ("Fine-tuned – Scratch-E", 1, 1.0): ("scratch-e", 1),
            ("Fine-tuned, two seeds", 0, 1.0): ("finetune", 1)}
    rows = table.set_index(["pair", "seed", "alpha"])
    for key, network in ends.items():
        accuracy, loss = rl.evaluate(stored.network(*network), stored.data)
        assert rows.loc[key, "error"] == pytest.approx(1 - accuracy)
        assert rows.loc[key, "loss"] == pytest.approx(loss)


def test_statistics_are_of_training_images(stored):
    """With statistics that are those of the training images already, nothing changes."""
    plain, again = (gather_barrier(stored, how) for how in (False, True))
    assert not np.allclose(plain["loss"], again["loss"])
    model = stored.network("finetune", 0)
    data = stored.data
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum, module.training = None, True
                module.reset_running_stats()
        for images, _ in plain_batches(data, data.train, len(data.train)):
            model(images)
    _, loss = rl.evaluate(model, data)
    assert again["loss"].iloc[0] == pytest.approx(loss, rel=1e-3)


def test_networks_with_other_masks_are_not_joined(stored, masked):
    assert same_architecture(stored, "finetune", 0, 1)
    assert not same_architecture(masked, "finetune", 0, 1)
    assert set(gather_barrier(masked)["pair"]) == {"Fine-tuned – Scratch-E"}


def test_one_network_has_no_line(alone):
    with pytest.raises(Missing, match="finetune and scratch-e"):
        gather_barrier(alone)


def test_barrier_figure_draws_means_and_says_the_heights():
    table = lines(2, 2)
    figure = barrier(table)
    expected = table.groupby(["pair", "alpha"], sort=False)["error"].mean() * 100
    for line, pair in zip(thick(figure.axes[0]), table["pair"].unique(), strict=True):
        assert line.get_ydata() == pytest.approx(expected[pair].to_numpy())
        assert line.get_label() == pair
    # 0.07 + (2.8 + 0.1 seed) a (1 - a): a quarter of the bend above the ends, which are equal
    assert "Fine-tuned – Scratch-E 71.25 points (n = 2)" in figure.caption
    assert set(figure.numbers["error_barrier"].round(6)) == {70.0, 72.5, 57.5, 60.0}


def test_a_line_without_an_end_is_named():
    table = lines(1, 1)
    with pytest.raises(ConfigError, match=r"Scratch-E, seed 0: .*both ends"):
        barrier(table[table["alpha"] < 1])


# Latency

def test_latency_is_of_each_architecture_with_its_cost(stored):
    table = gather_latency(stored)
    assert table[["network", "seed", "batch"]].apply(tuple, axis=1).tolist() == [
        (network, seed, batch) for network, seed in (("unpruned", 0), ("pruned", 0),
                                                     ("pruned", 1)) for batch in (1, 64)]
    frame = stored.frame
    for network, regime in (("unpruned", "unpruned"), ("pruned", "finetune")):
        costs = frame.loc[frame["regime"] == regime, ["macs", "flops"]].drop_duplicates()
        rows = table.loc[table["network"] == network, ["macs", "flops"]].drop_duplicates()
        assert rows.to_numpy().tolist() == costs.to_numpy().tolist()
    assert (table["latency"] > 0).all()
    assert "1 thread" in table.attrs["label"]
    assert "cpu" in table.attrs["label"]


def test_masks_count_in_macs_and_the_label_says_so(masked):
    table = gather_latency(masked).set_index("network")
    frame = masked.frame
    counted = frame.loc[frame["regime"] == "finetune", "macs"]
    assert sorted(set(table.loc["pruned", "macs"])) == sorted(counted)
    assert counted.max() < table.loc["unpruned", "macs"].max()
    assert "not masked" in table.attrs["label"]


def test_latency_figure_draws_networks_and_the_line_through_the_unpruned_one():
    table = latencies()
    figure = latency(table)
    for axes, batch in zip(figure.axes, (1, 64), strict=True):
        rows = table[table["batch"] == batch]
        drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
        expected = rows[["macs", "latency"]].to_numpy() / [1e6, 1]
        np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(map(tuple, expected)))
        start = rows[rows["network"] == "unpruned"].iloc[0]
        (line,) = axes.lines
        assert list(line.get_xdata()) == pytest.approx([0, start["macs"] / 1e6])
        assert list(line.get_ydata()) == pytest.approx([0, start["latency"]])
        assert axes.get_xlabel() == "MACs (M)"


@pytest.mark.parametrize(("draw", "table"), [(learning_curves, histories), (barrier, lines),
                                             (latency, latencies)])
def test_missing_columns_and_rows_are_named(draw, table):
    with pytest.raises(ConfigError, match=r"no column seed; `rethinklab record"):
        draw(table().drop(columns="seed"))
    with pytest.raises(ConfigError, match="no rows"):
        draw(table().iloc[:0])


# The pipeline

def test_pipeline_lists_its_stages_and_arrows_and_draws_them():
    figure = pipeline(width=3.25)
    assert problems(figure) == []
    stages = figure.numbers[figure.numbers["what"] == "stage"]
    arrows = figure.numbers[figure.numbers["what"] == "arrow"]
    assert list(stages["name"]) == list(STAGES) == ["train", "prune", "fine-tune", "from scratch"]
    assert list(zip(arrows["from"], arrows["to"], strict=True)) == list(ARROWS)
    shown = [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]
    assert set(stages["text"]) <= set(shown)
    assert len(figure.axes[0].patches) == len(STAGES) + len(ARROWS)
    pd.testing.assert_frame_equal(pipeline().numbers, figure.numbers)
