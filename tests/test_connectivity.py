"""The line between two networks: end points, barriers in closed form, statistics re-estimated."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn.functional import cross_entropy

import rethinklab as rl
from rethinklab.analysis.connectivity import barrier, interpolate, normalisations, reestimate
from rethinklab.errors import ConfigError

ALPHAS = [step / 10 for step in range(11)]
FINITE = st.floats(-1e3, 1e3, width=32)


def networks(count=2):
    return [rl.build_model("vgg11", width=0.0625, seed=seed).state_dict() for seed in range(count)]


@given(arrays("float32", (2, 3), elements=FINITE), arrays("float32", (2, 3), elements=FINITE))
def test_ends_are_the_networks(a, b):
    one, other = {"w": torch.tensor(a)}, {"w": torch.tensor(b)}
    assert torch.equal(interpolate(one, other, 0.0)["w"], one["w"])
    assert torch.equal(interpolate(one, other, 1.0)["w"], other["w"])


def test_ends_of_a_real_network_compute_what_the_networks_do(small):
    one, other = networks()
    model = rl.build_model("vgg11", width=0.0625, seed=5)
    for alpha, state in ((0.0, one), (1.0, other)):
        model.load_state_dict(interpolate(one, other, alpha))
        found = rl.evaluate(model, small)
        model.load_state_dict(state)
        assert found == rl.evaluate(model, small)


def test_the_middle_is_the_mean_and_counters_are_of_the_nearer():
    one = {"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    other = {"w": torch.tensor([3.0, -2.0]), "count": torch.tensor(8)}
    middle = interpolate(one, other, 0.5)
    assert middle["w"].tolist() == [2.0, 0.0]
    assert [int(interpolate(one, other, a)["count"]) for a in (0, 0.5, 0.6, 1)] == [3, 3, 8, 8]


def test_interpolation_leaves_both_networks_alone():
    one, other = networks()
    before = [{name: value.clone() for name, value in state.items()} for state in (one, other)]
    for value in interpolate(one, other, 0.0).values():
        value.zero_()
    for state, was in zip((one, other), before, strict=True):
        assert all(torch.equal(value, was[name]) for name, value in state.items())


def test_other_architectures_and_places_off_the_line_are_named():
    one, other = {"w": torch.ones(2)}, {"w": torch.ones(3)}
    with pytest.raises(ConfigError, match=r"w has the shapes \(2,\) and \(3,\)"):
        interpolate(one, other, 0.5)
    with pytest.raises(ConfigError, match="v is in one of the networks only"):
        interpolate(one, {**one, "v": torch.ones(1)}, 0.5)
    with pytest.raises(ConfigError, match=r"alpha 1\.5"):
        interpolate(one, one, 1.5)


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-10, 10))
def test_barrier_of_a_parabola_is_its_rise_in_the_middle(start, end, bend):
    values = [(1 - a) * start + a * end + bend * a * (1 - a) for a in ALPHAS]
    assert barrier(ALPHAS, values) == pytest.approx(max(0, bend / 4), abs=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=11, max_size=11))
def test_barrier_is_never_negative_and_does_not_depend_on_the_order(values):
    found = barrier(ALPHAS, values)
    assert found >= 0
    assert barrier(ALPHAS[::-1], values[::-1]) == found
    assert barrier(ALPHAS, values[::-1]) == pytest.approx(found)


def test_barrier_with_ends_of_equal_error_is_that_of_frankle():
    values = [0.1, 0.5, 0.3, 0.1]
    assert barrier([0, 0.3, 0.6, 1], values) == pytest.approx(max(values) - 0.1)


def test_barrier_needs_both_ends_and_knows_no_value_for_nan():
    with pytest.raises(ConfigError, match=r"both ends.*0, 0\.5"):
        barrier([0, 0.5], [1, 2])
    with pytest.raises(ConfigError, match=r"values \(1\) as alphas \(2\)"):
        barrier([0, 1], [1])
    assert math.isnan(barrier([0, 0.5, 1], [1, float("nan"), 1]))


def loss_along(one, other, model, loss):
    values = []
    for alpha in ALPHAS:
        model.load_state_dict(interpolate(one, other, alpha))
        with torch.no_grad():
            values.append(float(loss(model)))
    return values


def test_equal_networks_have_no_barrier(small):
    state, _ = networks()
    model = rl.build_model("vgg11", width=0.0625, seed=5)
    losses = loss_along(state, state, model, lambda m: rl.evaluate(m, small)[1])
    assert barrier(ALPHAS, losses) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_model_with_convex_loss_has_no_barrier(seed):
    torch.manual_seed(seed)
    inputs, labels = torch.randn(50, 4).double(), torch.randint(3, (50,))
    model = nn.Linear(4, 3).double()
    one, other = ({"weight": 5 * torch.randn(3, 4).double(), "bias": torch.randn(3).double()}
                  for _ in range(2))
    losses = loss_along(one, other, model, lambda m: cross_entropy(m(inputs), labels))
    assert barrier(ALPHAS, losses) == pytest.approx(0, abs=1e-12)


def test_swapped_units_of_a_network_are_behind_a_barrier():
    """relu(x) - relu(-x) = x; halfway to the same function with its units swapped it is 0."""
    one = {"0.weight": torch.tensor([[1.0], [-1.0]]), "2.weight": torch.tensor([[1.0, -1.0]])}
    other = {"0.weight": one["0.weight"].flip(0), "2.weight": one["2.weight"].flip(1)}
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    x = torch.linspace(-1, 1, 21)[:, None]
    errors = loss_along(one, other, model, lambda m: (m(x) - x).square().mean())
    assert errors[0] == errors[-1] == 0
    assert barrier(ALPHAS, errors) == pytest.approx(float(x.square().mean()))


def test_statistics_are_the_mean_over_batches_of_those_of_each():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    batches = [torch.randn(8, 3, 4, 4) * scale + 1 for scale in (1, 3)]
    reestimate(model, batches)
    norm = model[0]
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches])
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches])
    torch.testing.assert_close(norm.running_mean, means.mean(0))
    torch.testing.assert_close(norm.running_var, variances.mean(0))
    assert norm.momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_statistics_leave_weights_and_modes_alone(small):
    model = rl.build_model("vgg11", width=0.0625, seed=1).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    images = torch.randn(10, 3, 32, 32)
    reestimate(model, [images])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert len(normalisations(model)) == 9  # after 8 convolutions, and in the head
    moved = [norm.running_mean.abs().sum() > 0 for norm in normalisations(model)]
    assert all(moved)


def test_a_network_without_normalisation_is_left_as_it_is():
    model = nn.Linear(2, 2)
    reestimate(model, [torch.ones(2, 2)])
    assert normalisations(model) == []
