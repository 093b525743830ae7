"""Pruning before training: definitions of SNIP, GraSP, SynFlow and random masks, and controls."""

from __future__ import annotations

import warnings

import pytest
import torch
from small_networks import slim
from torch import nn
from torch.nn.functional import cross_entropy

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.pruners.context import Calibration
from rethinklab.pruners.grasp import hessian_gradient

BEFORE = [name for name, method in rl.pruners.METHODS.items() if method.before_training]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return slim()


@pytest.fixture(scope="module")
def batch(model, digits):
    return Calibration(model, digits, 128).batch


def test_snip_is_the_slope_of_the_loss_by_a_gate_on_the_connection(model, batch, digits):
    scores = rl.make_pruner("snip", 0.5).scores(model, digits)
    twin = slim().train()  # an untrained network normalises by its batch
    twin.load_state_dict(model.state_dict())
    for layer, place in ((0, 5), (3, 100), (9, 17)):
        weight = twin[layer].weight.detach()
        gates = torch.ones_like(weight, requires_grad=True)
        answers = torch.func.functional_call(twin, {f"{layer}.weight": weight * gates},
                                             (batch[0],))
        (slopes,) = torch.autograd.grad(cross_entropy(answers, batch[1]), gates)
        assert float(scores[f"{layer}.weight"].flatten()[place]) == pytest.approx(
            abs(float(slopes.flatten()[place])), rel=1e-3, abs=1e-8)
    assert torch.equal(model[1].running_mean, torch.zeros(16)), "the network is left as it was"


def smooth():
    """Without a ReLU's corners, over which finite differences would step."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 5, 3, 2),
                         nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 10))


def test_the_hessian_times_the_gradient_agrees_with_finite_differences(digits):
    model = smooth().double()
    images, labels = Calibration(smooth(), digits, 32).batch
    weights = [model[0].weight, model[3].weight]

    def gradient(shift=()):
        with torch.no_grad():
            for weight, step in zip(weights, shift, strict=False):
                weight.add_(step)
        loss = cross_entropy(model(images.double()), labels)
        found = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, step in zip(weights, shift, strict=False):
                weight.sub_(step)
        return found

    exact = hessian_gradient(cross_entropy(model(images.double()), labels), weights)
    slope, step = gradient(), 1e-5
    ahead = gradient([step * g for g in slope])
    behind = gradient([-step * g for g in slope])
    for product, one, other in zip(exact, ahead, behind, strict=True):
        torch.testing.assert_close(product, (one - other) / (2 * step), rtol=1e-5, atol=1e-9)


def test_a_grasp_score_is_half_of_what_removal_takes_from_the_gradients_norm(digits):
    model = smooth()
    images, labels = Calibration(model, digits, 128).batch
    scores = rl.make_pruner("grasp", 0.5, temperature=1).scores(model, digits)
    double = smooth().double().train()

    def flow(layer, place, share):
        weights = [double[0].weight, double[3].weight]
        with torch.no_grad():
            double[layer].weight.view(-1)[place] *= 1 - share
        loss = cross_entropy(double(images.double()), labels)
        found = sum(float(g.square().sum()) for g in torch.autograd.grad(loss, weights))
        with torch.no_grad():
            double[layer].weight.view(-1)[place] /= 1 - share
        return found

    for layer, place in ((0, 3), (0, 50), (3, 11), (3, 170)):
        lost = (flow(layer, place, -1e-4) - flow(layer, place, 1e-4)) / 2e-4
        assert float(scores[f"{layer}.weight"].flatten()[place]) == pytest.approx(
            lost / 2, rel=1e-2, abs=1e-7)
    masks = rl.make_pruner("grasp", 0.5, temperature=1).fit(model, digits).masks
    kept = torch.cat([scores[name][mask] for name, mask in masks.items()])
    gone = torch.cat([scores[name][~mask] for name, mask in masks.items()])
    assert kept.min() >= gone.max()


def test_synaptic_flow_is_the_product_of_magnitudes_along_all_paths(digits):
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1, bias=False),
                           nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10))
    one, two, head = (linear[i].weight.detach().abs().flatten(1).tolist() for i in (0, 2, 5))
    scores = rl.make_pruner("synflow", 0.5).scores(linear, digits)
    for i in range(4):
        for c in range(3):
            paths = sum(one[i][c] * two[j][i] * head[k][j] for j in range(5) for k in range(10))
            assert float(scores["0.weight"][i, c]) == pytest.approx(paths)
    for j in range(5):
        paths = sum(one[2][c] * two[j][2] * head[k][j] for c in range(3) for k in range(10))
        assert float(scores["2.weight"][j, 2]) == pytest.approx(paths)


def test_what_flows_into_a_layer_flows_out_of_it(model, digits):
    scores = rl.make_pruner("synflow", 0.5).scores(model, digits)
    totals = [float(score.sum()) for score in scores.values()]
    assert totals == pytest.approx([totals[0]] * 4)


def test_at_99_percent_synflow_empties_no_layer_and_magnitude_does(model, digits):
    with pytest.warns(UserWarning, match="removes 99.0% of the weights, and all of 6, 9"):
        rl.make_pruner("weight-level", 0.99).fit(model, digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = rl.make_pruner("synflow", 0.99).fit(model, digits)
    assert min(flow.densities.values()) > 0
    kept = sum(int(mask.sum()) for mask in flow.masks.values())
    total = sum(mask.numel() for mask in flow.masks.values())
    assert kept == total - round(0.99 * total)


@pytest.mark.parametrize("control", ["random", "shuffled", "inverted"])
def test_controls_of_snip_keep_the_density_of_every_layer(control, model, digits):
    plan = rl.make_pruner("snip", 0.8).fit(model, digits)
    other = rl.make_pruner(control, 0.8, of="snip").fit(model, digits)
    assert other.densities == plan.densities
    assert len(set(plan.densities.values())) == 4
    assert all(not torch.equal(mask, plan.masks[name]) for name, mask in other.masks.items())


@pytest.mark.parametrize("of", ["snip", "grasp", "fpgm"])
def test_the_inverted_control_keeps_what_the_method_scores_lowest(of, model, digits):
    pruner = rl.make_pruner(of, 0.6)
    plan, worst = pruner.fit(model, digits), rl.make_pruner("inverted", 0.6, of=of).fit(model,
                                                                                       digits)
    assert {n: len(k) for n, k in worst.keep.items()} == {n: len(k) for n, k in plan.keep.items()}
    if of == "fpgm":
        for name, scores in pruner.scores(model, digits, list(plan.keep)).items():
            inside = torch.zeros(len(scores), dtype=torch.bool)
            inside[list(worst.keep[name])] = True
            assert scores[inside].max() <= scores[~inside].min()
        return
    for name, scores in pruner.scores(model, digits).items():
        mask = worst.masks[name]
        assert not mask.any() or scores[mask].max() <= scores[~mask].min()


def test_random_masks_depend_on_their_seed_alone(model, digits):
    one, again, other = (rl.make_pruner("random-mask", 0.5, seed=s).fit(m, digits).masks
                         for s, m in ((1, model), (1, slim()), (2, model)))
    assert one == again != other


def stages_of(method, **more):
    study = rl.Study(model="vgg11", method=method, target=0.5, seeds=1, **more)
    return {trial.regime: trial.stages for trial in study.trials(
        rl.load_data("digits").subset(40, 20))}


def test_plans_before_training_rest_on_no_trained_network():
    plain = stages_of("weight-level", regimes=["scratch-e"])
    found = {method: stages_of(method) for method in BEFORE}
    assert set(BEFORE) == {"snip", "grasp", "synflow", "random-mask"}
    for method, regimes in found.items():
        assert list(regimes) == ["unpruned", "ticket", "scratch-e"]
        assert regimes["unpruned"][0].address == plain["unpruned"][0].address
        start, plan, _ = regimes["ticket"]
        assert (start.spec["until"], plan.needs) == (0, (start,))
        assert start.address == found["snip"]["ticket"][0].address, method
    control = stages_of("random", method_options={"of": "snip"})
    assert control["ticket"][0].address == found["snip"]["ticket"][0].address
    assert "until" not in plain["scratch-e"][0].spec


@pytest.mark.parametrize("regime", ["pruned", "finetune", "lr-rewind:0.5"])
def test_a_regime_that_inherits_trained_weights_is_refused(regime):
    with pytest.raises(ConfigError, match=r"method snip prunes before training; choose among tick"):
        stages_of("snip", regimes=[regime])
    with pytest.raises(ConfigError, match="method synflow prunes before training"):
        stages_of("inverted", regimes=[regime], method_options={"of": "synflow"})
