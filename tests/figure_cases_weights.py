"""The hard cases of the figures of weights, on made-up tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from rethinklab.analysis.weights import ALL, bin_edges, histogram

NETWORKS = ("unpruned", "finetune", "scratch-e", "scratch-b")
LABEL = "Quick scale; weight-level, target 0.8, on vgg16; data digits; cpu; 3 seeds"


def draws(network, layer, size=2000):
    """Made-up live weights: those of a fine-tuned network keep away from zero."""
    random = np.random.default_rng([NETWORKS.index(network), layer])
    values = random.normal(0, 0.1 / (1 + layer / 4), size)
    return values[np.abs(values) > 0.05 / (1 + layer / 4)] if network == "finetune" else values


def weights(layers=13, networks=NETWORKS, label=LABEL, whole=True, spike=False, zeros=0.0,
            broken=False, live=True):
    names = [f"features.{3 * place}" for place in range(layers)]
    parts = []
    for network in networks:
        given = {name: draws(network, place) for place, name in enumerate(names)}
        if whole:
            given[ALL] = np.concatenate(list(given.values()))
        for name, values in given.items():
            place = 0 if name == ALL else 1 + names.index(name)
            if spike:
                values = np.concatenate([values, np.full(20 * len(values), 1e-5)])
            if zeros:
                values = np.where(np.arange(len(values)) < zeros * len(values), 0, values)
            edges = bin_edges(0.25 if name == ALL else 0.25 / (1 + place / 4), 30)
            parts.append(histogram(torch.from_numpy(values), edges).assign(
                network=network, layer=name, place=place))
    frame = pd.concat(parts, ignore_index=True)
    if live:
        frame["live"] = frame["network"].map(lambda name: 1.0 if name == "unpruned" else 0.2)
    if broken:
        frame.loc[frame["network"] == networks[-1], "share"] = np.nan
        frame.loc[5, "share"] = np.nan
    frame.attrs["label"] = label
    return frame


def scales(layers=13, networks=("unpruned", "pruned_from"), label=LABEL, broken=False, zeros=0.0):
    random = np.random.default_rng(0)
    names = [ALL, *(f"features.{3 * place + 1}" for place in range(layers))]
    parts = []
    for network in networks:
        for place, name in enumerate(names):
            values = np.abs(random.normal(0.5 if network == "unpruned" else 0.1, 0.1, 300))
            if network != "unpruned":
                values[: int(300 * zeros)] = 0
            parts.append(histogram(torch.from_numpy(values), bin_edges(1.0, 30, symmetric=False))
                         .assign(network=network, layer=name, place=place))
    frame = pd.concat(parts, ignore_index=True)
    if broken:
        frame.loc[frame["network"] == networks[0], "share"] = np.nan
    frame.attrs["label"] = label
    return frame


def movement(layers=13, regimes=NETWORKS, seeds=3, label=LABEL, broken=False):
    random = np.random.default_rng(0)
    names = [*(f"features.{3 * place}" for place in range(layers)), ALL]
    frame = pd.DataFrame([
        {"regime": regime, "layer": name, "place": 0 if name == ALL else place + 1, "seed": seed,
         "sign_agreement": (0.99 if regime == "finetune" else 0.75) - 0.02 * random.random(),
         "distance": (0.1 if regime == "finetune" else 1.0) + 0.1 * random.random()}
        for regime in regimes for place, name in enumerate(names) for seed in range(seeds)])
    if broken:
        frame.loc[frame["place"] == 2, ["sign_agreement", "distance"]] = np.nan
        frame.loc[frame["regime"] == "scratch-e", "distance"] = np.nan
    frame.attrs["label"] = label
    return frame


def overlap(layers=13, pairs=("0 and 1", "0 and 2", "1 and 2"), label=LABEL, broken=False):
    random = np.random.default_rng(0)
    names = [*(f"features.{3 * place}" for place in range(layers)), ALL]
    frame = pd.DataFrame([
        {"layer": name, "place": 0 if name == ALL else place + 1, "pair": pair,
         "overlap": 0.6 / (1 + place / 5) + 0.05 * random.random(), "chance": 0.6 / (1 + place / 5),
         "unit": "weights"} for pair in pairs for place, name in enumerate(names)])
    if broken:
        frame.loc[[2, 7], ["overlap", "chance"]] = np.nan
    frame.attrs["label"] = label
    return frame


def kernels(stages=(32, 16, 8, 4, 2), label=LABEL, broken=False, top=0.9):
    frame = pd.DataFrame([
        {"stage": side, "row": row, "column": column,
         "keep": top * (side / max(stages)) ** 0.5 * (1 - 0.1 * (abs(row - 1) + abs(column - 1)))}
        for side in stages for row in range(3) for column in range(3)])
    if broken:
        frame.loc[[0, 13], "keep"] = np.nan
    frame.attrs["label"] = label
    return frame


LONG = "word " * 60

# "one seed" does not apply to histograms, scales and kernels, whose tables hold means over seeds,
# nor "110 layers" and "missing regime" to kernels, nor a missing regime to overlap.
CASES = {
    "weights": {
        "usual": weights, "one layer": lambda: weights(1),
        "missing regime": lambda: weights(networks=("finetune", "scratch-e")),
        "one network": lambda: weights(networks=("finetune",)),
        "110 layers": lambda: weights(110), "NaN": lambda: weights(broken=True),
        "all NaN": lambda: weights(networks=("unpruned",), broken=True),
        "long label": lambda: weights(label=LONG), "spike": lambda: weights(spike=True),
        "zeros": lambda: weights(zeros=0.3), "without live": lambda: weights(live=False),
    },
    "weight_layers": {
        "usual": weights, "one layer": lambda: weights(1),
        "missing regime": lambda: weights(networks=("finetune", "scratch-e")),
        "110 layers": lambda: weights(110), "NaN": lambda: weights(broken=True),
        "long label": lambda: weights(label=LONG), "spike": lambda: weights(spike=True),
        "zeros": lambda: weights(zeros=0.3), "without whole": lambda: weights(whole=False),
    },
    "scales": {
        "usual": scales, "one layer": lambda: scales(1), "whole only": lambda: scales(0),
        "one network": lambda: scales(networks=("pruned_from",)),
        "110 layers": lambda: scales(110), "NaN": lambda: scales(broken=True),
        "long label": lambda: scales(label=LONG), "zeros": lambda: scales(zeros=0.6),
    },
    "movement": {
        "usual": movement, "one seed": lambda: movement(seeds=1),
        "one layer": lambda: movement(1),
        "missing regime": lambda: movement(regimes=("unpruned", "scratch-e")),
        "110 layers": lambda: movement(110), "NaN": lambda: movement(broken=True),
        "long label": lambda: movement(label=LONG),
    },
    "overlap": {
        "usual": overlap, "one seed": lambda: overlap(pairs=("0 and 1",)),
        "one layer": lambda: overlap(1), "110 layers": lambda: overlap(110),
        "NaN": lambda: overlap(broken=True), "long label": lambda: overlap(label=LONG),
    },
    "kernels": {
        "usual": kernels, "one stage": lambda: kernels((32,)),
        "three stages": lambda: kernels((32, 16, 8)), "NaN": lambda: kernels(broken=True),
        "sparse": lambda: kernels(top=0.02), "long label": lambda: kernels(label=LONG),
    },
}
