"""Schedules and budgets against the study's table and against torch's scheduler."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.trainers.regimes import REGIMES

PAPER = rl.Recipe()


@pytest.mark.parametrize(("ratio", "epochs", "milestones"), [
    (1.5190, 243, (121, 182)),  # VGG-16-A
    (1.1157, 178, (89, 133)), (1.3791, 220, (110, 165)),  # ResNet-56-A, -B
    (1.1883, 190, (95, 142)), (1.6273, 260, (130, 195))])  # ResNet-110-A, -B
def test_scratch_b_has_the_published_epochs_and_milestones(ratio, epochs, milestones):
    budget = REGIMES["scratch-b"].budget(PAPER, ratio)
    assert (budget.epochs, budget.drops) == (epochs, milestones)


def test_scratch_b_of_the_real_vgg_16_a(digits):
    plan = rl.pruners.L1Norm("A").fit(rl.build_model("vgg16"), digits)
    budget = REGIMES["scratch-b"].budget(PAPER, plan.flops_ratio)
    assert (budget.epochs, budget.drops) == (243, (121, 182))


def test_fine_tuning_is_forty_epochs_at_the_last_rate():
    budget = REGIMES["finetune"].budget(PAPER, 1.5)
    assert (budget.epochs, budget.drops) == (40, ())
    assert {budget.lr_at(epoch) for epoch in range(40)} == {0.001}
    longer = REGIMES["finetune"].budget(rl.Recipe(finetune_epochs=80), 1.5)
    assert longer.epochs == 80


def test_scratch_e_is_the_recipe_itself_and_the_cap_is_two():
    assert REGIMES["scratch-e"].budget(PAPER, 3.0) == PAPER
    imagenet = rl.Recipe(epochs=90, milestones=(1 / 3, 2 / 3))
    capped = REGIMES["scratch-b-capped"].budget(imagenet, 3.23)  # ThiNet's VGG-Conv
    assert (capped.epochs, capped.drops) == (180, (60, 120))
    thinet70 = REGIMES["scratch-b-capped"].budget(imagenet, 1.569)
    assert (thinet70.epochs, thinet70.drops) == (141, (47, 94))


@given(st.integers(1, 400), st.floats(1e-4, 1))
def test_learning_rates_are_those_of_torchs_scheduler(epochs, lr):
    recipe = rl.Recipe(epochs=epochs, lr=lr)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    milestones = [int(epochs * 0.5), int(epochs * 0.75)]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [m for m in milestones if m > 0], gamma=0.1)
    for epoch in range(epochs):
        assert recipe.lr_at(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_a_run_of_one_epoch_has_the_full_learning_rate():
    assert rl.Recipe(epochs=1).lr_at(0) == 0.1


@pytest.mark.parametrize("wrong", [
    {"nesterov": True, "momentum": 0.0},
    {"epochs": 0}, {"epochs": 2.5}, {"lr": -1}, {"lr": float("nan")}, {"batch_size": True},
    {"momentum": 1.5}, {"milestones": (0.75, 0.5)}, {"milestones": (1.5,)},
    {"finetune_epochs": 0}])
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        rl.Recipe(**wrong)


@pytest.mark.parametrize("ratio", [0.5, float("nan"), float("inf")])
def test_a_ratio_below_one_is_no_budget(ratio):
    with pytest.raises(ConfigError, match="ratio"):
        REGIMES["scratch-b"].budget(PAPER, ratio)
