"""LASSO pruning and its reconstruction, against other solvers on the samples written out."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
import torchvision
from sklearn.linear_model import Lasso
from small_networks import (
    TwoReaders,
    images_to_test,
    reconstructed,
    relative_error,
    scramble_statistics,
)
from torch import nn
from torch.nn.functional import unfold

import rethinklab as rl
from rethinklab.data.batches import calibration_batch
from rethinklab.errors import PlanError, RethinkError
from rethinklab.pruners import regression
from rethinklab.pruners.regression import Regression
from rethinklab.pruners.thinet import ThiNet

ALL = 1024  # positions: every place of a 32x32 map once, of a 16x16 map four times


def patches_of(layer, inputs):
    """Everything that a convolution reads, (m, C, k), and it in the order of its outputs."""
    channels = inputs.shape[1]
    columns = unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    taps = columns.shape[1] // channels
    return columns.transpose(1, 2).reshape(-1, channels, taps).detach().double().numpy()


def outputs_of(maps):
    return maps.flatten(2).transpose(1, 2).reshape(-1, maps.shape[1]).detach().double().numpy()


def hidden(chain, images):
    first = torch.relu(chain.first(images))
    return first, chain.second(first)


@torch.no_grad()
def test_new_weights_are_least_squares_from_what_is_now_read_to_what_was_computed(chain, small):
    plan = Regression({"first": 4, "second": 3}, images=20, positions=256).fit(chain, small)
    images = calibration_batch(small, 20, 0)[0]
    now = reconstructed(chain, plan)

    first, wanted = hidden(chain, images)
    kept = list(plan.keep["first"])
    read = patches_of(chain.second, first)[:, kept].reshape(20 * 256, -1)
    read = np.concatenate([read, np.ones((len(read), 1))], 1)
    expected = np.linalg.lstsq(read, outputs_of(wanted))[0]
    found = plan.weights["second.weight"][:, kept].flatten(1).T
    assert np.allclose(found, expected[:-1], rtol=1e-3, atol=1e-5)
    assert np.allclose(plan.weights["second.bias"], expected[-1], rtol=1e-3, atol=1e-5)

    kept = list(plan.keep["second"])
    before, after = (torch.relu(hidden(net, images)[1]) for net in (chain, now))
    read = patches_of(chain.third, after)[:, kept].reshape(20 * 64, -1)
    expected = np.linalg.lstsq(read, outputs_of(chain.third(before)))[0]
    found = plan.weights["third.weight"][:, kept].flatten(1).T
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("keep", [1, 2, 4, 5])
@torch.no_grad()
def test_channels_are_those_of_the_lasso_on_the_samples_written_out(chain, small, keep):
    plan = Regression({"first": keep}, images=20, positions=256).fit(chain, small)
    first, wanted = hidden(chain, calibration_batch(small, 20, 0)[0])
    read, weight = patches_of(chain.second, first), chain.second.weight.flatten(2).double().numpy()
    parts = np.stack([(read[:, c] @ weight[:, c].T).ravel() for c in range(6)], 1)
    target = outputs_of(wanted - chain.second.bias[:, None, None]).ravel()
    strongest = np.abs(parts.T @ target).max() / len(target)
    for strength in np.geomspace(strongest, strongest / 1e5, 400):
        model = Lasso(alpha=strength, fit_intercept=False, tol=1e-10, max_iter=100_000)
        support = np.flatnonzero(model.fit(parts, target).coef_)
        if len(support) >= keep:
            break
    assert len(support) == keep, "the grid of lambda is too coarse for this test"
    assert list(plan.keep["first"]) == support.tolist()


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_less_is_lost_than_by_thinet_and_the_l1_norm_at_equal_widths(trained, task, ratio):
    images = images_to_test(task)
    plans = [Regression(ratio, images=500), ThiNet(ratio, images=500), rl.pruners.L1Norm(ratio)]
    plans = [pruner.fit(trained, task) for pruner in plans]
    assert plans[0].kept_widths == plans[1].kept_widths == plans[2].kept_widths
    ours, thinet, norm = (relative_error(trained, plan, images) for plan in plans)
    assert ours < thinet < norm


def test_the_plan_gives_the_network_that_the_method_saw(trained, task):
    plan = Regression(0.5, images=200).fit(trained, task)
    images = images_to_test(task)
    with torch.no_grad():
        small, full = plan.apply(trained).eval()(images), reconstructed(trained, plan)(images)
    assert torch.allclose(small, full, atol=1e-4)
    assert set(plan.weights) == {"3.weight", "6.weight", "9.weight", "14.weight", "14.bias"}


def test_channels_that_are_copies_cost_nothing(trained, task):
    """The LASSO takes of each pair the channel that does the same with a smaller coefficient."""
    model = deepcopy(trained)
    with torch.no_grad():
        model[3].weight[16:] = 2 * model[3].weight[:16]
        for value in (model[4].weight, model[4].bias, model[4].running_mean):
            value[16:] = 2 * value[:16]
        model[4].running_var[16:] = 4 * model[4].running_var[:16] + 3 * model[4].eps
        model[6].weight[:, 16:] = model[6].weight[:, :16]
    plan = Regression({"3": 16}, images=200).fit(model, task)
    assert plan.keep["3"] == tuple(range(16, 32))
    images = images_to_test(task)
    assert relative_error(model, plan, images) < 1e-8
    norm = rl.pruners.L1Norm({"3": 16}).fit(model, task)
    assert norm.keep["3"] == plan.keep["3"]
    assert relative_error(model, norm, images) > 1e-2


def test_channels_that_are_always_zero_go_first_and_cost_nothing(trained, task):
    model = deepcopy(trained)
    with torch.no_grad():
        for part in (model[7].weight, model[7].bias):
            part[[1, 5, 6]] = 0
    plan = Regression({"6": 29}, images=200).fit(model, task)
    assert set(range(32)) - set(plan.keep["6"]) == {1, 5, 6}
    assert relative_error(model, plan, images_to_test(task)) < 1e-8


def test_targets_that_keep_all_or_one(trained, task):
    plan = Regression({"0": 16, "3": 1, "6": 0.25}, images=50).fit(trained, task)
    assert plan.kept_widths == {"0": 16, "3": 1, "6": 24, "9": 32}
    assert set(plan.weights) == {"6.weight", "9.weight"}
    assert plan.apply(trained)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_few_samples_change_weights_no_more_than_they_must(trained, task):
    """Two images leave most weights of a layer undetermined; they stay as trained."""
    images = images_to_test(task)
    few = Regression({"6": 24}, images=2).fit(trained, task)
    assert relative_error(trained, few, images) < 1
    assert torch.isfinite(few.weights["9.weight"]).all()


def test_the_seed_decides_and_the_network_stays_as_it_was(trained, task):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    one, again, other = (Regression(0.5, images=40, seed=seed).fit(trained, task)
                         for seed in (3, 3, 4))
    assert one == again
    assert one != other
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks
                   for module in trained.modules())


def test_several_readers_and_readers_of_several(small):
    with rl.seeds.global_stream(0, "two"):
        model = TwoReaders()
    plan = Regression({"first": 5, "other": 2}, images=50).fit(model, small)
    images = images_to_test(small)
    with torch.no_grad():
        assert torch.allclose(plan.apply(model)(images), reconstructed(model, plan)(images),
                              atol=1e-5)
    thinet = ThiNet({"first": 5, "other": 2}, images=50).fit(model, small)
    assert relative_error(model, plan, images) < relative_error(model, thinet, images)


RESIDUAL = {
    "resnet20": lambda: rl.build_model("resnet20", width=0.5, seed=1),
    "preresnet20": lambda: rl.build_model("preresnet20", width=0.5, seed=1),
    "torchvision": lambda: torchvision.models.resnet50(num_classes=10, width_per_group=8),
}
TWO_LAYERS = {"layer1.1.conv1": 0.25, "layer2.1.conv2": 0.25}


def residual_network(name):
    with rl.seeds.global_stream(0, "net"):
        return scramble_statistics(RESIDUAL[name]()).eval()


@pytest.mark.parametrize(("name", "target", "stream"), [
    ("resnet20", 0.25, None), ("resnet20", 0.25, 0.25), ("preresnet20", 0.25, 0.25),
    ("torchvision", TWO_LAYERS, None)])
def test_residual_networks(name, target, stream, small):
    model = residual_network(name)
    plan = Regression(target, images=40, stream=stream).fit(model, small)
    images = images_to_test(small)
    with torch.no_grad():
        full = reconstructed(model, plan)(images)
        assert torch.allclose(plan.apply(model).eval()(images), full, rtol=1e-3,
                              atol=1e-3 * float(full.abs().max()))
    if stream is None:
        assert not plan.read
        norm = rl.pruners.L1Norm(target).fit(model, small)
        assert relative_error(model, plan, images) < relative_error(model, norm, images)
        return
    branches = rl.models.residual.residual_branches(model).values()
    assert set(plan.read) == {branch.first for branch in branches} - {"stages.0.0.conv1"}, \
        "which reads the stem, a prunable layer of its own, and no stream"
    for reader, channels in plan.read.items():
        assert len(channels) == model.get_submodule(reader).in_channels * 3 // 4
    assert plan.after.macs < Regression(target, images=2).fit(model, small).after.macs


class Recorder:
    """Inputs and outputs of modules of one forward pass."""

    def __init__(self, model, names, images):
        self.seen = {}
        handles = [model.get_submodule(name).register_forward_hook(self.hook(name))
                   for name in names]
        with torch.no_grad():
            model.eval()(images)
        for handle in handles:
            handle.remove()

    def hook(self, name):
        def keep(module, inputs, output):
            self.seen[name] = (inputs[0].clone(), output.clone())
        return keep

    def __getitem__(self, name):
        return self.seen[name]


@pytest.mark.parametrize(("name", "earlier", "block", "projects"), [
    ("resnet20", "layer1.0.conv1", "layer1.1", False),
    ("resnet20", "layer1.0.conv1", "layer2.0", True),
    ("preresnet20", "stages.0.0.conv2", "stages.0.1", False),
    ("preresnet20", "stages.0.0.conv2", "stages.1.0", True)])
@torch.no_grad()
def test_the_last_convolution_of_a_branch_takes_in_the_error_of_the_shortcut(
        name, earlier, block, projects, small):
    """Its target is such that normalisation and addition give the sum of the original network."""
    model = residual_network(name)
    cut, last, norm = {"resnet20": ("conv1", "conv2", "bn2"),
                       "preresnet20": ("conv2", "conv3", None)}[name]
    plan = Regression({earlier: 4, f"{block}.{cut}": 4}, images=20, positions=ALL).fit(
        model, small)
    images = calibration_batch(small, 20, 0)[0]
    names = [block, f"{block}.{last}", *([f"{block}.downsample"] if projects else [])]
    before = Recorder(deepcopy(model), names, images)
    now = Recorder(reconstructed(model, plan), names, images)
    lacking = (before[names[2]][1] - now[names[2]][1] if projects
               else before[block][0] - now[block][0])
    assert lacking.abs().max() > 1e-3, "the shortcut has no error to take in"
    plain = before[f"{block}.{last}"][1]
    if norm is None:
        wanted = plain + lacking
    else:
        part = model.get_submodule(f"{block}.{norm}")
        wanted_sum = part(plain) + lacking
        mean, var, gamma, beta = (value.view(1, -1, 1, 1) for value in (
            part.running_mean, part.running_var, part.weight, part.bias))
        wanted = (wanted_sum - beta) / gamma * (var + part.eps).sqrt() + mean
    kept = list(plan.keep[f"{block}.{cut}"])
    conv = model.get_submodule(f"{block}.{last}")
    read = patches_of(conv, now[f"{block}.{last}"][0])[:, kept]
    read = read.reshape(len(read), -1)
    expected = np.linalg.lstsq(read, outputs_of(wanted))[0]
    found = plan.weights[f"{block}.{last}.weight"][:, kept].flatten(1).T
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    without = np.linalg.lstsq(read, outputs_of(plain))[0]
    assert not np.allclose(found, without, rtol=1e-2, atol=1e-3 * np.abs(without).max())


def test_a_reader_too_large_to_refit_is_named(trained, small, monkeypatch):
    monkeypatch.setattr(regression, "MOST_FEATURES", 200)
    with pytest.raises(PlanError, match=r"6 reads 288 values .* leave 3 out"):
        Regression({"3": 0.5}, images=5).fit(trained, small)


def test_a_stream_needs_residual_branches(trained, small):
    with pytest.raises(PlanError, match="no residual branches"):
        Regression(0.5, stream=0.5).fit(trained, small)


@pytest.mark.parametrize("options", [{"images": 0}, {"positions": 1.5}, {"seed": -1},
                                     {"stream": 1.0}, {"stream": 0.0}, {"stream": 3}])
def test_options_without_meaning_are_refused_at_once(options):
    with pytest.raises(RethinkError, match=next(iter(options))):
        Regression(0.5, **options)


def test_networks_that_diverged_are_named(trained, small):
    model = deepcopy(trained)
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    with pytest.raises(PlanError, match=r"3 reads is not all finite"):
        Regression(0.5, images=10).fit(model, small)


def test_a_transposed_reader_is_refused(small):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2),
                          nn.Flatten(), nn.Linear(324, 10))
    for method in (Regression, ThiNet):
        with pytest.raises(PlanError, match="ConvTranspose2d"):
            method({"0": 0.5}, images=5).fit(model, small)
