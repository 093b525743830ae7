"""Soft filter pruning: how many filters, which, when, and that they may come back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners import SoftFilter
from rethinklab.pruners.soft_filter import SoftPruning, filter_layers, smallest_filters

RECIPE = rl.Recipe(epochs=3, lr=0.1, batch_size=50, weight_decay=5e-4, nesterov=True)


@pytest.fixture(scope="module")
def resnet():
    return rl.build_model("resnet20", width=0.5, shortcut="stride", seed=4)


def zero_filters(model):
    return {name: {i for i, kernel in enumerate(layer.weight.detach()) if not kernel.any()}
            for name, layer in filter_layers(model).items()}


@pytest.mark.parametrize(("rate", "lost"), [
    (0.9, (1, 3, 6)), (0.8, (3, 6, 12)), (0.7, (4, 9, 19)), (0.6, (6, 12, 25))])
def test_numbers_of_filters_are_the_released_ones(rate, lost):
    for width, count in zip((16, 32, 64), lost, strict=True):
        weight = torch.randn(width, 3, 3, 3)
        gone = smallest_filters(weight, 1 - rate).tolist()
        assert len(gone) == count
        norms = [float(kernel.square().sum()) for kernel in weight]
        assert set(gone) == set(sorted(range(width), key=norms.__getitem__)[:count])


@pytest.mark.parametrize(("share", "ratio"), [
    (0.1, 1.090), (0.2, 1.230), (0.3, 1.378), (0.4, 1.609)])
def test_flops_of_resnet56_are_the_published_ones(digits, share, ratio):
    model = rl.build_model("resnet56", shortcut="stride")
    plan = SoftFilter(share).fit(model, digits)
    assert round(plan.flops_ratio, 3) == ratio
    assert len(plan.masks) == 55


def test_the_plan_masks_whole_filters_of_every_convolution(resnet, digits):
    plan = SoftFilter(0.3).fit(resnet, digits)
    assert set(plan.masks) == {f"{name}.weight" for name, module in resnet.named_modules()
                               if isinstance(module, nn.Conv2d)}
    assert set(plan.left_alone) == {"fc"}
    assert not plan.keep
    for name, mask in plan.masks.items():
        filters = mask.flatten(1)
        assert (filters.all(1) | ~filters.any(1)).all(), "part of a filter is masked"
        assert int((~filters.any(1)).sum()) == int(len(mask) * 0.3 + 1e-9), name
    pruned = plan.apply(resnet)
    for name, value in pruned.named_parameters():
        if name not in plan.masks:
            assert torch.equal(value, resnet.get_parameter(name))


def test_zeroing_touches_filters_and_nothing_else(resnet):
    from copy import deepcopy

    model = deepcopy(resnet)

    class State:
        pass

    state = State()
    state.model = model
    SoftPruning(0.3).before_test(state)
    convolutions = {f"{name}.weight" for name in filter_layers(model)}
    for name, value in model.state_dict().items():
        before = resnet.state_dict()[name]
        if name not in convolutions:
            assert torch.equal(value, before), name
        else:
            kept = value.flatten(1).any(1)
            assert torch.equal(value[kept], before[kept])
            assert not kept.all()


class Diary(rl.Callback):
    """What is zero before the first step, after each step and after each test."""

    def __init__(self, data):
        self.data, self.start, self.between, self.tested, self.accuracies = data, None, [], [], []

    def on_start(self, state):
        self.start = zero_filters(state.model)

    def after_step(self, state):
        self.between.append(zero_filters(state.model))

    def after_epoch(self, state):
        self.tested.append(zero_filters(state.model))
        self.accuracies.append(rl.evaluate(state.model, self.data)[0])


@pytest.fixture(scope="module")
def trained(resnet, small):
    diary = Diary(small)
    pruner = SoftFilter(0.4)
    result = rl.train(resnet, small, RECIPE, device="cpu", progress=False,
                      callbacks=[*pruner.during(small), diary])
    return pruner, result, diary


def test_filters_go_before_training_and_after_every_epoch(resnet, trained):
    _, _, diary = trained
    for zeros in (diary.start, *diary.tested):
        for name, layer in filter_layers(resnet).items():
            assert len(zeros[name]) == int(layer.out_channels * 0.4 + 1e-9), name
    assert len(diary.tested) == RECIPE.epochs


def test_filters_train_between_and_may_come_back(trained):
    _, _, diary = trained
    first, last = diary.start, diary.tested[-1]
    zeros = sum(map(len, first.values()))
    assert all(sum(map(len, between.values())) < 0.8 * zeros for between in diary.between)
    assert sum(len(first[name] - last[name]) for name in first) > 5


def test_a_zero_filter_before_a_relu_comes_back_where_its_shift_is_positive(small):
    """Its normalised output is the shift alone, and a ReLU passes a gradient above zero only."""
    model = rl.build_model("vgg11", width=0.125, seed=2)
    with torch.no_grad():
        model.features[0].weight[:2] = 0
        model.features[1].bias[0], model.features[1].bias[1] = 0.5, 0.0
    one_epoch = rl.Recipe(epochs=1, lr=0.05, batch_size=50)
    trained = rl.train(model, small, one_epoch, device="cpu", progress=False).model
    weight = trained.features[0].weight
    assert weight[0].any()
    assert not weight[1].any()


def test_accuracy_is_that_of_the_zeroed_network(trained):
    _, result, diary = trained
    assert result.history["test_accuracy"].tolist() == pytest.approx(diary.accuracies)


def test_the_plan_is_what_is_zero_in_the_end(trained, small):
    pruner, result, diary = trained
    plan = pruner.fit(result.model, small)
    for name, zeros in diary.tested[-1].items():
        mask = plan.masks[f"{name}.weight"].flatten(1).any(1)
        assert set((~mask).nonzero().flatten().tolist()) == zeros
    applied = plan.apply(result.model)
    for name, value in applied.state_dict().items():
        assert torch.equal(value, result.model.state_dict()[name]), "applying changed something"
    assert rl.evaluate(applied, small)[0] == result.test_accuracy


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(resnet, small, tmp_path, trained):
    class Interrupt(rl.Callback):
        def after_step(self, state):
            if state.epoch == 1:
                raise KeyboardInterrupt

    pruner, result, _ = trained

    def run(*extra):
        return rl.train(resnet, small, RECIPE, device="cpu", progress=False,
                        checkpoint=tmp_path / "run.pt",
                        callbacks=[*pruner.during(small), *extra]).model

    with pytest.raises(KeyboardInterrupt):
        run(Interrupt())
    resumed = run().state_dict()
    assert all(torch.equal(value, resumed[name])
               for name, value in result.model.state_dict().items())


def test_projections_on_shortcuts_are_left_alone(digits):
    model = rl.build_model("preresnet20", width=0.5)
    plan = SoftFilter(0.3).fit(model, digits)
    shortcuts = {name for name, module in model.named_modules()
                 if name.endswith("downsample") and isinstance(module, nn.Conv2d)}
    assert shortcuts
    assert shortcuts | {"fc"} == set(plan.left_alone)


def test_ratios_that_remove_nothing_and_budgets_are_refused(digits):
    with pytest.raises(PlanError, match="too narrow"):
        SoftFilter(0.01).fit(rl.build_model("vgg11", width=0.0625), digits)
    with pytest.raises(PlanError, match="no ungrouped convolution"):
        SoftFilter(0.5).fit(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits)
    with pytest.raises(PlanError, match="ratio"):
        SoftFilter("macs:0.5")
