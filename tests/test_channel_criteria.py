"""Criteria for channels against their definitions in plain loops, and against Torch-Pruning."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
import torch_pruning as tp
from small_networks import Chain, TwoReaders, scramble_statistics, slim
from torch import nn
from torch.nn.functional import cross_entropy
from torch_pruning.pruner import importance as reference

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners.context import Calibration


def scored(method, model, data, *layers):
    return rl.make_pruner(method, 0.5).scores(model, data, layers)


def trained_like(build, seed=3):
    torch.manual_seed(seed)
    return scramble_statistics(build().eval(), seed)


def group_of(model, layer):
    graph = tp.DependencyGraph().build_dependency(model, torch.zeros(1, 3, 32, 32))
    module = model.get_submodule(layer)
    return graph.get_pruning_group(module, tp.prune_conv_out_channels,
                                   list(range(module.out_channels)))


def test_l2_is_the_root_of_the_sum_of_squares(digits):
    model = slim()
    found = scored("l2", model, digits, "3")["3"]
    expected = [math.sqrt(sum(float(w) ** 2 for w in kernel.flatten()))
                for kernel in model[3].weight.detach()]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_fpgm_is_the_sum_of_distances_to_all_filters_of_the_layer(digits):
    model = slim()
    found = scored("fpgm", model, digits, "3")["3"]
    filters = model[3].weight.detach().double().flatten(1).tolist()
    expected = [sum(math.dist(one, other) for other in filters) for one in filters]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    theirs = reference.FPGMImportance(p=1, group_reduction="first", normalizer=None)
    with torch.no_grad():
        model[3].weight.abs_()  # it measures between magnitudes
    torch.testing.assert_close(scored("fpgm", model, digits, "3")["3"],
                               theirs(group_of(model, "3")), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("build", "layer"), [(slim, "3"), (Chain, "second")])
def test_taylor_is_the_squared_slope_of_a_gate_on_the_filters_weights(build, layer, digits):
    model = trained_like(build)
    found = scored("taylor", model, digits, layer)[layer]
    images, labels = Calibration(model, digits, 64).batch
    module = model.get_submodule(layer)
    for channel in (0, len(found) - 1):
        gate = torch.ones((), requires_grad=True)
        weight = torch.stack([w * gate if c == channel else w
                              for c, w in enumerate(module.weight.detach())])
        answers = torch.func.functional_call(model, {f"{layer}.weight": weight}, (images,))
        (slope,) = torch.autograd.grad(cross_entropy(answers, labels), gate)
        assert float(found[channel]) == pytest.approx(float(slope) ** 2, rel=1e-2, abs=1e-10)
    cross_entropy(model(images), labels).backward()
    theirs = reference.TaylorImportance(group_reduction="first", normalizer=None,
                                        multivariable=True)(group_of(model, layer))
    torch.testing.assert_close(found.sqrt(), theirs, rtol=1e-2, atol=1e-6)


def test_group_norm_counts_filter_scale_and_what_readers_read(digits):
    model = trained_like(slim).requires_grad_(False)
    found = scored("group-norm", model, digits, "3", "9")
    expected = []
    for j in range(32):
        parts = [*model[3].weight[j].flatten().tolist(), float(model[4].weight[j]),
                 *model[6].weight[:, j].flatten().tolist()]
        expected.append(math.sqrt(sum(p * p for p in parts)))
    assert found["3"].tolist() == pytest.approx(expected, rel=1e-5)
    last = [*model[9].weight[5].flatten().tolist(), float(model[10].weight[5]),
            *model[14].weight[:, 20:24].flatten().tolist()]  # four values of each channel
    assert float(found["9"][5]) == pytest.approx(math.sqrt(sum(p * p for p in last)), rel=1e-5)


@pytest.mark.parametrize(("build", "layer"), [(slim, "3"), (slim, "9"), (TwoReaders, "first")])
def test_group_norm_and_bn_scale_are_torch_prunings(build, layer, digits):
    model = trained_like(build)
    theirs = reference.GroupMagnitudeImportance(p=2, group_reduction="sum", normalizer=None)
    torch.testing.assert_close(scored("group-norm", model, digits, layer)[layer].square(),
                               theirs(group_of(model, layer)))
    if build is slim:
        scales = reference.BNScaleImportance(normalizer=None)
        torch.testing.assert_close(scored("bn-scale", model, digits, layer)[layer],
                                   scales(group_of(model, layer)))


def test_bn_scale_leaves_layers_without_normalisation_alone(digits):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2),
                          nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, 10))
    plan = rl.make_pruner("bn-scale", 0.5).fit(model, digits)
    assert list(plan.keep) == ["2"]
    assert "no batch normalisation" in plan.left_alone["0"]
    with pytest.raises(PlanError, match="no batch normalisation with scales follows 0"):
        rl.make_pruner("bn-scale", {"0": 0.5}).fit(model, digits)


def maps_by_hand(model, images, layer):
    """What the layer after the ReLU reads: of `slim` the outputs of its first modules."""
    return model[:layer + 3](images).detach()


@pytest.mark.parametrize("layer", [0, 3])
def test_activations_are_those_that_the_next_layer_reads(layer, digits):
    model = trained_like(slim)
    images, _ = Calibration(model, digits, 64).batch
    maps = maps_by_hand(model, images, layer)
    name, width = str(layer), maps.shape[1]
    means = [float(maps[:, c].double().abs().sum()) / maps[:, c].numel() for c in range(width)]
    assert scored("mean-activation", model, digits, name)[name].tolist() == pytest.approx(
        means, rel=1e-4, abs=1e-6)
    zeros = [sum(v == 0 for v in maps[:, c].flatten().tolist()) / maps[:, c].numel()
             for c in range(width)]
    assert scored("apoz", model, digits, name)[name].tolist() == pytest.approx(
        [1 - share for share in zeros], abs=1e-6)
    ranks = [numpy.mean([numpy.linalg.matrix_rank(m.numpy()) for m in maps[:, c]])
             for c in range(width)]
    assert scored("hrank", model, digits, name)[name].tolist() == pytest.approx(ranks, abs=0.05)


def test_flattened_maps_are_given_back_their_channels(digits):
    model = trained_like(slim)
    calibration = Calibration(model, digits, 8)
    maps = calibration.of("9").feature_maps
    assert maps.shape == (8, 32, 2, 2)
    torch.testing.assert_close(maps, model[:13](calibration.batch[0]).detach())


@pytest.mark.parametrize(("model", "method"), [
    ("resnet20", "group-norm"), ("preresnet20", "bn-scale"), ("densenet40", "mean-activation")])
def test_residual_and_concatenated_networks_are_scored_and_cut(model, method, digits):
    network = rl.build_model(model, width=0.5)
    plan = rl.make_pruner(method, 0.25).fit(network, digits)
    assert plan.after.macs < plan.before.macs
    assert plan.apply(network)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
