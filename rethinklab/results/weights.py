"""What the weights of stored networks look like, how far they moved, and what two seeds keep."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from rethinklab.analysis.thin import thin
from rethinklab.analysis.weights import (
    ALL,
    bin_edges,
    conv_weights,
    histogram,
    kernel_keep,
    live_values,
    mask_overlap,
    movement,
    pooled,
    reach,
)
from rethinklab.errors import Missing
from rethinklab.pruners.cutting.layers import in_width
from rethinklab.pruners.cutting.masks import of_whole_filters
from rethinklab.pruners.slimming import SparsityPenalty
from rethinklab.pruners.sss import SparseScales
from rethinklab.pruners.stages import layer_sides
from rethinklab.results.files import labelled
from rethinklab.results.stored import StoredStudy
from rethinklab.trainers.regimes import UNPRUNED, prunes

BINS, LAYER_BINS = 60, 40  # of the whole network and of one layer
MOST_LAYERS, HISTOGRAMS = 19, 76  # with a histogram, of one network and of all in a table
ROOM = 1.05  # beyond the largest magnitude
LAYERS = 24  # in a table with a few numbers a layer
SEEDS = 5  # that are compared pair by pair
PRUNED_FROM = "pruned_from"

Values = Mapping[str, Tensor]  # by layer, flat: those that live
Walk = Callable[[], Iterator[tuple[str, int, Values, Values]]]


def gather_weights(stored: StoredStudy) -> pd.DataFrame:
    """Histograms of convolution weights of each regime's networks, mean over seeds: network (the
    regime), layer ("all" is the whole network), place (of the layer from 1; 0 for "all"), lower,
    upper, share (of the weights that live), live (share of the layer's weights that no mask holds
    at zero).

    A layer has one set of bins for all networks, symmetric about zero, which reaches 99 % of the
    weights of each; beside the bins stand what lies beyond them (lower or upper infinite) and
    what is exactly zero without a mask (lower = upper = 0). Of deep networks some layers, spread
    evenly.
    """
    order = _conv_names(_large(stored))

    def networks() -> Iterator[tuple[str, int, Values, Values]]:
        for regime in stored.regimes:
            for seed in stored.seeds(regime):
                masks = _masks(stored, seed) if prunes(regime) else {}
                weights = conv_weights(stored.state(regime, seed), order)
                yield regime, seed, {layer: live_values(weight, masks.get(layer))
                                     for layer, weight in weights.items()}, weights

    table = _histograms(networks, len(stored.regimes))
    if table.empty:
        raise Missing(f"the networks of {stored.name} have no convolution, whose weights this "
                      "table is of.")
    return labelled(table, stored.label)


def gather_scales(stored: StoredStudy) -> pd.DataFrame:
    """Histograms of the magnitudes of the scales of batch normalisations before and after the
    training in which the method acts on them, mean over seeds: network ("unpruned" or
    "pruned_from"), layer, place, lower, upper, share, as in `gather_weights`, but that the bins
    reach from 0 to beyond the largest."""
    if not _acts_on_scales(stored):
        raise Missing(f"the method of {stored.name} does not act on the scales of batch "
                      "normalisation; run a study with one that does, such as `rethinklab run "
                      "--method slimming`.")
    seeds = sorted(set(stored.seeds(UNPRUNED)) & set(stored.planned_seeds))
    if not seeds:
        raise Missing(f"{stored.name} has no seed with both its unpruned network and its plan; "
                      "run the study again, and it goes on.")

    def networks() -> Iterator[tuple[str, int, Values, Values]]:
        for seed in seeds:
            for network, model in ((UNPRUNED, stored.network(UNPRUNED, seed)),
                                   (PRUNED_FROM, stored.pruned_from(seed))):
                scales = {name: module.weight.detach().abs() for name, module
                          in model.named_modules()
                          if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine}
                yield network, seed, scales, scales

    table = _histograms(networks, 2, magnitudes=True)
    if table.empty:
        raise Missing(f"the network of {stored.name} has no batch normalisation with scales.")
    return labelled(table.drop(columns="live"), stored.label)


def gather_movement(stored: StoredStudy) -> pd.DataFrame:
    """How far each training moved the convolution weights from where it began: regime, layer
    ("all" is the whole network), place (from 1; 0 for "all"), seed, sign_agreement, distance
    (see `analysis.weights.movement`).

    A fine-tuned network begins with inherited weights, one from scratch with new ones. Weights
    that a mask holds at zero are not looked at. Of deep networks some layers, spread evenly.
    """
    order, parts = _conv_names(_large(stored)), []
    for regime in stored.regimes:
        if regime == "pruned":  # nothing is trained
            continue
        for seed in stored.seeds(regime):
            before = conv_weights(stored.beginning(regime, seed).state_dict(), order)
            after = conv_weights(stored.state(regime, seed))
            masks = _masks(stored, seed) if prunes(regime) else {}
            parts.append(movement(before, after, masks).assign(regime=regime, seed=seed))
    table = pd.concat(parts) if parts else pd.DataFrame({"layer": []})
    if table.empty:
        raise Missing(f"{stored.name} has no trained network with convolutions; run the study with "
                      "a regime that trains, such as finetune.")
    table = _some_layers(table, LAYERS, order)
    return labelled(table[["regime", "layer", "place", "seed", "sign_agreement", "distance"]],
                    stored.label)


def gather_overlap(stored: StoredStudy) -> pd.DataFrame:
    """What the plans of two seeds keep in common, for each pair of up to five seeds: layer ("all"
    is the whole network), place (among those compared, from 1; 0 for "all"), pair, overlap,
    chance (see `analysis.weights.mask_overlap`), unit ("weights" or "channels").

    Seeds begin with different weights, so that channel 3 of one need not be channel 3 of another:
    chance is what is to be expected. Layers that lose nothing in either seed are left out, and so
    are whole branches that go. Inputs that a layer stops reading stand as "LAYER (inputs)".
    """
    seeds = stored.planned_seeds[:SEEDS]
    if len(seeds) < 2:
        raise Missing(f"{stored.name} has a plan of one seed only; run the study with two or more "
                      "(--seeds 2).")
    model = _large(stored)
    kept = {seed: _kept(stored, seed, model) for seed in seeds}
    parts = [mask_overlap(kept[one][1], kept[other][1]).assign(
        pair=f"{one} and {other}", unit=kept[one][0])
        for one, other in itertools.combinations(seeds, 2)]
    table = pd.concat(parts)
    if table.empty:
        raise Missing(f"the plans of {stored.name} remove no channels or weights from a layer of "
                      "both seeds, so there is no overlap to look at.")
    names = [both for name in _layer_names(model) for both in (f"{name} (inputs)", name)]
    table = _some_layers(table, LAYERS, names)
    return labelled(table[["layer", "place", "pair", "overlap", "chance", "unit"]], stored.label)


def gather_kernels(stored: StoredStudy) -> pd.DataFrame:
    """How often each position of 3x3 kernels is kept, by stage, mean over the stage's layers and
    over seeds: stage (side of the feature map in pixels), row, column (from 0), keep."""
    parts: list[pd.DataFrame] = []
    sides: dict[str, int] = {}
    for seed in stored.planned_seeds:
        plan = stored.plan(seed)
        sides = sides or layer_sides(_large(stored), plan.input_shape)
        masks = _masks(stored, seed)
        if any(mask.flatten(2).any(2).ne(mask.flatten(2).all(2)).any() for mask in masks.values()):
            parts.append(kernel_keep(masks, sides))  # not of kernels that stay or go as a whole
    table = pd.concat(parts) if parts else pd.DataFrame()
    if table.empty:
        raise Missing(f"the plans of {stored.name} hold no masks over single weights of 3x3 "
                      "kernels; run a study that removes single weights, such as `rethinklab run "
                      "--method weight-level`.")
    mean = table.groupby(["stage", "row", "column"], as_index=False)["keep"].mean()
    return labelled(mean.sort_values(["stage", "row", "column"], ascending=[False, True, True],
                                     ignore_index=True), stored.label)


def _histograms(networks: Walk, number: int, magnitudes: bool = False) -> pd.DataFrame:
    """The histograms of all networks, walked twice so that few are in memory at once: for the
    reach of the bins, and for what is in them. magnitudes: from 0 to beyond the largest."""
    reaches: dict[str, float] = {}
    for _, _, values, _ in networks():
        for layer, own in (*values.items(), (ALL, pooled(values.values()))):
            found = reach(own, 1.0) * ROOM if magnitudes else reach(own)
            reaches[layer] = max(reaches.get(layer, 0.0), 0.0 if math.isnan(found) else found)
    layers = [layer for layer in reaches if layer != ALL]
    if not layers:
        return pd.DataFrame()
    places = {ALL: 0} | {layer: place for place, layer in enumerate(layers, start=1)}
    chosen = [ALL, *thin(layers, max(2, min(MOST_LAYERS, HISTOGRAMS // number)))]
    edges = {layer: bin_edges(reaches[layer], BINS if layer == ALL and not magnitudes
                              else LAYER_BINS, symmetric=not magnitudes) for layer in chosen}
    parts = []
    for network, seed, values, whole in networks():
        for layer in (layer for layer in chosen if layer in values or layer == ALL):
            mine = pooled(values.values()) if layer == ALL else values[layer]
            size = sum(w.numel() for w in whole.values()) if layer == ALL else whole[layer].numel()
            parts.append(histogram(mine, edges[layer]).assign(
                network=network, layer=layer, place=places[layer], seed=seed,
                live=len(mine) / size if size else math.nan))
    table = pd.concat(parts, ignore_index=True)
    by = ["network", "layer", "place", "lower", "upper"]
    return table.groupby(by, sort=False, as_index=False)[["share", "live"]].agg(_mean)


def _mean(values: pd.Series) -> float:
    """NaN where one is: a network that diverged is not averaged away."""
    return float(values.mean(skipna=False))


def _some_layers(table: pd.DataFrame, most: int, order: Sequence[str]) -> pd.DataFrame:
    """The rows of at most so many layers, spread evenly, in their order, with their `place` in
    the network: from 1, and 0 for the network as a whole."""
    found = [layer for layer in dict.fromkeys(table["layer"]) if layer != ALL]
    at = {layer: place for place, layer in enumerate(order)}
    found.sort(key=lambda layer: at.get(layer, len(at)))
    places = {ALL: 0} | {layer: place for place, layer in enumerate(found, start=1)}
    chosen = [ALL, *thin(found, most)]
    table = table[table["layer"].isin(chosen)]
    return table.assign(place=table["layer"].map(places)).reset_index(drop=True)


def _large(stored: StoredStudy) -> nn.Module:
    """The architecture of the unpruned network."""
    return stored.beginning(UNPRUNED, stored.study.seed_numbers[0])


def _layer_names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules()]


def _conv_names(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd)]


def _masks(stored: StoredStudy, seed: int) -> dict[str, Tensor]:
    """The masks over convolution weights of a seed's plan, by layer; none where the pruned network
    is a published one."""
    try:
        return conv_weights(stored.plan(seed).masks)
    except Missing:
        return {}


def _acts_on_scales(stored: StoredStudy) -> bool:
    if stored.study.pruned_model:
        return False
    acting: Iterable[object] = stored.study.pruner.during(stored.data)
    return any(isinstance(callback, (SparsityPenalty, SparseScales)) for callback in acting)


def _kept(stored: StoredStudy, seed: int, model: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """What a plan keeps as masks by layer: of weights where it holds such, else of channels."""
    plan = stored.plan(seed)
    masks = conv_weights(plan.masks)
    if masks and all(map(of_whole_filters, masks.values())):
        return "channels", {name: mask.flatten(1)[:, 0] for name, mask in masks.items()}
    if masks:
        return "weights", masks
    sizes = {name: (width, plan.keep[name]) for name, width in plan.widths.items()
             if name in plan.keep}
    sizes |= {f"{name} (inputs)": (in_width(model.get_submodule(name)), channels)
              for name, channels in plan.read.items()}
    gone = tuple(f"{branch}." for branch in plan.branches)
    kept = {}
    for layer, (width, channels) in sizes.items():
        if not layer.startswith(gone):
            kept[layer] = torch.zeros(width, dtype=torch.bool)
            kept[layer][list(channels)] = True
    return "channels", kept
