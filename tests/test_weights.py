"""What is in the weights: against loops, simulation and numpy; tables of a small study; and that
the figures draw what the tables hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from torch import nn

import rethinklab as rl
from rethinklab.analysis import weights as analysis
from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError

VALUES = st.lists(st.one_of(st.just(0.0), st.floats(-2, 2, width=32)), min_size=1, max_size=60)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@given(VALUES, st.floats(1e-6, 3), st.integers(1, 12))
def test_shares_are_counts_over_all_values(values, limit, half):
    edges = analysis.bin_edges(limit, 2 * half)
    table = analysis.histogram(torch.tensor(values, dtype=torch.float64), edges)
    assert table["share"].sum() == pytest.approx(1)
    last = edges[-1]
    for row in table.itertuples():
        if row.lower == row.upper:
            inside = [v == 0 for v in values]
        else:
            inside = [v != 0 and (row.lower <= v < row.upper or v == last == row.upper)
                      and not (v == last == row.lower) for v in values]
        assert row.share == pytest.approx(sum(inside) / len(values)), (row, values)


@given(st.floats(1e-8, 1e6), st.integers(1, 40))
def test_bins_are_equal_symmetric_and_reach_the_limit(limit, half):
    edges = analysis.bin_edges(limit, 2 * half)
    assert len(edges) == 2 * half + 1
    assert edges == pytest.approx(-edges[::-1])
    assert edges[half] == 0
    assert np.diff(edges) == pytest.approx(edges[-1] / half, rel=1e-4)
    assert limit * (1 - 1e-5) <= edges[-1] <= 1.11 * limit  # two digits round by a tenth at most
    assert analysis.bin_edges(limit, half, symmetric=False)[0] == 0


def test_bins_without_an_edge_at_zero_are_refused():
    with pytest.raises(ConfigError, match="even number, got 3"):
        analysis.bin_edges(1.0, 3)


def test_what_is_not_finite_gives_no_shares():
    for values in ([], [1.0, math.nan], [math.inf, 0.0]):
        table = analysis.histogram(torch.tensor(values), analysis.bin_edges(1, 4))
        assert table["share"].isna().all()
        assert math.isnan(analysis.reach(torch.tensor(values)))


def test_masked_weights_are_not_weights_near_zero():
    weight = torch.tensor([[0.5, 0.0], [0.0, -1.0]])
    mask = torch.tensor([[True, False], [True, True]])
    assert analysis.live_values(weight, mask).tolist() == [0.5, 0.0, -1.0]
    assert analysis.live_values(weight).tolist() == [0.5, 0.0, 0.0, -1.0]


def test_convolution_weights_of_a_state_are_those_of_its_convolutions():
    model = rl.build_model("preresnet20", width=0.25)
    order = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    shuffled = dict(sorted(model.state_dict().items()))
    found = analysis.conv_weights(shuffled, order)
    assert list(found) == order
    assert all(torch.equal(w, model.get_submodule(name).weight) for name, w in found.items())


# --- movement

@given(st.integers(0, 2**31), st.booleans())
def test_movement_is_its_definition_weight_by_weight(seed, masked):
    draws = seeded(seed)
    before = {"one": torch.randn(3, 2, 3, 3, generator=draws),
              "two": torch.randn(2, 3, 1, 1, generator=draws)}
    after = {name: w + torch.randn(w.shape, generator=draws) for name, w in before.items()}
    after["one"][0, 0, 0, 0] = 0.0
    masks = {name: torch.rand(w.shape, generator=draws) < 0.6 for name, w in before.items()}
    table = analysis.movement(before, after, masks if masked else None).set_index("layer")
    pairs = {name: [(a, b) for a, b, kept in zip(
        before[name].flatten().tolist(), after[name].flatten().tolist(),
        masks[name].flatten().tolist(), strict=True) if kept or not masked] for name in before}
    pairs[ALL] = pairs["one"] + pairs["two"]
    assert list(table.index) == ["one", "two", ALL]
    for name, own in pairs.items():
        if not own:
            assert table.loc[name].isna().all()
            continue
        agree = sum((a > 0) == (b > 0) and (a < 0) == (b < 0) for a, b in own) / len(own)
        distance = math.sqrt(sum((b - a) ** 2 for a, b in own) / sum(a * a for a, _ in own))
        assert table.loc[name, "sign_agreement"] == pytest.approx(agree)
        assert table.loc[name, "distance"] == pytest.approx(distance, rel=1e-5)


def test_movement_at_its_ends():
    start = {"conv": torch.randn(4, 2, 3, 3, generator=seeded(1))}
    for factor, signs, distance in ((1, 1, 0), (-1, 0, 2), (3, 1, 2)):
        row = analysis.movement(start, {"conv": start["conv"] * factor}).iloc[0]
        assert row["sign_agreement"] == signs
        assert row["distance"] == pytest.approx(distance)
    zero = analysis.movement({"conv": torch.zeros(2, 2, 1, 1)}, {"conv": torch.ones(2, 2, 1, 1)})
    assert zero["distance"].isna().all()
    diverged = analysis.movement(start, {"conv": start["conv"] * math.nan})
    assert diverged[["sign_agreement", "distance"]].isna().all(axis=None)


def test_only_what_both_have_is_compared():
    one, other = torch.ones(2, 2, 3, 3), torch.ones(2, 1, 3, 3)
    assert list(analysis.movement({"a": one, "b": one}, {"a": other, "b": one, "c": one})[
        "layer"]) == ["b", ALL]
    assert analysis.movement({"a": one}, {"b": one}).empty


# --- overlap

@given(st.integers(1, 40), st.data())
def test_chance_is_the_hypergeometric_mean(size, data):
    first, second = (data.draw(st.integers(0, size)) for _ in range(2))
    chance = analysis.chance_overlap(size, first, second)
    if first + second == 0:
        assert math.isnan(chance)
    else:
        counts = np.arange(min(first, second) + 1)
        shared = (counts * hypergeom.pmf(counts, size, first, second)).sum()
        assert chance == pytest.approx(2 * shared / (first + second))


def test_chance_is_the_mean_over_all_masks_there_are():
    for size, first, second in ((5, 2, 3), (6, 3, 3), (4, 1, 4)):
        found = [2 * len(set(a) & set(b)) / (first + second)
                 for a in itertools.combinations(range(size), first)
                 for b in itertools.combinations(range(size), second)]
        assert analysis.chance_overlap(size, first, second) == pytest.approx(np.mean(found))


def test_random_masks_share_what_chance_gives():
    draws = seeded(0)
    found = [analysis.mask_overlap(*({"a": torch.rand(200, generator=draws) < 0.3,
                                      "b": torch.rand(8, 5, 3, 3, generator=draws) < 0.1}
                                     for _ in range(2))) for _ in range(300)]
    mean = pd.concat(found).groupby("layer").mean()
    assert mean["overlap"].to_numpy() == pytest.approx(mean["chance"].to_numpy(), abs=0.01)
    assert mean.loc["a", "chance"] == pytest.approx(0.3, abs=0.01)  # the density


def test_overlap_at_its_ends():
    mask = torch.tensor([True, False, True, False])
    assert analysis.overlap(mask, mask) == 1
    assert analysis.overlap(mask, ~mask) == 0
    assert analysis.overlap(mask, torch.ones(4, dtype=torch.bool)) == pytest.approx(2 / 3)
    nothing = torch.zeros(4, dtype=torch.bool)
    assert math.isnan(analysis.overlap(nothing, nothing))
    whole = torch.ones(4, dtype=torch.bool)
    table = analysis.mask_overlap({"full": whole, "a": mask}, {"full": whole, "a": mask})
    assert list(table["layer"]) == ["a", ALL]  # a layer that loses nothing says nothing


# --- kernels

@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_kept_positions_are_counted_one_by_one(seed):
    draws = seeded(seed)
    shapes = {"a": (4, 3, 3, 3), "b": (2, 4, 3, 3), "c": (3, 2, 3, 3), "d": (3, 3, 1, 1)}
    masks = {name: torch.rand(shape, generator=draws) < 0.5 for name, shape in shapes.items()}
    sides = {"a": 8, "b": 8, "c": 4, "d": 4}
    table = analysis.kernel_keep(masks, sides).set_index(["stage", "row", "column"])["keep"]
    assert list(dict.fromkeys(table.index.get_level_values("stage"))) == [8, 4]
    for stage, layers in ((8, "ab"), (4, "c")):
        for row, column in itertools.product(range(3), range(3)):
            kernels = [bool(masks[name][o, i, row, column]) for name in layers
                       for o in range(shapes[name][0]) for i in range(shapes[name][1])]
            assert table[stage, row, column] == pytest.approx(sum(kernels) / len(kernels))
