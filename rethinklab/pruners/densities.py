"""Densities layer by layer, settled before any weight is looked at: uniform and ERK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import ConfigError
from rethinklab.pruners.base import expect_ratio
from rethinklab.pruners.weight_pruner import WeightPruner, left_of, masks_of

DENSITIES = ("uniform", "erk")


@dataclass(frozen=True)
class LayerwisePruner(WeightPruner):
    """Removes the lowest-scoring weights of each convolution, in a number that its shape says.

    target: the share of all convolution weights to remove. densities: "uniform", the same share of
    every layer, or "erk" (see `erk_densities`).
    """

    densities: str = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self.name, self.target)
        if self.densities not in DENSITIES:
            raise ConfigError(f"densities {self.densities!r} must be {' or '.join(DENSITIES)}.")

    def masks(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        return layer_masks(self.scores(model, data), self.densities, self.target)


def layer_masks(scores: Mapping[str, Tensor], densities: str, share: float) -> dict[str, Tensor]:
    """Masks of the highest scores of each layer, at densities that remove `share` of all."""
    gone = dict.fromkeys(scores, share) if densities == "uniform" else {
        name: 1 - left for name, left in erk_densities(
            {name: value.shape for name, value in scores.items()}, 1 - share).items()}
    masks: dict[str, Tensor] = {}
    for name, value in scores.items():
        order = value.flatten().cpu().argsort(descending=True, stable=True)
        masks |= masks_of(order[:left_of(len(order), gone[name])], {name: value})
    return masks


def erk_densities(shapes: Mapping[str, Sequence[int]], density: float) -> dict[str, float]:
    """Erdos-Renyi-Kernel: the density of each layer in proportion to the sum of its dimensions
    over their product, (N + C + h + w) / (N C h w), at most 1, so that `density` is left of all.

    Source: Evci et al. (ICML 2020, arXiv 1911.11134), the section on sparse distributions.
    """
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        rest = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        scale = rest / sum(sum(shape) for name, shape in shapes.items() if name not in full)
        found = {name: 1.0 if name in full else scale * sum(shape) / sizes[name]
                 for name, shape in shapes.items()}
        over = {name for name, share in found.items() if share > 1}
        if not over:
            return found
        full |= over
