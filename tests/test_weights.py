"""What is in the weights: against loops, simulation and numpy; tables of a small study; and that
the figures draw what the tables hold."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from figure_cases_weights import CASES
from figure_checks import problems
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import StepPatch
from scipy.stats import hypergeom
from small_studies import run, small_study, write_task
from torch import nn

import rethinklab as rl
from rethinklab.analysis import weights as analysis
from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError, Missing
from rethinklab.figures.histograms import weight_layers, weights
from rethinklab.figures.kernels import kernels
from rethinklab.figures.movement import movement
from rethinklab.figures.overlap import overlap
from rethinklab.figures.scales import scales
from rethinklab.results.stored import StoredStudy
from rethinklab.results.weights import (
    gather_kernels,
    gather_movement,
    gather_overlap,
    gather_scales,
    gather_weights,
)
from rethinklab.trainers.regimes import regime_title

DRAW = {"weights": weights, "weight_layers": weight_layers, "scales": scales,
        "movement": movement, "overlap": overlap, "kernels": kernels}
VALUES = st.lists(st.one_of(st.just(0.0), st.floats(-2, 2, width=32)), min_size=1, max_size=60)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# --- histograms

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


# --- tables of studies

@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    images, store = write_task(root / "images"), rl.Store(root / "store")
    regimes = ["finetune", "scratch-e"]
    for chosen in ({"method": "weight-level", "target": 0.7}, {"method": "l1"},
                      {"method": "slimming", "target": 0.3, "method_options": {"strength": 0.01}}):
        run(small_study(images, regimes=regimes, **chosen), store)
    run(small_study(images, method="l1", target=0.4, seeds=1, regimes=["finetune"]), store)
    return [StoredStudy.named(name, store) for name in store.studies()]


def study(stored, method, seeds=2):
    return next(s for s in stored
                if s.study.method == method and len(s.study.seed_numbers) == seeds)


def test_weight_tables_are_means_of_histograms_of_live_weights(stored):
    pruned = study(stored, "weight-level")
    table = gather_weights(pruned)
    sums = table.groupby(["network", "layer"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    assert set(table["network"]) == {"unpruned", "finetune", "scratch-e"}
    layers = [name for name, m in pruned.network("unpruned", 0).named_modules()
              if isinstance(m, nn.Conv2d)]
    places = table.drop_duplicates("layer").set_index("layer")["place"]
    assert places.to_dict() == {ALL: 0, **{name: i for i, name in enumerate(layers, 1)}}
    bins = table[(table["network"] == "finetune") & (table["layer"] == layers[2])]
    expected = []
    for seed in (0, 1):
        weight = pruned.network("finetune", seed).get_submodule(layers[2]).weight.detach()
        live = weight[pruned.plan(seed).masks[f"{layers[2]}.weight"]].numpy()
        expected.append([((live >= row.lower) & (live < row.upper) & (live != 0)).mean()
                         for row in bins.itertuples()])
    assert bins["share"].to_numpy()[:-1] == pytest.approx(np.mean(expected, axis=0)[:-1], abs=1e-6)
    whole = table[table["layer"] == ALL].drop_duplicates("network").set_index("network")["live"]
    assert whole["unpruned"] == 1
    assert whole["finetune"] == whole["scratch-e"] == pytest.approx(0.3, abs=1e-3)


def test_no_live_weight_is_below_the_threshold_right_after_pruning(stored):
    pruned = study(stored, "weight-level")
    large = torch.cat([w.flatten().abs() for w in
                       analysis.conv_weights(pruned.state("unpruned", 0)).values()])
    threshold = float(large.sort().values[int(len(large) * 0.7)])
    begun = analysis.conv_weights(pruned.beginning("finetune", 0).state_dict())
    masks = analysis.conv_weights(pruned.plan(0).masks)
    live = torch.cat([analysis.live_values(w, masks[name]) for name, w in begun.items()])
    table = analysis.histogram(live, np.array([-threshold, 0.0, threshold]))
    inside = table[np.isfinite(table["lower"]) & np.isfinite(table["upper"])]
    assert inside["share"].sum() == 0
    assert table["share"].sum() == pytest.approx(1)


def test_scales_are_those_before_and_after_sparsity_training(stored):
    slimmed = study(stored, "slimming")
    table = gather_scales(slimmed)
    assert set(table["network"]) == {"unpruned", "pruned_from"}
    assert table.groupby(["network", "layer"])["share"].sum().to_numpy() == pytest.approx(1)
    first = next(name for name, module in slimmed.pruned_from(0).named_modules()
                 if isinstance(module, nn.BatchNorm2d))
    bins = table[(table["network"] == "pruned_from") & (table["layer"] == first)]
    sizes = [slimmed.pruned_from(seed).get_submodule(first).weight.detach().abs().numpy()
             for seed in (0, 1)]
    for row in bins[(bins["upper"] > bins["lower"]) & (bins["upper"] != np.inf)].itertuples():
        share = np.mean([((s >= row.lower) & (s < row.upper)).mean() for s in sizes])
        assert row.share == pytest.approx(share, abs=1e-6)
    assert (table.loc[np.isinf(table["upper"]), "share"] == 0).all()  # the bins reach all
    with pytest.raises(Missing, match="--method slimming"):
        gather_scales(study(stored, "l1"))


def test_movement_is_from_where_each_training_began(stored):
    pruned = study(stored, "l1")
    table = gather_movement(pruned).set_index(["regime", "layer", "seed"])
    plan, large = pruned.plan(1), pruned.network("unpruned", 1)
    inherited, tuned = plan.apply(large), pruned.network("finetune", 1)
    layer = list(plan.keep)[1]
    before, after = (m.get_submodule(layer).weight.detach() for m in (inherited, tuned))
    row = table.loc["finetune", layer, 1]
    assert row["distance"] == pytest.approx(float((after - before).norm() / before.norm()))
    assert row["sign_agreement"] == pytest.approx(
        float((after.sign() == before.sign()).float().mean()))
    fresh = rl.build_model("vgg11", num_classes=3, width=0.0625, seed=1)
    moved = large.get_submodule(layer).weight.detach() - fresh.get_submodule(layer).weight.detach()
    assert table.loc["unpruned", layer, 1]["distance"] == pytest.approx(
        float(moved.norm() / fresh.get_submodule(layer).weight.detach().norm()))
    assert len(table) == 3 * 2 * table.index.get_level_values("layer").nunique()


def test_overlap_of_channels_and_of_weights(stored):
    table = gather_overlap(study(stored, "l1"))
    assert set(table["unit"]) == {"channels"}
    plans = [study(stored, "l1").plan(seed) for seed in (0, 1)]
    rows = table.set_index("layer")
    for layer, kept in plans[0].keep.items():
        size, other = plans[0].widths[layer], plans[1].keep[layer]
        assert rows.loc[layer, "overlap"] == pytest.approx(
            2 * len(set(kept) & set(other)) / (len(kept) + len(other)))
        assert rows.loc[layer, "chance"] == pytest.approx(len(kept) / size)  # both keep as many
    by_weight = gather_overlap(study(stored, "weight-level"))
    assert set(by_weight["unit"]) == {"weights"}
    assert set(by_weight["pair"]) == {"0 and 1"}
    with pytest.raises(Missing, match="--seeds 2"):
        gather_overlap(study(stored, "l1", seeds=1))


def test_kernel_tables_average_kernels_and_seeds(stored):
    pruned = study(stored, "weight-level")
    table = gather_kernels(pruned)
    sides, side = {}, pruned.plan(0).input_shape[1]
    for name, module in pruned.network("unpruned", 0).named_modules():  # VGG: pooling halves it
        side = side // 2 if isinstance(module, nn.MaxPool2d) else side
        if isinstance(module, nn.Conv2d):
            sides[name] = side
    for row in table.itertuples():
        seeds = [torch.cat([pruned.plan(seed).masks[f"{name}.weight"][..., row.row, row.column]
                            .flatten() for name, own in sides.items() if own == row.stage])
                 for seed in (0, 1)]
        assert row.keep == pytest.approx(np.mean([kept.float().mean() for kept in seeds]))
    assert set(table["stage"]) == set(sides.values())
    with pytest.raises(Missing, match="weight-level"):
        gather_kernels(study(stored, "l1"))


def test_tables_come_back_from_csv_and_are_drawn(stored, tmp_path):
    pruned = study(stored, "weight-level")
    for gather, draw in ((gather_weights, weights), (gather_weights, weight_layers),
                         (gather_movement, movement), (gather_overlap, overlap),
                         (gather_kernels, kernels)):
        table, kind = gather(pruned), gather.__name__.removeprefix("gather_")
        rl.Results.of(pruned).save(tmp_path / kind, [kind])
        back = rl.load_results(tmp_path / kind).table(kind)
        pd.testing.assert_frame_equal(table.drop(columns="label", errors="ignore"), back,
                                      rtol=1e-5, check_dtype=False)
        figure = draw(back)
        assert figure.note == pruned.label
        assert not problems(figure)


def test_tables_of_many_layers_stay_small():
    from rethinklab.results import weights as gathered

    values = {f"layer{n}.conv": torch.randn(20, generator=seeded(n)) for n in range(110)}

    def networks():
        for network in ("unpruned", "finetune", "scratch-e", "scratch-b"):
            yield network, 0, values, values

    table = gathered._histograms(networks, 4)
    assert len(table.to_csv(index=False, float_format="%.6g")) < 190_000
    chosen = [name for name in dict.fromkeys(table["layer"]) if name != ALL]
    assert (chosen[0], chosen[-1], len(chosen)) == ("layer0.conv", "layer109.conv", 19)
    assert table.loc[table["layer"] == "layer109.conv", "place"].eq(110).all()


# --- figures

@pytest.mark.parametrize(("name", "case"), [(n, c) for n, cases in CASES.items() for c in cases])
def test_captions_are_sentences_even_where_numbers_are_unknown(name, case):
    caption = DRAW[name](CASES[name][case]()).caption
    assert caption.endswith(".")
    assert not {"nan", "inf"} & set(re.split(r"\W+", caption))


@pytest.mark.parametrize("name", CASES)
def test_a_table_without_its_columns_or_rows_is_refused(name):
    frame = CASES[name]["usual"]()
    column = {"movement": "distance", "overlap": "chance", "kernels": "keep"}.get(name, "share")
    with pytest.raises(ConfigError, match=column):
        DRAW[name](frame.drop(columns=column))
    with pytest.raises(ConfigError, match="rethinklab record"):
        DRAW[name](frame.iloc[:0])
    if name in ("weight_layers", "movement", "overlap"):
        with pytest.raises(ConfigError, match="single layers"):
            DRAW[name](frame[frame["layer"] == ALL])
    if name == "weights":
        with pytest.raises(ConfigError, match="'all'"):
            weights(frame[frame["layer"] != ALL])


def steps(axes):
    """The histograms in a panel as (edges, shares)."""
    return [(patch.get_data().edges, patch.get_data().values) for patch in axes.patches
            if isinstance(patch, StepPatch)]


def inner(rows):
    rows = rows[np.isfinite(rows["lower"]) & np.isfinite(rows["upper"])
                & (rows["upper"] > rows["lower"])].sort_values("lower")
    return [*rows["lower"], rows["upper"].iloc[-1]], (rows["share"] * 100).tolist()


def test_weights_draws_the_shares_of_the_whole_network():
    frame = CASES["weights"]["zeros"]()
    figure = weights(frame)
    panels = {axes.get_title().split("\n")[0]: axes for axes in figure.axes}
    for network, rows in frame[frame["layer"] == ALL].groupby("network"):
        axes = panels[regime_title(network)]
        ((edges, shares),) = steps(axes)
        assert edges == pytest.approx(inner(rows)[0])
        assert shares == pytest.approx(inner(rows)[1])
        exact = rows.loc[rows["lower"] == rows["upper"], "share"].iloc[0] * 100
        assert axes.lines[0].get_ydata()[-1] == pytest.approx(exact)
        assert ("20 % live" in axes.get_title()) == (network != "unpruned")
    assert "exactly zero" in "".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_layers_are_drawn_each_in_its_panel():
    frame = CASES["weight_layers"]["usual"]()
    for axes in weight_layers(frame).axes[:13]:
        rows = frame[frame["layer"] == axes.get_title()]
        drawn = steps(axes)
        for (edges, shares), (_, own) in zip(drawn, rows.groupby("network", sort=False),
                                             strict=True):
            assert (edges, shares) == (pytest.approx(inner(own)[0]), pytest.approx(inner(own)[1]))
    many = weight_layers(CASES["weight_layers"]["110 layers"]())
    assert many.numbers["layer"].nunique() == 20
    assert "20 of 110 layers" in many.caption


def test_a_spike_makes_the_axis_logarithmic_and_hides_no_bin():
    usual, spiky = (weights(CASES["weights"][case]()) for case in ("usual", "spike"))
    assert usual.axes[0].get_yscale() == "linear"
    assert spiky.axes[0].get_yscale() == "log"
    low = spiky.axes[0].get_ylim()[0]
    known = spiky.numbers[np.isfinite(spiky.numbers["lower"] + spiky.numbers["upper"])]
    assert low <= max(1e-3, known.loc[known["share"] > 0, "share"].min())


def test_a_network_that_is_not_finite_is_no_empty_histogram():
    figure = weights(CASES["weights"]["all NaN"]())
    assert [t.get_text() for t in figure.axes[0].texts] == ["not finite"]
    assert not steps(figure.axes[0])


def test_scales_draws_both_networks():
    frame = CASES["scales"]["usual"]()
    figure = scales(frame)
    for axes in figure.axes[:14]:
        layer = ALL if axes.get_title() == "all layers" else axes.get_title()
        rows = frame[frame["layer"] == layer]
        for (edges, shares), network in zip(steps(axes), ("unpruned", "pruned_from"), strict=True):
            own = inner(rows[rows["network"] == network])
            assert (edges, shares) == (pytest.approx(own[0]), pytest.approx(own[1]))


def test_movement_draws_means_and_seeds():
    frame = CASES["movement"]["NaN"]()
    figure = movement(frame)
    for axes, value, factor in zip(figure.axes, ("sign_agreement", "distance"), (100, 1),
                                   strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for regime, own in frame[frame["layer"] != ALL].groupby("regime"):
            means = own.groupby("place")[value].agg(lambda v: v.mean(skipna=False)) * factor
            drawn = lines[regime_title(regime)].get_ydata()
            assert np.asarray(drawn, float) == pytest.approx(means.to_numpy(), nan_ok=True)
        dots = np.concatenate([c.get_offsets()[:, 1].compressed() for c in axes.collections])
        given_ = frame.loc[frame["layer"] != ALL, value].dropna() * factor
        assert sorted(dots) == pytest.approx(sorted(given_))


def test_overlap_draws_means_chance_and_pairs():
    frame = CASES["overlap"]["usual"]()
    figure = overlap(frame)
    axes = figure.axes[0]
    single = frame[frame["layer"] != ALL]
    means = single.groupby("place")[["overlap", "chance"]].mean() * 100
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert np.asarray(lines["kept by both seeds"]) == pytest.approx(means["overlap"].to_numpy())
    assert np.asarray(lines["expected by chance"]) == pytest.approx(means["chance"].to_numpy())
    dots = sorted(axes.collections[0].get_offsets()[:, 1].tolist())
    assert dots == pytest.approx(sorted(single["overlap"] * 100))
    assert f"{frame.loc[frame['layer'] == ALL, 'overlap'].mean():.1%}"[:-1] in figure.caption


def test_kernels_prints_every_number_on_one_scale():
    frame = CASES["kernels"]["NaN"]()
    figure = kernels(frame)
    panels = [axes for axes in figure.axes if axes.images]
    assert len({(image.norm.vmin, image.norm.vmax) for axes in panels
                for image in axes.images}) == 1
    for axes, (_, own) in zip(panels, frame.groupby("stage", sort=False), strict=True):
        picture = axes.images[0].get_array()
        assert np.ma.filled(picture, np.nan).flatten() == pytest.approx(
            (own["keep"] * 100).to_numpy(), nan_ok=True)
        printed = [text.get_text() for text in axes.texts]
        assert printed == ["–" if math.isnan(v) else f"{100 * v:.0f}" for v in own["keep"]]
