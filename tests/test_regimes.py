"""Budgets and schedules of the regimes, against their definitions written out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.trainers.regimes import (
    REGIMES,
    find_regime,
    prunes,
    regime_order,
    regime_title,
    settle_regime,
)

PAPER = rl.Recipe()


def budget(name, recipe=PAPER, ratio=1.519):
    return find_regime(name).budget(recipe, ratio)


@pytest.mark.parametrize(("name", "epochs"), [
    ("finetune", 40), ("finetune:0.5", 80), ("finetune:1", 160), ("one-cycle", 40),
    ("restart", 40), ("linear", 40), ("linear:0.5", 80), ("scratch-e", 160), ("scratch-b", 243),
    ("scratch-b-full", 283), ("sx-b", 283), ("sx-a", 200), ("lr-rewind", 160),
    ("weight-rewind", 160)])
def test_epochs_of_vgg_16_a(name, epochs):
    assert budget(name).epochs == epochs


@given(st.integers(1, 400), st.integers(1, 200), st.floats(1, 20))
def test_full_scratch_b_spends_what_training_and_fine_tuning_spent(epochs, tuned, ratio):
    recipe = rl.Recipe(epochs=epochs, finetune_epochs=tuned)
    small, large = 1.0, ratio
    spent = epochs * large + tuned * small
    found = budget("scratch-b-full", recipe, ratio).epochs * small
    assert found <= spent + 1e-9  # whole epochs, and none left over
    assert spent < found + small + 1e-9
    assert budget("sx-a", recipe, ratio).epochs == epochs + tuned


@pytest.mark.parametrize("name", ["finetune", "finetune:0.5", "finetune:1"])
def test_longer_fine_tuning_keeps_the_last_rate(name):
    found = budget(name)
    assert {found.lr_at(epoch) for epoch in range(found.epochs)} == {0.001}


def test_a_restart_is_the_whole_schedule_squeezed():
    found = budget("restart")
    rates = [found.lr_at(epoch) for epoch in range(40)]
    assert rates == [0.1] * 20 + [0.01] * 10 + [0.001] * 10


@given(st.integers(11, 300))
def test_one_cycle_rises_for_a_tenth_and_falls_by_a_cosine(epochs):
    recipe = rl.Recipe(epochs=epochs, milestones=(), shape="cosine", warmup=0.1)
    warm = round(epochs / 10)
    rates = [recipe.lr_at(epoch) for epoch in range(epochs)]
    assert rates[:warm] == pytest.approx([0.01 + 0.09 * e / warm for e in range(warm)])
    assert rates[warm:] == pytest.approx([
        0.05 * (1 + math.cos(math.pi * e / (epochs - warm))) for e in range(epochs - warm)])
    assert max(rates) == 0.1 == rates[warm]
    assert min(rates) > 0


@given(st.integers(1, 300))
def test_linear_falls_in_equal_steps_to_the_last_above_zero(epochs):
    recipe = rl.Recipe(epochs=epochs, milestones=(), shape="linear")
    rates = [recipe.lr_at(epoch) for epoch in range(epochs)]
    assert rates == pytest.approx([0.1 * (epochs - e) / epochs for e in range(epochs)])
    assert recipe.last_lr == rates[-1]


def test_soft_filter_prunings_schedule_is_the_released_one():
    recipe = rl.Recipe(epochs=200, milestones=(0.3, 0.6, 0.8), decay=0.2, warmup=0.005)
    expected = [0.01] + [0.1] * 59 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40
    assert [recipe.lr_at(epoch) for epoch in range(200)] == pytest.approx(expected)


@pytest.mark.parametrize(("ratio", "epochs"), [(1.0902, 436), (1.2297, 491),
                                               (1.3781, 551), (1.6090, 643)])
def test_scratch_b_of_soft_filter_pruning_counts_the_pretraining(ratio, epochs):
    recipe = rl.Recipe(epochs=200, milestones=(0.3, 0.6, 0.8), decay=0.2, warmup=0.005,
                       counted_epochs=400)
    found = budget("scratch-b", recipe, ratio)
    assert found.epochs == epochs
    assert found.drops == tuple(int(m * ratio) for m in (60, 120, 160))


def test_counting_more_epochs_counts_them_in_every_budget():
    recipe = rl.Recipe(epochs=200, counted_epochs=400)
    assert budget("scratch-b", recipe, 1.5).epochs == 600
    assert budget("scratch-b-full", recipe, 1.5).epochs == 600 + 50
    with pytest.raises(ConfigError, match="counted_epochs 100"):
        rl.Recipe(epochs=160, counted_epochs=100)


def test_a_fall_before_the_first_epoch_is_none():
    assert rl.Recipe(epochs=1).last_lr == 0.1
    assert rl.Recipe(epochs=2).last_lr == 0.001


@pytest.mark.parametrize(("name", "first"), [
    ("lr-rewind", 0), ("lr-rewind:0.5", 80), ("weight-rewind", 16), ("weight-rewind:0.25", 120),
    ("finetune:0.5", 0), ("scratch-b", 0)])
def test_rewinding_enters_the_schedule_where_the_share_begins(name, first):
    assert find_regime(name).first_epoch(PAPER) == first


@pytest.mark.parametrize(("name", "settled"), [
    ("sx-b", "scratch-b-full"), ("large-rate-restart:0.5", "restart:0.5"),
    ("lr-rewind:1", "lr-rewind"), ("lr-rewind:1.0", "lr-rewind"),
    ("finetune:0.50", "finetune:0.5"), ("finetune", "finetune")])
def test_a_regime_has_one_name(name, settled):
    assert settle_regime(name) == settled
    assert regime_title(name) == regime_title(settled)


@pytest.mark.parametrize(("name", "says"), [
    ("finetuned", "Did you mean 'finetune'"), ("finetune:x", "share 'x'"),
    ("finetune:0", "above 0"), ("lr-rewind:1.5", "at most 1"),
    ("scratch-e:0.5", "takes no share"), ("finetune:", "share ''"),
    ("finetune:nan", "share 'nan'")])
def test_names_and_shares_that_cannot_be_are_explained(name, says):
    with pytest.raises(ConfigError, match=says):
        find_regime(name)


def test_tables_go_from_inherited_to_new_and_shares_ascend():
    names = ["ticket", "unpruned-rewind", "scratch-b", "finetune:1", "finetune:0.5",
             "unpruned-longer", "unpruned", "scratch-e"]
    assert sorted(names, key=regime_order) == [
        "unpruned", "unpruned-longer", "unpruned-rewind", "finetune:0.5", "finetune:1",
        "scratch-e", "scratch-b", "ticket"]
    assert [name for name in names if not prunes(name)] == [
        "unpruned-rewind", "unpruned-longer", "unpruned"]
    assert {find_regime(name).start for name in REGIMES} == {"inherited", "new", "initial",
                                                            "rewound", "untrained", "trained"}


@pytest.mark.parametrize("recipe", [
    PAPER, rl.Recipe(epochs=40, lr=0.05), rl.Recipe(epochs=90, milestones=(), step=1 / 3),
    rl.Recipe(epochs=20, milestones=(), shape="cosine", warmup=0.1)])
def test_the_unpruned_network_trains_for_twice_as_long_or_once_more(recipe):
    longer, again = (budget(name, recipe, 3.0) for name in ("unpruned-longer", "unpruned-rewind"))
    assert again == recipe
    assert longer.epochs == 2 * recipe.epochs
    assert longer.drops == tuple(2 * drop for drop in recipe.drops)
    assert longer.warm_epochs == 2 * recipe.warm_epochs
    assert {longer.lr_at(0), longer.lr} == {recipe.lr_at(0), recipe.lr}
    if recipe.shape == "steps":
        assert [longer.lr_at(2 * e) for e in range(recipe.epochs)] == [
            recipe.lr_at(e) for e in range(recipe.epochs)]


@pytest.mark.parametrize(("wrong", "says"), [
    ({"shape": "cosine"}, "milestones"), ({"shape": "triangle"}, "shape"),
    ({"warmup": 1.5}, "warmup"), ({"counted_epochs": 0}, "counted_epochs")])
def test_schedules_that_cannot_be_are_named(wrong, says):
    with pytest.raises(ConfigError, match=says):
        rl.Recipe(**wrong)
