"""The choices and fits made from Gram matrices, against their definitions on the samples."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, lasso_path
from torch.nn.functional import conv2d, unfold

from rethinklab.pruners import gram as algebra

# Whole numbers: sums are exact, so that equal objectives are equal to the bit and ties are met.
whole_samples = st.integers(1, 8).flatmap(lambda channels: st.lists(
    st.lists(st.integers(-4, 4), min_size=channels, max_size=channels), min_size=1, max_size=12))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def objective(samples: np.ndarray, removed) -> float:
    return float((samples[:, list(removed)].sum(1) ** 2).sum())


def greedy_by_definition(samples: np.ndarray, remove: int) -> list[int]:
    taken: list[int] = []
    for _ in range(remove):
        left = [c for c in range(samples.shape[1]) if c not in taken]
        taken.append(min(left, key=lambda c: (objective(samples, [*taken, c]), c)))
    return taken


@given(whole_samples)
def test_greedy_order_is_that_of_the_definition_ties_included(rows):
    samples = np.array(rows, dtype=float)
    table = torch.from_numpy(samples.T @ samples)
    for remove in range(samples.shape[1] + 1):
        assert algebra.greedy_removal(table, remove) == greedy_by_definition(samples, remove)


@settings(max_examples=40)
@given(st.integers(2, 10), st.integers(0, 1000), st.data())
def test_greedy_is_never_better_than_the_best_subset_and_equal_for_one(channels, seed, data):
    remove = data.draw(st.integers(1, channels - 1))
    samples = drawn(30, channels, seed=seed).numpy()
    order = algebra.greedy_removal(torch.from_numpy(samples.T @ samples), remove)
    best = min(objective(samples, chosen) for chosen in combinations(range(channels), remove))
    assert objective(samples, order) >= best * (1 - 1e-12)
    first = min(objective(samples, [c]) for c in range(channels))
    assert objective(samples, order[:1]) == first


def test_greedy_leaves_the_gram_matrix_alone_and_takes_silent_channels_first():
    samples = drawn(20, 6)
    samples[:, [1, 4]] = 0
    table = samples.T @ samples
    before = table.clone()
    assert algebra.greedy_removal(table, 2) == [1, 4]
    assert algebra.greedy_removal(table, 0) == []
    assert torch.equal(table, before)


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 1000), st.data())
def test_scales_are_numpys_least_squares_on_the_samples(channels, seed, data):
    keep = data.draw(st.lists(st.integers(0, channels - 1), min_size=1, unique=True).map(sorted))
    samples = drawn(40, channels, seed=seed) * torch.logspace(-3, 3, channels)
    wanted = samples.sum(1)
    table = samples.T @ samples
    found = algebra.least_squares_scales(table, table.sum(1), keep)
    expected = np.linalg.lstsq(samples[:, keep].numpy(), wanted.numpy())[0]
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


def test_scales_of_dependent_and_silent_channels_fit_as_well_and_stay_finite():
    samples = drawn(50, 8)
    samples[:, 3] = samples[:, 1]
    samples[:, 5] = samples[:, 0] - 2 * samples[:, 1]
    samples[:, 6] = 0
    wanted = samples.sum(1) + samples[:, 7] ** 2
    keep = [0, 1, 3, 5, 6]
    scales = algebra.least_squares_scales(samples.T @ samples, samples.T @ wanted, keep)
    residual = wanted - samples[:, keep] @ scales
    by_numpy = np.linalg.lstsq(samples[:, keep].numpy(), wanted.numpy())[0]
    expected = wanted - samples[:, keep] @ torch.from_numpy(by_numpy)
    assert float(residual.square().sum()) == pytest.approx(float(expected.square().sum()), rel=1e-9)
    assert float(scales[4]) == 0
    assert float(scales[1]) == pytest.approx(float(scales[2])), "equal channels share the work"


@pytest.mark.parametrize("keep", [[0], [0, 1, 2]])
def test_all_channels_kept_are_scaled_by_one(keep):
    samples = drawn(30, len(keep))
    table = samples.T @ samples
    scales = algebra.least_squares_scales(table, table.sum(1), keep)
    assert torch.allclose(scales, torch.ones(len(keep), dtype=torch.float64))


@pytest.mark.parametrize("bias", [False, True])
def test_weights_are_numpys_least_squares_with_and_without_bias(bias):
    patches = drawn(200, 18) * torch.logspace(-2, 2, 18) + bias
    outputs = drawn(200, 5, seed=1) + patches[:, :5]
    if bias:
        patches = torch.cat([patches, torch.ones(200, 1)], 1)
    found = algebra.least_squares_weights(patches.T @ patches, patches.T @ outputs)
    expected = np.linalg.lstsq(patches.numpy(), outputs.numpy())[0]
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-8)
    start = drawn(*found.shape, seed=2)
    again = algebra.least_squares_weights(patches.T @ patches, patches.T @ outputs, start)
    assert np.allclose(again, expected, rtol=1e-5, atol=1e-8), "samples determine all weights"


@pytest.mark.parametrize("samples", [1, 7, 30])
def test_too_few_samples_are_met_exactly_and_other_weights_stay(samples):
    patches, start = drawn(samples, 40), drawn(40, 3, seed=1)
    patches[:, 4] = 0
    outputs = drawn(samples, 3, seed=2)
    found = algebra.least_squares_weights(patches.T @ patches, patches.T @ outputs, start)
    assert torch.allclose(patches @ found, outputs, atol=1e-6)
    assert torch.equal(found[4], start[4]), "a feature that no sample shows keeps its weights"
    same = algebra.least_squares_weights(patches.T @ patches, patches.T @ (patches @ start), start)
    assert torch.allclose(same, start, atol=1e-10), "weights that fit already stay"


@settings(max_examples=30)
@given(st.integers(1, 6), st.sampled_from([1, 4, 9]), st.integers(1, 5), st.integers(0, 1000))
def test_block_gram_is_that_of_the_channels_outputs_written_out(channels, taps, outputs, seed):
    patches, weight = drawn(15, channels, taps, seed=seed), drawn(outputs, channels, taps, seed=1)
    target = drawn(15, outputs, seed=2)
    parts = torch.stack([(patches[:, c] @ weight[:, c].T).flatten() for c in range(channels)], 1)
    flat = patches.flatten(1)
    assert torch.allclose(algebra.block_gram(flat.T @ flat, weight), parts.T @ parts)
    assert torch.allclose(algebra.block_cross(flat.T @ target, weight), parts.T @ target.flatten())


def lasso_problem(channels: int, seed: int = 0, samples: int = 120):
    """Correlated channels of unequal energy, of which some matter."""
    parts = drawn(samples, channels, seed=seed) @ drawn(channels, channels, seed=seed + 1)
    parts *= torch.linspace(0.2, 2, channels, dtype=torch.float64)
    truth = drawn(channels, seed=seed + 2) * (torch.arange(channels) % 2)
    return parts, parts @ truth + drawn(samples, seed=seed + 3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keep", [1, 3, 7, 11])
def test_lasso_support_is_that_of_coordinate_descent_at_the_same_lambda(keep, seed):
    parts, wanted = lasso_problem(12, seed)
    table, cross = parts.T @ parts, parts.T @ wanted
    strength, beta = algebra.lasso_point(table, cross, len(parts), keep)
    model = Lasso(alpha=strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
    model.fit(parts.numpy(), wanted.numpy())
    assert np.allclose(model.coef_, beta, atol=1e-6)
    chosen = algebra.lasso_selection(table, cross, len(parts), keep)
    assert len(chosen) == keep
    assert chosen == sorted(set(chosen))
    assert set(np.flatnonzero(np.abs(model.coef_) > 1e-6)) <= set(chosen)


def test_lasso_support_agrees_along_the_path_of_another_solver():
    parts, wanted = lasso_problem(10)
    table, cross = parts.T @ parts, parts.T @ wanted
    points = [algebra.lasso_point(table, cross, len(parts), keep) for keep in range(1, 10)]
    strengths = np.array([strength for strength, _ in points])
    assert (np.diff(strengths) <= 0).all(), "more channels, less shrinkage"
    _, path, _ = lasso_path(parts.numpy(), wanted.numpy(), alphas=np.unique(strengths)[::-1],
                            tol=1e-14, max_iter=1_000_000)
    for column, strength in enumerate(np.unique(strengths)[::-1]):
        beta = next(beta for value, beta in points if value == strength)
        assert np.allclose(path[:, column], beta, atol=1e-6)


def test_lambda_is_the_least_that_keeps_the_number():
    parts, wanted = lasso_problem(12, 1)
    table, cross = parts.T @ parts, parts.T @ wanted
    strength, beta = algebra.lasso_point(table, cross, len(parts), 5)
    assert np.count_nonzero(beta) <= 5
    below = Lasso(alpha=strength * 0.999, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
    below.fit(parts.numpy(), wanted.numpy())
    assert np.count_nonzero(np.abs(below.coef_) > 1e-9) > 5


@pytest.mark.parametrize("keep", range(1, 9))
def test_lasso_fills_up_where_channels_are_silent_equal_or_useless(keep):
    parts, wanted = lasso_problem(8)
    parts[:, [0, 5]] = 0
    parts[:, 3] = parts[:, 2]
    table, cross = parts.T @ parts, parts.T @ wanted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = algebra.lasso_selection(table, cross, len(parts), keep)
    assert len(set(chosen)) == keep
    assert chosen == sorted(chosen)
    assert chosen == algebra.lasso_selection(table.clone(), cross.clone(), len(parts), keep)
    if keep <= 6:
        assert not {0, 5} & set(chosen), "channels without energy come last"
    nothing = torch.zeros_like
    assert algebra.lasso_selection(nothing(table), nothing(cross), 5, keep) == list(range(keep))

def dependent_problem(draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Few or many samples of channels, of which some are silent, equal, opposite, multiples, sums
    or means of others, or equal but for the rounding of single precision."""
    samples, channels = draws.integers(2, 25), draws.integers(2, 9)
    parts = draws.standard_normal((samples, channels)) * draws.uniform(0.05, 2, channels)
    if draws.random() < 0.3:
        parts = np.maximum(parts, 0)  # as after a ReLU
    if draws.random() < 0.2:
        parts = np.round(2 * parts)  # ties
    for _ in range(draws.integers(0, channels)):
        to, one, two = draws.integers(0, channels, 3)
        parts[:, to] = [0 * parts[:, one], parts[:, one], -parts[:, one], 3 * parts[:, one],
                        parts[:, one] + parts[:, two], (parts[:, one] + parts[:, two]) / 2,
                        parts[:, one] - parts[:, two],
                        parts[:, one].astype(np.float32)][draws.integers(0, 8)]
    wanted = (parts.sum(1), draws.standard_normal(samples),
              parts @ draws.standard_normal(channels) + draws.standard_normal(samples))
    return parts, wanted[draws.integers(0, 3)]


def violation(parts, wanted, strength, beta) -> float:
    """How far beta is from solving the LASSO, as a share of the largest product with the output:
    the subgradient of 1/(2 m) ||y - Z beta||^2 + lambda ||beta||_1 must hold zero."""
    products = parts.T @ (wanted - parts @ beta)
    pull = len(parts) * strength
    off = np.where(beta > 0, abs(products - pull), np.where(beta < 0, abs(products + pull),
                                                            np.maximum(abs(products) - pull, 0)))
    return off.max() / max(abs(parts.T @ wanted).max(), 1e-300)


def test_lasso_is_optimal_on_2000_problems_with_dependent_channels():
    draws, short = np.random.default_rng(0), 0
    for _ in range(2000):
        parts, wanted = dependent_problem(draws)
        keep = int(draws.integers(1, parts.shape[1] + 1))
        table, cross = torch.from_numpy(parts.T @ parts), torch.from_numpy(parts.T @ wanted)
        strength, beta = algebra.lasso_point(table, cross, len(parts), keep)
        assert np.count_nonzero(beta) <= keep
        assert violation(parts, wanted, strength, beta) <= 1e-6
        short += not beta.any() and bool(cross.any())
    assert short <= 1, "only where channels enter together may a path end where it begins"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep", [2, 5, 8])
def test_copies_of_channels_change_neither_lambda_nor_what_is_used(keep, seed):
    parts, wanted = lasso_problem(9, seed)
    more = torch.cat([parts, parts[:, [4, 0]], -parts[:, [7]], 0 * parts[:, [1]],
                      parts[:, [2, 3]].mean(1, keepdim=True)], 1)
    alone = algebra.lasso_point(parts.T @ parts, parts.T @ wanted, len(parts), keep)
    strength, beta = algebra.lasso_point(more.T @ more, more.T @ wanted, len(parts), keep)
    assert np.count_nonzero(beta) <= keep
    assert not beta[12]
    for one, other in ((4, 9), (0, 10), (7, 11)):
        assert not (beta[one] and beta[other]), "of equal channels one"
    if beta[13] == 0:  # the mean may stand for the two that it is of
        beta[[4, 0, 7]] += beta[[9, 10, 11]] * [1, 1, -1]
        assert strength == pytest.approx(alone[0])
        assert np.allclose(beta[:9], alone[1])


def test_channels_alike_to_half_the_digits_end_the_path_where_it_is_still_exact():
    one, off = np.random.default_rng(2).standard_normal((2, 16))
    parts = torch.from_numpy(np.stack([one, one + 2e-6 * off], 1))
    wanted = torch.from_numpy(0.1 * one + off)
    table, cross = parts.T @ parts, parts.T @ wanted
    strength, beta = algebra.lasso_point(table, cross, 16, 2)
    assert violation(parts.numpy(), wanted.numpy(), strength, beta) <= 1e-6
    assert np.count_nonzero(beta) < 2
    assert algebra.lasso_selection(table, cross, 16, 1) in ([0], [1])


def test_lasso_finds_the_channels_that_make_the_output():
    parts = drawn(300, 20)
    wanted = parts[:, [2, 7, 11]].sum(1)
    table, cross = parts.T @ parts, parts.T @ wanted
    assert algebra.lasso_selection(table, cross, 300, 3) == [2, 7, 11]


GEOMETRIES = [((1, 1), (1, 1), (0, 0), (1, 1)), ((3, 3), (1, 1), (1, 1), (1, 1)),
              ((3, 3), (2, 2), (1, 1), (1, 1)), ((3, 2), (2, 1), (2, 1), (1, 2)),
              ((5, 3), (1, 3), (0, 4), (2, 1))]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("count", [1, 4, 1000])
def test_patches_are_those_of_unfold(geometry, count):
    kernel, stride, padding, dilation = geometry
    x = drawn(3, 4, 11, 13).float()
    draws = torch.Generator().manual_seed(5)
    patches, places = algebra.sample_patches(x, kernel, stride, padding, dilation, count, draws)
    height, width = algebra.output_size(x.shape[2:], kernel, stride, padding, dilation)
    assert conv2d(x, drawn(2, 4, *kernel).float(), None, stride, padding, dilation).shape[2:] \
        == (height, width)
    columns = unfold(x, kernel, dilation, padding, stride).view(3, 4, -1, height * width)
    image, row, column = places.unbind(1)
    assert patches.dtype == torch.float64
    assert torch.equal(patches.float(), columns[image, :, :, row * width + column])
    assert torch.equal(image, torch.arange(3).repeat_interleave(count))
    for number in range(3):
        seen = {tuple(place) for place in places[image == number].tolist()}
        assert len(seen) == min(count, height * width)


def test_patches_depend_on_the_generator_only():
    x = drawn(2, 3, 8, 8)
    def sampled(seed):
        draws = torch.Generator().manual_seed(seed)
        return algebra.sample_patches(x, (3, 3), (1, 1), (1, 1), (1, 1), 6, draws)

    assert torch.equal(sampled(1)[1], sampled(1)[1])
    assert not torch.equal(sampled(1)[1], sampled(2)[1])


def test_contributions_add_up_to_the_output():
    x, weight = drawn(2, 3, 6, 6), drawn(5, 3, 3, 3, seed=1)
    draws = torch.Generator().manual_seed(0)
    patches, places = algebra.sample_patches(x, (3, 3), (1, 1), (1, 1), (1, 1), 7, draws)
    channels = torch.randint(0, 5, (14,), generator=draws)
    parts = algebra.contributions(patches, weight.flatten(2), channels)
    image, row, column = places.unbind(1)
    outputs = conv2d(x, weight, padding=1)
    assert torch.allclose(parts.sum(1), outputs[image, channels, row, column])
    alone = conv2d(x[:, 1:2], weight[:, 1:2], padding=1)
    assert torch.allclose(parts[:, 1], alone[image, channels, row, column])
