"""Random masks before training (Liu et al., ICLR 2022, arXiv 2202.02643)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.pruners.base import FROM_THE_START
from rethinklab.pruners.context import Context
from rethinklab.pruners.densities import LayerwisePruner
from rethinklab.seeds import check_seed, generator
from rethinklab.values import settle


@dataclass(frozen=True)
class RandomMask(LayerwisePruner):
    """Removes random weights before training, at uniform or ERK densities.

    Densities copied from another method are those of the control `RandomChoice`, such as
    `RandomChoice(0.8, of="snip")`. seed: of the draws.
    """

    seed: int = 0
    name: ClassVar[str] = "random-mask"
    before_training: ClassVar[bool] = True
    regimes: ClassVar[tuple[str, ...]] = FROM_THE_START

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, seed=check_seed(self.seed))

    def score(self, layer: nn.Module, context: Context) -> Tensor:
        assert isinstance(layer.weight, Tensor)
        return torch.rand(layer.weight.shape,
                          generator=generator(self.seed, "random-mask", context.name))
