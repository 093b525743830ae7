"""Weight-level pruning by magnitude (Han et al., NeurIPS 2015, arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import forward_pass
from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.pruners.base import Origin, Pruner, expect_ratio
from rethinklab.pruners.budget import Budget, check_reached, parse_budget, weight_uses
from rethinklab.pruners.cutting.layers import Shape
from rethinklab.pruners.cutting.masks import conv_weights, untouched
from rethinklab.pruners.plan import Plan, make_plan


@dataclass(frozen=True)
class WeightLevel(Pruner):
    """Removes single weights of convolutions, the smallest in magnitude of the whole network.

    target: the share of all convolution weights to remove, or a budget such as "params:0.3".
    Linear layers, normalisations and biases stay. What goes is held at zero while the network
    trains on. Source: section 4.3 of Liu et al. (ICLR 2019) and its released code, whose rule is
    followed to the weight: one threshold at place int(share * number) of the sorted magnitudes,
    and what is not above it goes. On a network that holds zeros already the rule is that of the
    released script for lottery tickets, a share of the weights that are not zero; the script for
    weight-level pruning counts zeros as well, so that a share below theirs removes nothing. A
    layer that loses all its weights is warned of (`make_plan`).
    """

    name: ClassVar[str] = "weight-level"
    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if parse_budget(self.target) is None:
            expect_ratio(self.name, self.target)

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        weights = conv_weights(model)
        budget = parse_budget(self.target)
        if budget is None:
            masks = magnitude_masks(weights, self.target)
        else:
            masks = budget_masks(model, data.input_shape, weights, budget)
        return make_plan(model, self.name, self.target, data.input_shape, {}, {},
                         untouched(model), masks=masks, budget=budget)


def magnitude_masks(weights: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that remove `share` of the weights that are not zero yet, the smallest first.

    Of T weights of which Z are not zero, the threshold is the magnitude at place
    T - Z + int(Z * share) in ascending order, and only what is above it stays. Source: the released
    script for lottery tickets; without zeros (Z = T), that for weight-level pruning too.
    """
    together = torch.cat([weight.abs().flatten() for weight in weights.values()])
    living = int(torch.count_nonzero(together))
    place = len(together) - living + int(living * share)
    threshold = together.sort().values[min(place, len(together) - 1)]
    return {name: weight.abs() > threshold for name, weight in weights.items()}


def budget_masks(model: nn.Module, input_shape: Shape, weights: Mapping[str, Tensor],
                 budget: Budget) -> dict[str, Tensor]:
    """Masks of the largest weights whose number, or multiply-adds, the budget allows. A weight
    costs a multiply-add wherever it is used, in all runs of its layer."""
    found = forward_pass(model, input_shape)
    uses = {f"{name}.weight": count for name, count in weight_uses(model, found).items()}
    full = found.macs if budget.kind == "macs" else sum(p.numel() for p in model.parameters())
    worth = [torch.full((w.numel(),), 1 if budget.kind == "params" else uses.get(name, 0))
             for name, w in weights.items()]
    together = torch.cat([weight.abs().flatten().cpu() for weight in weights.values()])
    order = torch.argsort(together, descending=True, stable=True)
    spent = torch.cat(worth)[order].cumsum(0)
    fixed = full - int(spent[-1])
    kept = int(torch.searchsorted(spent, budget.share * full - fixed, right=True))
    if kept == 0:
        raise PlanError(f"a budget of {budget.share:g} of the {budget.kind} is less than what "
                        f"weight-level pruning leaves alone, {fixed / full:.3f} of them.")
    check_reached(budget, fixed + int(spent[kept - 1]), full)
    chosen = torch.zeros(len(together), dtype=torch.bool)
    chosen[order[:kept]] = True
    parts = chosen.split([w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts,
                                                                strict=True)}
