"""Tables of weights, gathered from stored studies, against the stored networks themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from figure_checks import problems
from small_studies import run, small_study, write_task
from torch import nn

import rethinklab as rl
from rethinklab.analysis import weights as analysis
from rethinklab.analysis.weights import ALL
from rethinklab.errors import Missing
from rethinklab.figures.histograms import weight_layers, weights
from rethinklab.figures.kernels import kernels
from rethinklab.figures.movement import movement
from rethinklab.figures.overlap import overlap
from rethinklab.results.stored import StoredStudy
from rethinklab.results.weights import (
    gather_kernels,
    gather_movement,
    gather_overlap,
    gather_scales,
    gather_weights,
)


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

    draws = torch.Generator().manual_seed(0)
    values = {f"layer{n}.conv": torch.randn(20, generator=draws) for n in range(110)}

    def networks():
        for network in ("unpruned", "finetune", "scratch-e", "scratch-b"):
            yield network, 0, values, values

    table = gathered._histograms(networks, 4)
    assert len(table.to_csv(index=False, float_format="%.6g")) < 190_000
    chosen = [name for name in dict.fromkeys(table["layer"]) if name != ALL]
    assert (chosen[0], chosen[-1], len(chosen)) == ("layer0.conv", "layer109.conv", 19)
    assert table.loc[table["layer"] == "layer109.conv", "place"].eq(110).all()
