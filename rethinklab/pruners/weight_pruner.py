"""What the methods share that remove single weights: score, keep the highest, make a checked plan.

A new criterion is a subclass of `WeightPruner` with a `name` and a `score`: from a layer, and its
context where the weights are not enough, to one number per weight, the smallest of which go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import forward_pass
from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.models.copying import weight_name
from rethinklab.pruners.base import Origin, Pruner, expect_ratio
from rethinklab.pruners.budget import Budget, check_reached, parse_budget, weight_uses
from rethinklab.pruners.context import Calibration, score_arguments
from rethinklab.pruners.cutting.layers import Shape, is_convolution
from rethinklab.pruners.cutting.masks import conv_weights, untouched
from rethinklab.pruners.plan import Plan, make_plan


@dataclass(frozen=True)
class WeightPruner(Pruner):
    """Removes single weights of convolutions, the lowest-scoring of the whole network.

    target: the share of all convolution weights to remove, or a budget such as "params:0.3".
    calibration_images: a class attribute, how many training images the context of a score shows;
    they are normalised by their own statistics where the method looks before training. Linear
    layers, normalisations and biases stay. What goes is held at zero while the network trains on.
    A layer that loses all its weights is warned of (`make_plan`).
    """

    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.5)
    cuts: ClassVar[str] = "weights"
    calibration_images: ClassVar[int] = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if parse_budget(self.target) is None:
            expect_ratio(self.name, self.target)

    def score(self, layer: nn.Module, *context: Any, **_: Any) -> Tensor:
        """Importance of each weight of a convolution, shaped as `layer.weight`.

        context: as for a `ChannelPruner`. A criterion that needs none of it may take the layer
        alone.
        """
        raise NotImplementedError

    def calibration(self, model: nn.Module, data: ImageData) -> Calibration:
        """The images, and the pass over them, that scores may look at."""
        return Calibration(model, data, self.calibration_images, self.before_training)

    def scores(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        """The scores of all convolution weights by parameter name, shaped as these.

        Raises PlanError where a score has another shape.
        """
        weights, own = conv_weights(model), type(self).__name__
        calibration, found = self.calibration(model, data), {}
        for name, layer in model.named_modules():
            if not is_convolution(layer) or (key := weight_name(model, name)) in found:
                continue
            with torch.no_grad():
                found[key] = self.score(*score_arguments(self.score, own, layer,
                                                         calibration.of(name)))
            if not isinstance(found[key], Tensor) or found[key].shape != weights[key].shape:
                raise PlanError(f"{own}.score must give a tensor shaped as the weight of {name}, "
                                f"{tuple(weights[key].shape)}.")
        return found

    def masks(self, model: nn.Module, data: ImageData) -> dict[str, Tensor]:
        """What stays where the target is a share: the highest scores of the whole network."""
        return highest_weights(self.scores(model, data), self.target)

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        budget = parse_budget(self.target)
        if budget is None:
            masks = self.masks(model, data)
        else:
            masks = budget_masks(model, data.input_shape, self.scores(model, data), budget,
                                 self.name)
        return make_plan(model, self.name, self.target, data.input_shape, {}, {},
                         untouched(model), masks=masks, budget=budget)


def left_of(number: int, share: float) -> int:
    """Of so many weights those that stay when a share goes, rounded as `torch.nn.utils.prune`
    rounds."""
    return number - round(share * number)


def highest_weights(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that remove the `share` of all weights that scores lowest; of equals the later go."""
    together = joined(scores)
    count = left_of(len(together), share)
    if count == 0:
        return masks_of(together.new_zeros(0, dtype=torch.long), scores)
    threshold = together.kthvalue(len(together) - count + 1).values
    chosen = together > threshold
    equal = (together == threshold).nonzero().flatten()
    return masks_of(torch.cat([chosen.nonzero().flatten(), equal[:count - int(chosen.sum())]]),
                    scores)


def joined(scores: Mapping[str, Tensor]) -> Tensor:
    """The scores of all tensors in a row. Raises PlanError where they are not finite."""
    together = torch.cat([score.flatten().cpu() for score in scores.values()])
    if not torch.isfinite(together).all():
        raise PlanError("the scores of the weights are not all finite numbers; the network may "
                        "have diverged in training, or be too deep for this method.")
    return together


def masks_of(chosen: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks that leave the weights at the places `chosen`, counted through all tensors."""
    mask = torch.zeros(sum(value.numel() for value in like.values()), dtype=torch.bool)
    mask[chosen] = True
    parts = mask.split([value.numel() for value in like.values()])
    return {name: part.view(value.shape)
            for (name, value), part in zip(like.items(), parts, strict=True)}


def budget_masks(model: nn.Module, input_shape: Shape, scores: Mapping[str, Tensor],
                 budget: Budget, method: str) -> dict[str, Tensor]:
    """Masks of the highest-scoring weights whose number, or multiply-adds, the budget allows. A
    weight costs a multiply-add wherever it is used, in all runs of its layer."""
    found = forward_pass(model, input_shape)
    uses = {f"{name}.weight": count for name, count in weight_uses(model, found).items()}
    full = found.macs if budget.kind == "macs" else sum(p.numel() for p in model.parameters())
    worth = [torch.full((s.numel(),), 1 if budget.kind == "params" else uses.get(name, 0))
             for name, s in scores.items()]
    order = joined(scores).argsort(descending=True, stable=True)
    spent = torch.cat(worth)[order].cumsum(0)
    fixed = full - int(spent[-1])
    kept = int(torch.searchsorted(spent, budget.share * full - fixed, right=True))
    if kept == 0:
        raise PlanError(f"a budget of {budget.share:g} of the {budget.kind} is less than what "
                        f"{method} leaves alone, {fixed / full:.3f} of them.")
    check_reached(budget, fixed + int(spent[kept - 1]), full)
    return masks_of(order[:kept], scores)
