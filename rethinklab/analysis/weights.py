"""What is in the weights: histograms, how far training moved them, what two masks share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rethinklab.errors import ConfigError
from rethinklab.values import plain, whole

ALL = "all"  # the layer that stands for the whole network
COVERED = 0.99  # of the values that bins reach


def conv_weights(state: Mapping[str, Tensor], order: Sequence[str] = ()) -> dict[str, Tensor]:
    """The convolution weights of a state dict by layer name: tensors called NAME.weight of three
    or more dimensions. order: layer names; layers not among them come last."""
    places = {layer: place for place, layer in enumerate(order)}
    found = {name.removesuffix(".weight"): value.detach().cpu() for name, value in state.items()
             if name.endswith(".weight") and value.ndim >= 3}
    return dict(sorted(found.items(), key=lambda item: places.get(item[0], len(places))))


def live_values(weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """The values that live, flat: all where there is no mask, else those where it is True.

    A weight that is zero without being masked lives.
    """
    return weight.flatten() if mask is None else weight[mask.to(weight.device)]


def reach(values: Tensor, share: float = COVERED) -> float:
    """The magnitude below which that share of the values lies; NaN where there are none, or where
    one is not finite."""
    if not len(values) or not torch.isfinite(values).all():
        return math.nan
    return float(np.quantile(values.abs().double().numpy(), share))


def bin_edges(limit: float, bins: int, symmetric: bool = True) -> np.ndarray:
    """Edges of that many equal bins from -limit to limit, or from 0: float (bins + 1,).

    Their width is rounded up to two digits, so the last edge may lie a little beyond the limit.
    A limit that is not positive counts as 1. Raises ConfigError for an odd number of bins about
    zero, which would have no edge there.
    """
    limit, bins = plain(limit), whole("bins", bins)
    if bins < 1 or (symmetric and bins % 2):
        raise ConfigError(f"bins must be {'an even' if symmetric else 'a positive'} number, got "
                          f"{bins}.")
    steps = bins // 2 if symmetric else bins
    width = (limit if limit > 0 and math.isfinite(limit) else 1.0) / steps
    unit = 10.0 ** (math.floor(math.log10(width)) - 1)
    width = math.ceil(round(width / unit, 6)) * unit
    return np.array([float(f"{step * width:.6g}")
                     for step in range(-steps if symmetric else 0, steps + 1)])


def histogram(values: Tensor, edges: np.ndarray) -> pd.DataFrame:
    """The share of the values in each bin: columns lower, upper, share, which sum to 1.

    Rows: what lies below the edges (lower is -inf), each bin, what lies above them (upper is
    inf), and the values that are exactly zero (lower = upper = 0), which no bin counts. A value on
    an edge belongs to the bin above it, on the last edge to the last bin. Shares are NaN where
    there are no values or where one is not finite.
    """
    lower, upper = [-math.inf, *edges, 0.0], [*edges, math.inf, 0.0]
    given = values.double().numpy()
    if not len(given) or not np.isfinite(given).all():
        return pd.DataFrame({"lower": lower, "upper": upper, "share": math.nan})
    other = given[given != 0]
    counts = np.array([(other < edges[0]).sum(), *np.histogram(other, edges)[0],
                       (other > edges[-1]).sum(), len(given) - len(other)])
    return pd.DataFrame({"lower": lower, "upper": upper, "share": counts / len(given)})


def movement(before: Mapping[str, Tensor], after: Mapping[str, Tensor],
             masks: Mapping[str, Tensor] | None = None) -> pd.DataFrame:
    """How far training moved the weights of each layer, and of all together: layer,
    sign_agreement, distance.

    before, after: weights by layer; those of equal name and shape are compared, in the order of
    `before`. masks: by layer, True where a weight lives; the others are not looked at.
    sign_agreement: the share of the weights with the sign that they had; of zero the sign is 0.
    distance: ||after - before|| / ||before||, Euclidean; NaN where all begin at zero. Both are NaN
    where nothing lives, or where a weight is not finite.
    """
    kept = masks or {}
    rows, sums = [], np.zeros(4)
    for layer, value in before.items():
        other = after.get(layer)
        if other is None or other.shape != value.shape:
            continue
        first, last = (live_values(w, kept.get(layer)).double() for w in (value, other))
        parts = np.array([float((first.sign() == last.sign()).sum()), float(len(first)),
                          float((last - first).square().sum()), float(first.square().sum())])
        sums += parts
        rows.append({"layer": layer, **_moved(parts)})
    if rows:
        rows.append({"layer": ALL, **_moved(sums)})
    return pd.DataFrame(rows, columns=["layer", "sign_agreement", "distance"])


def _moved(parts: np.ndarray) -> dict[str, float]:
    """From the number of equal signs, of weights, and the squared norms of step and beginning."""
    same, number, step, start = parts.tolist()
    finite = math.isfinite(step) and math.isfinite(start)
    return {"sign_agreement": same / number if number and finite else math.nan,
            "distance": math.sqrt(step / start) if start > 0 and finite else math.nan}


def overlap(first: Tensor, second: Tensor) -> float:
    """What two masks of one shape both keep, over what one of them keeps on average: 1 where they
    are equal, 0 where they share nothing (the coefficient of Dice); NaN where both keep nothing."""
    kept = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / kept if kept else math.nan


def chance_overlap(size: int, first: int, second: int) -> float:
    """The overlap to be expected of two masks that keep so many of `size` places, drawn
    independently: what they share is hypergeometric, its mean first * second / size."""
    return 2 * first * second / (size * (first + second)) if first + second else math.nan


def mask_overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> pd.DataFrame:
    """The overlap of two sets of masks by layer, and of all layers together, with the value that
    is expected of chance where each layer keeps as many as it does: layer, overlap, chance.

    Only masks of equal name and shape are compared, and not those that keep everything in both.
    """
    rows, shared, expected, total = [], 0, 0.0, 0
    for layer, one in first.items():
        other = second.get(layer)
        if other is None or other.shape != one.shape or bool(one.all() and other.all()):
            continue
        size, here, there = one.numel(), int(one.sum()), int(other.sum())
        rows.append({"layer": layer, "overlap": overlap(one, other),
                     "chance": chance_overlap(size, here, there)})
        shared += int((one & other).sum())
        expected += here * there / size
        total += here + there
    if rows:
        rows.append({"layer": ALL, "overlap": 2 * shared / total if total else math.nan,
                     "chance": 2 * expected / total if total else math.nan})
    return pd.DataFrame(rows, columns=["layer", "overlap", "chance"])


def position_keep(mask: Tensor) -> Tensor:
    """How often each position of a layer's kernels is kept: bool (out, in, H, W) to (H, W)."""
    return mask.double().mean((0, 1))


def kernel_keep(masks: Mapping[str, Tensor], sides: Mapping[str, int]) -> pd.DataFrame:
    """How often each of the nine positions of 3x3 kernels is kept, by stage: stage, row, column,
    keep.

    masks: by layer. sides: the side of each layer's feature map in pixels, which names its stage.
    keep is the mean over all kernels of a stage, as guided designs draw it. Layers without a side,
    or with other kernels, are left out. Source: Liu et al. (ICLR 2019), Figure 4.
    """
    stages: dict[int, list[Tensor]] = {}
    for layer, mask in masks.items():
        if mask.ndim == 4 and mask.shape[2:] == (3, 3) and layer in sides:
            stages.setdefault(sides[layer], []).append(mask.flatten(0, 1))
    return pd.DataFrame(
        [{"stage": side, "row": row, "column": column, "keep": float(keep[row, column])}
         for side, keep in ((side, torch.cat(stages[side]).double().mean(0))
                            for side in sorted(stages, reverse=True))
         for row in range(3) for column in range(3)],
        columns=["stage", "row", "column", "keep"])


def pooled(values: Iterable[Tensor]) -> Tensor:
    """All values of several layers as one flat tensor."""
    flat = [value.flatten() for value in values]
    return torch.cat(flat) if flat else torch.empty(0)
