"""ThiNet against its definition written in loops, and what its reconstruction is good for."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from small_networks import (
    RECIPE,
    TwoReaders,
    images_to_test,
    reconstructed,
    relative_error,
    scramble_statistics,
)
from torch import nn
from torch.nn.functional import conv2d

import rethinklab as rl
from rethinklab.data.batches import calibration_batch
from rethinklab.errors import PlanError, RethinkError
from rethinklab.pruners.base import Origin
from rethinklab.pruners.thinet import ThiNet, readers_of


def one_output_samples(reader, inputs):
    """x_ic of every output of a reader with one output channel, in loops."""
    parts = []
    for channel in range(inputs.shape[1]):
        alone = conv2d(inputs[:, channel : channel + 1].double(),
                       reader.weight[:, channel : channel + 1].double(), None, reader.stride,
                       reader.padding)
        parts.append(alone.flatten())
    return torch.stack(parts, 1).detach().numpy()


def removed_by_definition(samples, count):
    taken = []
    for _ in range(count):
        costs = {}
        for channel in range(samples.shape[1]):
            if channel not in taken:
                costs[channel] = sum(row[[*taken, channel]].sum() ** 2 for row in samples)
        taken.append(min(costs, key=costs.get))
    return set(taken)


@pytest.mark.parametrize("target", [{"second": 3}, {"first": 0.5, "second": 4}])
def test_choice_and_scales_are_those_of_the_definition(chain, small, target):
    """Every place of a one-channel output is sampled, so that samples are all there are."""
    plan = ThiNet(target, images=12, positions=64).fit(chain, small)
    images = calibration_batch(small, 12, 0)[0]
    so_far = deepcopy(chain)
    with torch.no_grad():
        if "second.weight" in plan.weights:  # the first layer's reader, already rescaled
            so_far.second.weight.copy_(plan.weights["second.weight"])
        inputs = torch.relu(so_far.second(torch.relu(so_far.first(images))))
    samples = one_output_samples(chain.third, inputs)
    gone = removed_by_definition(samples, 7 - target["second"])
    kept = [channel for channel in range(7) if channel not in gone]
    assert plan.keep["second"] == tuple(kept)
    scales = np.linalg.lstsq(samples[:, kept], samples.sum(1))[0]
    expected = chain.third.weight.detach().numpy()[:, kept] * scales[None, :, None, None]
    assert np.allclose(plan.weights["third.weight"][:, kept], expected, rtol=1e-3, atol=1e-6)
    assert (plan.weights["third.weight"][:, sorted(gone)] == 0).all()


def test_one_factor_a_channel_and_nothing_else_changes(trained, task):
    plan = ThiNet(0.4, images=60).fit(trained, task)
    assert list(plan.weights) == ["3.weight", "6.weight", "9.weight", "14.weight"]
    for name, (reader, new) in zip(plan.keep, plan.weights.items(), strict=True):
        width = plan.widths[name]
        old = trained.get_parameter(reader).detach().reshape(len(new), width, -1)
        new = new.reshape(len(new), width, -1)
        factors = (old * new).sum((0, 2)) / old.square().sum((0, 2))
        assert torch.allclose(old * factors[None, :, None], new, atol=1e-5)
        assert set(factors.nonzero().flatten().tolist()) == set(plan.keep[name])


def test_the_plan_gives_the_network_that_the_method_saw(trained, task):
    plan = ThiNet(0.5, images=60).fit(trained, task)
    images = images_to_test(task)
    with torch.no_grad():
        small, full = plan.apply(trained).eval()(images), reconstructed(trained, plan)(images)
    assert torch.allclose(small, full, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_less_is_lost_than_by_the_l1_norm_at_equal_widths(trained, task, ratio):
    ours, theirs = ThiNet(ratio).fit(trained, task), rl.pruners.L1Norm(ratio).fit(trained, task)
    assert ours.kept_widths == theirs.kept_widths
    images = images_to_test(task)
    assert relative_error(trained, ours, images) < relative_error(trained, theirs, images)


@pytest.mark.parametrize("layer", ["0", "6", "9"])
def test_the_next_layers_output_suffers_less_than_under_the_l1_norm(trained, task, layer):
    images = images_to_test(task)
    reader = readers_of(trained, task.input_shape, [layer])[layer][0].name

    def output_of(model):
        seen = []
        handle = model.get_submodule(reader).register_forward_hook(
            lambda module, inputs, output: seen.append(output.clone()))
        with torch.no_grad():
            model.eval()(images)
        handle.remove()
        return seen[0]

    wanted = output_of(deepcopy(trained))
    errors = [float((output_of(method({layer: 0.5}).fit(trained, task).apply(trained)) - wanted)
                    .square().sum()) for method in (ThiNet, rl.pruners.L1Norm)]
    assert errors[0] < errors[1]


def test_channels_that_are_always_zero_go_first_and_cost_nothing(trained, task):
    model = deepcopy(trained)
    with torch.no_grad():
        for part in (model[7].weight, model[7].bias):
            part[[1, 5, 6]] = 0
    plan = ThiNet({"6": 29}, images=100).fit(model, task)
    assert set(range(32)) - set(plan.keep["6"]) == {1, 5, 6}
    assert relative_error(model, plan, images_to_test(task)) < 1e-8


def test_targets_that_keep_all_or_one(trained, task):
    plan = ThiNet({"0": 16, "3": 1, "6": 0.25}, images=50).fit(trained, task)
    assert plan.keep["0"] == tuple(range(16))
    assert plan.kept_widths == {"0": 16, "3": 1, "6": 24, "9": 32}
    assert set(plan.weights) == {"6.weight", "9.weight"}
    assert plan.apply(trained)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_seed_decides_and_the_network_stays_as_it_was(trained, task):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    mode = trained.training
    one, again, other = (ThiNet(0.5, images=40, seed=seed).fit(trained, task)
                         for seed in (3, 3, 4))
    assert one == again
    assert one.keep != other.keep
    assert trained.training == mode
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks
                   for module in trained.modules())


def test_more_positions_than_images_have_and_more_images_than_there_are(chain, small):
    plan = ThiNet({"second": 2, "first": 3}, images=10_000, positions=200).fit(chain, small)
    assert plan.kept_widths == {"first": 3, "second": 2}
    assert "single channel" in plan.left_alone["third"]


def test_several_readers_and_readers_of_several(small):
    with rl.seeds.global_stream(0, "two"):
        model = TwoReaders()
    readers = {r.name: r.columns.flatten().tolist()
               for r in readers_of(model, small.input_shape, ["first"])["first"]}
    assert readers == {"wide": list(range(4, 12)), "narrow": list(range(8))}
    plan = ThiNet({"first": 5, "other": 2}, images=30).fit(model, small)
    images = images_to_test(small)
    with torch.no_grad():
        assert torch.allclose(plan.apply(model)(images), reconstructed(model, plan)(images),
                              atol=1e-5)
    cut = rl.pruners.L1Norm({"first": 5, "other": 2}).fit(model, small)
    assert relative_error(model, plan, images) < relative_error(model, cut, images)


def test_flattened_maps_give_each_channel_several_columns(small):
    model = nn.Sequential(nn.Conv2d(3, 5, 3, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(80, 10))
    reader, = readers_of(model, small.input_shape, ["0"])["0"]
    assert reader.columns.tolist() == torch.arange(80).view(5, 16).tolist()
    plan = ThiNet({"0": 3}, images=60).fit(model, small)
    images = images_to_test(small)
    with torch.no_grad():
        assert torch.allclose(plan.apply(model)(images), reconstructed(model, plan)(images),
                              atol=1e-5)


@pytest.mark.parametrize("build", [
    lambda: rl.build_model("resnet20", width=0.25, seed=1),
    lambda: torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.25)])
def test_residual_and_depthwise_networks(build, small):
    with rl.seeds.global_stream(0, "net"):
        model = scramble_statistics(build()).eval()
    plan = ThiNet(0.5, images=20, positions=5).fit(model, small)
    images = images_to_test(small)
    with torch.no_grad():
        full = reconstructed(model, plan)(images)
        assert torch.allclose(plan.apply(model).eval()(images), full, rtol=1e-3, atol=1e-4)
    assert plan.after.params < plan.before.params


def test_training_in_between_holds_what_was_removed(trained, small):
    pruner = ThiNet({"0": 8, "3": 12}, images=40, tune_epochs=1)
    origin = Origin(RECIPE, seed=5, device="cpu")
    plan = pruner.fit(trained, small, origin)
    assert set(plan.weights) == set(trained.state_dict())
    gone = sorted(set(range(16)) - set(plan.keep["0"]))
    assert (plan.weights["3.weight"][:, gone] == 0).all()
    assert not torch.equal(plan.weights["9.weight"], trained[9].weight)
    assert plan == pruner.fit(trained, small, origin)
    images = images_to_test(small)
    with torch.no_grad():
        assert torch.allclose(plan.apply(trained).eval()(images),
                              reconstructed(trained, plan)(images), atol=1e-4)
    untuned = replace(pruner, tune_epochs=0).fit(trained, small)
    assert untuned.keep["0"] == plan.keep["0"], "nothing was trained before it"
    assert pruner.rehearse(trained, small).kept_widths == plan.kept_widths


def test_training_in_between_needs_to_know_how(trained, small):
    with pytest.raises(PlanError, match="how the network was trained"):
        ThiNet(0.5, tune_epochs=1).fit(trained, small)


@pytest.mark.parametrize("options", [{"images": 0}, {"positions": 1.5}, {"seed": -1},
                                     {"tune_epochs": -1}, {"tune_epochs": True}])
def test_options_without_meaning_are_refused_at_once(options):
    with pytest.raises(RethinkError, match=next(iter(options))):
        ThiNet(0.5, **options)


def test_networks_that_diverged_are_named(trained, small):
    model = deepcopy(trained)
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    with pytest.raises(PlanError, match=r"3 reads is not all finite"):
        ThiNet(0.5, images=10).fit(model, small)
