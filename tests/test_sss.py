"""Sparse structure selection: the proximal step, scales that fold away, removal that is exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import scramble_statistics
from torch import nn

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners import SparseSelection
from rethinklab.pruners.sss import SparseScales, StructureScale, find_structures, soft_threshold

SHAPE = (3, 32, 32)
NETWORKS = {"vgg11": 0.0625, "preresnet20": 0.25, "resnet20": 0.25}


def network(name, seed=0):
    return scramble_statistics(rl.build_model(name, width=NETWORKS.get(name, 0.25), seed=seed),
                               seed)


def output(model):
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return model.eval()(images)


def soft(value, amount):
    return max(value - amount, 0.0) if value > 0 else min(value + amount, 0.0)


def double_scale(start):
    scale = StructureScale(torch.arange(len(start)))
    scale.ahead = torch.tensor(start, dtype=torch.float64).requires_grad_(True)
    scale.scale = torch.tensor(start, dtype=torch.float64)
    scale.momentum = torch.zeros(len(start), dtype=torch.float64)
    return scale


@settings(max_examples=8)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.floats(0.05, 0.3),
       st.floats(0, 0.9), st.floats(0.001, 1))
def test_steps_are_those_of_the_paper_and_reach_the_minimum(goals, lr, momentum, strength):
    """Of (x - a)^2 / 2 + strength |x|, whose minimum is soft(a, strength)."""
    scale = double_scale([1.0] * len(goals))
    point, velocity = [1.0] * len(goals), [0.0] * len(goals)
    for step in range(400):
        loss = 0.5 * ((scale.ahead - torch.tensor(goals, dtype=torch.float64)) ** 2).sum()
        loss.backward()
        scale.step(lr, strength, momentum)
        for i, goal in enumerate(goals):
            gradient = point[i] + momentum * velocity[i] - goal  # at the look-ahead point
            z = point[i] + momentum * velocity[i] - lr * gradient
            new = soft(z, lr * strength)
            point[i], velocity[i] = new, new - point[i]
        if step < 20:
            assert scale.scale.tolist() == pytest.approx(point, abs=1e-12)
    assert scale.scale.tolist() == pytest.approx([soft(goal, strength) for goal in goals],
                                                 abs=1e-6)


def test_soft_threshold_is_exactly_zero_within_the_amount():
    values = torch.tensor([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 3.0])
    assert soft_threshold(values, 0.5).tolist() == [-2.5, 0, 0, 0, 0, 0, 2.5]


def fold(model, structures, set_scale):
    """Give `model` scales, set by hand, and fold them in; the outputs before and after."""
    scales = SparseScales(1.0, structures, SHAPE)
    scales.prepare(model)
    with torch.no_grad():
        for number, scale in enumerate(scales.scales):
            set_scale(number, scale.scale)
            scale.ahead.normal_()  # the look-ahead point must not matter in evaluation
    before = output(model)
    scales.finish(model)
    return before, output(model)


@pytest.mark.parametrize(("name", "structures"), [
    ("vgg11", "channels"), ("preresnet20", "both"), ("resnet20", "branches")])
def test_folded_scales_compute_what_they_did_beside_the_weights(name, structures):
    model = network(name)
    plain, names = output(model), list(model.state_dict())
    draws = torch.Generator().manual_seed(1)
    before, after = fold(model, structures,
                         lambda _, scale: scale.uniform_(0.2, 1.5, generator=draws))
    assert torch.allclose(before, after, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(plain, after, atol=1e-3)
    assert list(model.state_dict()) == names, "something of the method stayed in the network"
    assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_scales_of_one_change_nothing(name):
    model = network(name)
    plain = output(model)
    before, after = fold(model, "channels", lambda *_: None)
    assert torch.equal(plain, before)
    assert torch.equal(plain, after)


@pytest.mark.parametrize(("name", "structures"), [
    ("vgg11", "channels"), ("preresnet20", "channels"), ("preresnet20", "branches"),
    ("preresnet20", "both"), ("resnet20", "channels"), ("resnet20", "branches"),
    ("resnet20", "both")])
def test_removing_what_is_zero_changes_no_output(name, structures, digits):
    model = network(name)
    plain = output(model)

    def empty(number, scale):
        if len(scale) > 1:
            scale[number % 2 :: 3] = 0
        elif number % 2:
            scale.zero_()

    folded, _ = fold(model, structures, empty)
    plan = SparseSelection(structures=structures).fit(model, digits)
    scale = float(folded.abs().max())
    assert torch.allclose(folded / scale, output(plan.apply(model)) / scale, atol=1e-5)
    assert (plain - folded).abs().max() > 1e-3 * scale
    assert plan.after.macs < plan.before.macs
    if structures != "channels":
        assert len(plan.branches) == len(find_structures(
            network(name), "branches", SHAPE)) // 2
    if structures != "branches":
        assert any(len(kept) < plan.widths[layer] for layer, kept in plan.keep.items())


def test_a_layer_that_is_all_zero_keeps_one_channel(digits):
    model = network("vgg11")
    folded, _ = fold(model, "channels",
                     lambda number, scale: scale.zero_() if number == 2 else None)
    plan = SparseSelection().fit(model, digits)
    assert plan.kept_widths["features.8"] == 1
    assert torch.allclose(folded, output(plan.apply(model)), rtol=1e-4, atol=1e-5)


def test_training_drives_scales_to_zero_and_removal_is_exact(small):
    model = rl.build_model("vgg11", width=0.125, seed=2)
    pruner = SparseSelection(strength=1.0)
    recipe = rl.Recipe(epochs=3, lr=0.05, nesterov=True, milestones=())
    trained = rl.train(model, small, recipe, device="cpu", progress=False,
                       callbacks=pruner.during(small)).model
    plan = pruner.fit(trained, small)
    kept, width = sum(plan.kept_widths.values()), sum(plan.widths.values())
    assert 0 < kept < width
    full, narrow = output(trained), output(plan.apply(trained))
    scale = float(full.abs().max())
    assert torch.allclose(full / scale, narrow / scale, atol=1e-5)
    assert plan.apply(trained)(torch.zeros(1, *SHAPE)).shape == (1, 10)


def test_a_network_without_zeros_says_what_to_do(digits):
    with pytest.raises(PlanError, match=r"exactly zero.*strength"):
        SparseSelection().fit(network("vgg11"), digits)


def test_branches_of_a_network_without_any_fail_before_training(small):
    with pytest.raises(PlanError, match="no residual branch"):
        SparseSelection(structures="branches").rehearse(network("vgg11"), small)
    study = rl.Study("digits", "vgg11", "sss", width=0.0625,
                     method_options={"structures": "branches"})
    with pytest.raises(PlanError, match="no residual branch"):
        study.rehearse(small)


def test_channels_that_a_shared_normalisation_fills_again_get_no_scale(small):
    """A DenseNet's channels are normalised anew by every later layer: a zero would not stay."""
    with pytest.raises(PlanError, match="stay zero"):
        SparseSelection().rehearse(rl.build_model("densenet40", width=0.1), small)


class Interrupt(rl.Callback):
    def after_step(self, state):
        if state.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("structures", ["channels", "both"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(small, tmp_path, structures):
    model = rl.build_model("preresnet20", width=0.125, seed=2)
    recipe = rl.Recipe(epochs=4, lr=0.05, nesterov=True)
    pruner = SparseSelection(strength=0.3, structures=structures)

    def run(*extra, checkpoint=None):
        return rl.train(model, small, recipe, device="cpu", progress=False,
                        checkpoint=checkpoint, callbacks=[*pruner.during(small), *extra]).model

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(Interrupt(), checkpoint=tmp_path / "run.pt")
    resumed = run(checkpoint=tmp_path / "run.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_optimiser_knows_the_weights_only(small):
    class Look(rl.Callback):
        def on_start(self, state):
            held = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
            assert not held & {id(scale.ahead) for scale in acting.scales}
            self.count = sum(p.numel() for group in state.optimizer.param_groups
                             for p in group["params"])

        def after_epoch(self, state):
            self.moved = [scale.scale.clone() for scale in acting.scales]

    model = rl.build_model("vgg11", width=0.0625)
    acting, look = SparseScales(1e-9, "channels", SHAPE), Look()
    heavy = rl.Recipe(epochs=1, lr=0.01, momentum=0.0, weight_decay=10.0)
    rl.train(model, small, heavy, device="cpu", progress=False, callbacks=[acting, look])
    assert look.count == sum(p.numel() for p in model.parameters())
    assert all(float((scale - 1).abs().max()) < 0.1 for scale in look.moved), "scales decayed"
    assert any(float((scale - 1).abs().max()) > 0 for scale in look.moved), "no scale has moved"


@pytest.mark.parametrize(("options", "error"), [
    ({"target": 0.5}, PlanError), ({"strength": 0}, ConfigError), ({"structures": "neurons"},
                                                                     ConfigError)])
def test_options_without_meaning_are_refused(options, error):
    with pytest.raises(error):
        SparseSelection(**options)


class Grouped(nn.Module):
    """A block of ResNeXt: narrow, a convolution of four groups, widen, add."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)
        self.bn2, self.conv3 = nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        x = self.stem(images).relu()
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.head((x + self.conv3(inner)).relu().mean((2, 3)))


def test_groups_whose_scale_is_zero_go_with_all_that_feeds_and_reads_them(digits):
    torch.manual_seed(0)
    model = scramble_statistics(Grouped())
    pruner = SparseSelection(structures="groups")
    acting = pruner.during(digits)[0]
    acting.prepare(model)
    assert len(acting.scales) == 1
    assert acting.scales[0].scale.shape == (4,)
    acting.scales[0].scale.copy_(torch.tensor([1.0, 0.0, 0.5, 0.0]))
    acting.finish(model)
    before = output(model)
    plan = pruner.fit(model, digits)
    small = plan.apply(model)
    assert torch.allclose(output(small), before, atol=1e-5)
    dead = [*range(4, 8), *range(12, 16)]
    assert small.conv2.weight[dead].abs().sum() == 0
    assert small.conv1.weight[dead].abs().sum() == 0
    assert small.conv3.weight[:, dead].abs().sum() == 0
    assert small.conv2.weight[[0, 8]].abs().sum() > 0
    half = sum(m.weight.numel() for m in (model.conv1, model.conv2, model.conv3)) // 2
    assert plan.before.macs - plan.after.macs == half * 16 * 16
    # what is gone stays gone, and the rest of a new network learns
    trained = rl.train(plan.scratch(model), digits.subset(64, 16), rl.Recipe(epochs=1, lr=0.1),
                       callbacks=plan.callbacks(), progress=False, device="cpu").model
    assert trained.conv2.weight[dead].abs().sum() == 0
    assert trained.bn2.bias[dead].abs().sum() == 0


def test_a_network_without_groups_says_so_before_training(digits):
    with pytest.raises(PlanError, match="no grouped convolution"):
        SparseSelection(structures="groups").rehearse(network("vgg11"), digits)
