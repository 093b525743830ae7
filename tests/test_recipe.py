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


IMAGENET = rl.Recipe(epochs=90, batch_size=256, milestones=(), step=1 / 3, finetune_epochs=20)


@pytest.mark.parametrize(("ratio", "epochs", "milestones"), [
    (1.5190, 243, (121, 182)),  # VGG-16-A
    (1.1157, 178, (89, 133)), (1.3791, 220, (110, 165)),  # ResNet-56-A, -B
    (1.1883, 190, (95, 142)), (1.6273, 260, (130, 195))])  # ResNet-110-A, -B
def test_scratch_b_has_the_published_epochs_and_milestones(ratio, epochs, milestones):
    budget = REGIMES["scratch-b"].budget(PAPER, ratio)
    assert (budget.epochs, budget.drops) == (epochs, milestones)


@pytest.mark.parametrize(("ratio", "epochs", "drops"), [
    (1.1816, 106, (35, 70, 105)), (1.3164, 118, (39, 78, 117)),  # ResNet-34-A, -B
    (3.23, 180, (60, 120)), (3.31, 180, (60, 120)), (15.4, 180, (60, 120)),  # VGG-Conv, GAP, Tiny
    (3.48, 180, (60, 120)), (2.24, 180, (60, 120)), (4.40, 180, (60, 120)),  # ThiNet-30, -50, 5x
    (2.0, 180, (60, 120)),
    (1.569, 141, (47, 94)),  # ThiNet-70
    (1.495, 134, (44, 88, 132))])  # ResNet-2x
def test_scratch_b_on_imagenet_has_the_published_epochs_and_a_third_decay(ratio, epochs, drops):
    budget = REGIMES["scratch-b-capped"].budget(IMAGENET, ratio)
    assert (budget.epochs, budget.drops) == (epochs, drops)
    rates = [budget.lr_at(epoch) for epoch in range(epochs)]
    step = int(epochs / 3)
    assert rates == pytest.approx([0.1 * 0.1 ** (epoch // step) for epoch in range(epochs)])


@pytest.mark.parametrize(("ratio", "epochs", "drops"), [
    (1.1775, 117, (35, 70, 105)), (1.4513, 145, (43, 86, 129)), (1.7951, 179, (53, 106, 159))])
def test_scratch_b_of_sparse_structure_selection(ratio, epochs, drops):
    base = rl.Recipe(epochs=100, milestones=(), step=0.3)
    assert base.drops == (30, 60, 90)
    budget = REGIMES["scratch-b"].budget(base, ratio)
    assert (budget.epochs, budget.drops) == (epochs, drops)


def test_fine_tuning_on_imagenet_has_the_last_rate_of_the_large_network():
    assert (IMAGENET.drops, IMAGENET.last_lr) == ((30, 60), 0.001)
    budget = REGIMES["finetune"].budget(IMAGENET, 1.5)
    assert (budget.epochs, budget.drops, budget.step) == (20, (), None)
    assert {budget.lr_at(epoch) for epoch in range(20)} == {0.001}


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_step_schedule_of_very_few_epochs_starts_with_the_full_rate(epochs):
    assert rl.Recipe(epochs=epochs, milestones=(), step=1 / 3).lr_at(0) == 0.1


def test_a_younger_field_changes_no_old_identity():
    assert "step" not in PAPER.identity()
    assert PAPER.identity()["epochs"] == 160
    assert IMAGENET.identity()["step"] == 1 / 3
    assert rl.Recipe(**IMAGENET.identity()) == IMAGENET


def test_addresses_are_those_of_the_second_schema():
    trial = rl.Trial({"name": "digits"}, "f" * 16, 10, "vgg16", {}, "l1", {}, "A", "scratch-b", 0,
                     rl.Recipe())
    large, _, _ = trial.stages
    assert large.address == "large-b1638c35d005c39b"


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


def released_rates(epochs: int, lr: float, truncated: bool) -> list[float]:
    """The loop of the released scripts: main_B truncates the milestones, main and main_E do not."""
    falls = [epochs * 0.5, epochs * 0.75]
    if truncated:
        falls = [int(fall) for fall in falls]
    rates = []
    for epoch in range(epochs):
        if epoch in falls:
            lr *= 0.1
        rates.append(lr)
    return rates


def test_learning_rates_are_those_of_the_released_loop_for_scratch_b_from_three_epochs_on():
    for epochs in range(3, 330):
        recipe = rl.Recipe(epochs=epochs)
        rates = [recipe.lr_at(epoch) for epoch in range(epochs)]
        assert rates == pytest.approx(released_rates(epochs, 0.1, truncated=True)), epochs
        if epochs % 4 == 0:  # elsewhere the other scripts lose a decay
            assert rates == pytest.approx(released_rates(epochs, 0.1, truncated=False)), epochs
        assert recipe.last_lr == pytest.approx(0.001)


def test_runs_of_one_and_two_epochs_differ_from_the_released_loop_as_the_recipe_says():
    assert released_rates(1, 0.1, truncated=True) == pytest.approx([0.01])
    assert released_rates(2, 0.1, truncated=True) == pytest.approx([0.1, 0.01])
    one, two = rl.Recipe(epochs=1), rl.Recipe(epochs=2)
    assert [one.lr_at(0), one.last_lr] == [0.1, 0.1]
    assert [two.lr_at(0), two.lr_at(1), two.last_lr] == [0.1, 0.001, 0.001]


def test_a_run_of_one_epoch_has_the_full_learning_rate():
    assert rl.Recipe(epochs=1).lr_at(0) == 0.1


@pytest.mark.parametrize("wrong", [
    {"nesterov": True, "momentum": 0.0},
    {"epochs": 0}, {"epochs": 2.5}, {"lr": -1}, {"lr": float("nan")}, {"batch_size": True},
    {"momentum": 1.5}, {"milestones": (0.75, 0.5)}, {"milestones": (1.5,)},
    {"finetune_epochs": 0}, {"step": 0.5}, {"step": 0, "milestones": ()},
    {"step": 1.5, "milestones": ()}, {"step": True, "milestones": ()}])
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        rl.Recipe(**wrong)


@pytest.mark.parametrize("ratio", [0.5, float("nan"), float("inf")])
def test_a_ratio_below_one_is_no_budget(ratio):
    with pytest.raises(ConfigError, match="ratio"):
        REGIMES["scratch-b"].budget(PAPER, ratio)


def test_other_epochs_change_all_that_a_recipe_counts_in_epochs():
    soft = rl.Recipe(epochs=200, finetune_epochs=40, counted_epochs=400)
    found = soft.changed(epochs=20, lr=0.01)
    assert (found.epochs, found.finetune_epochs, found.counted_epochs) == (20, 4, 40)
    assert rl.Recipe().changed(epochs=8) == rl.Recipe(epochs=8)
