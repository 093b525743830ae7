"""Network slimming (Liu et al., ICCV 2017, arXiv 1708.06519)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.base import Origin, Pruner, expect_ratio
from rethinklab.pruners.budget import Budget, CostModel, check_reached, last_above, parse_budget
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import out_width
from rethinklab.pruners.cutting.masks import channel_masks
from rethinklab.pruners.cutting.norms import ScaledChannels, scaled_channels
from rethinklab.pruners.cutting.probe import prove
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.scores import highest
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.values import flag, number, settle, whole


class SparsityPenalty(Callback):
    """Adds the sub-gradient of `strength` times the sum of |scale| over all batch normalisations,
    which drives scales towards zero; the loss that is reported does not contain it."""

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.scales: list[nn.Parameter] = []

    def prepare(self, model: nn.Module) -> None:
        self.scales = [m.weight for m in model.modules()
                       if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine]

    def after_backward(self, state: TrainState) -> None:
        with torch.no_grad():
            for scale in self.scales:
                if scale.grad is not None:
                    scale.grad.add_(scale.sign(), alpha=self.strength)


@dataclass(frozen=True)
class Slimming(Pruner):
    """Removes the channels of smallest batch normalisation scale, by one threshold for all layers.

    target: the share of all scaled channels to remove, or a budget such as "macs:0.5". strength:
    of the sparsity penalty while the large network trains (1e-4 for VGG, 1e-5 for PreResNet and
    DenseNet in the study). masked: keep the shape and hold the channels at zero, as the study does
    where a layer would lose all its channels. minimum: channels that every layer keeps, 0 in the
    study. Channels of a residual or concatenated stream are not removed: the layers that follow
    the normalisation stop reading them.
    Source: section 3 of the paper; threshold rule of the released code of Liu et al. (ICLR 2019).
    """

    strength: float = 1e-4
    masked: bool = False
    minimum: int = 0
    name: ClassVar[str] = "slimming"
    trained_with: ClassVar[tuple[str, ...] | None] = ("strength",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if parse_budget(self.target) is None:
            expect_ratio(self.name, self.target)
        settle(self, strength=number("strength", self.strength, 0),
               masked=flag("masked", self.masked), minimum=whole("minimum", self.minimum, 0))

    def during(self, data: ImageData) -> list[Callback]:
        return [SparsityPenalty(self.strength)]

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        graph = ChannelGraph(duplicate(model), data.input_shape)
        structures, odd = scaled_channels(graph)
        values = {s.norm: _scale(model, s.norm).abs().cpu().double() for s in structures}
        together = torch.cat(list(values.values()))
        if not torch.isfinite(together).all():
            raise PlanError("the batch normalisation scales are not all finite numbers; the "
                            "network may have diverged in training.")
        budget = parse_budget(self.target)
        if budget is None:
            ordered = together.sort().values
            threshold = float(ordered[int(len(ordered) * self.target)])
        else:
            threshold = self._meet(budget, model, data, structures, values, together)
        kept = {norm: self._survivors(norm, value, threshold) for norm, value in values.items()}
        keep = {s.producer: kept[s.norm] for s in structures if s.producer}
        read = {reader: _spread(kept[s.norm], each) for s in structures
                for reader, each in s.readers.items()}
        left_alone = prove(graph).left_alone | odd
        masks = None
        if self.masked:
            masks = channel_masks(model, keep, data.input_shape, read, empty=True)
            masks |= {f"{s.norm}.{part}": _indicator(kept[s.norm], len(values[s.norm]))
                      for s in structures for part in ("weight", "bias")}
            return make_plan(model, self.name, self.target, data.input_shape, {}, {}, left_alone,
                             masks=masks, budget=budget)
        return make_plan(model, self.name, self.target, data.input_shape, keep, {}, left_alone,
                         read=read, budget=budget)

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        """Untrained scales are all alike; here each layer's rise from 0 to 1, so that every layer
        loses the same share."""
        model = duplicate(model)
        structures, _ = scaled_channels(ChannelGraph(duplicate(model), data.input_shape))
        with torch.no_grad():
            for structure in structures:
                scale = _scale(model, structure.norm)
                scale.copy_((torch.arange(len(scale)) + 1.0) / (len(scale) + 0.5))
        return self.fit(model, data)

    def _survivors(self, norm: str, scales: Tensor, threshold: float) -> tuple[int, ...]:
        survivors = tuple((scales > threshold).nonzero().flatten().tolist())
        if len(survivors) < min(self.minimum, len(scales)):
            survivors = highest(scales, min(self.minimum, len(scales)), norm)
        if not survivors and not self.masked:
            raise PlanError(
                f"the threshold {threshold:.3g} leaves no channel of {norm}, whose largest scale "
                f"is {float(scales.max()):.3g}. Lower the target, keep some of every layer "
                "(minimum=1), or hold channels at zero instead of removing them (masked=True).")
        return survivors

    def _meet(self, budget: Budget, model: nn.Module, data: ImageData,
              structures: list[ScaledChannels], values: dict[str, Tensor],
              together: Tensor) -> float:
        """The threshold at which the budget is met."""
        layers = {s.producer: out_width(model.get_submodule(s.producer))
                  for s in structures if s.producer}
        cost = CostModel(model, data.input_shape, layers)
        ordered = torch.cat([torch.tensor([-1.0]).double(), together.sort().values])

        def price(step: int) -> int:
            counts = {norm: max(int((value > ordered[step]).sum()), min(self.minimum, len(value)))
                      for norm, value in values.items()}
            keep = {s.producer: counts[s.norm] for s in structures if s.producer}
            read = {reader: each * counts[s.norm] for s in structures
                    for reader, each in s.readers.items()}
            return cost(keep, read)[budget.kind]

        full, last = price(0), len(ordered) - 1
        above = last_above(price, last, budget.share * full)
        best = min((above, min(above + 1, last)),
                   key=lambda step: abs(price(step) - budget.share * full))
        check_reached(budget, price(best), full)
        return float(ordered[best])


def _scale(model: nn.Module, norm: str) -> Tensor:
    weight = model.get_submodule(norm).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _spread(channels: tuple[int, ...], each: int) -> tuple[int, ...]:
    """Inputs of a layer that reads `each` values of every channel, as after flattening."""
    return tuple(channel * each + k for channel in channels for k in range(each))


def _indicator(kept: tuple[int, ...], width: int) -> Tensor:
    mask = torch.zeros(width, dtype=torch.bool)
    mask[list(kept)] = True
    return mask
