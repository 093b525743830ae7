"""Soft filter pruning (He et al., IJCAI 2018, arXiv 1808.06866)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.models.copying import weight_name
from rethinklab.models.residual import residual_branches
from rethinklab.pruners.base import Origin, Pruner, expect_ratio
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.values import flag, settle


class SoftPruning(Callback):
    """Zeroes the smallest filters before training and after every epoch; in between they train
    like all others, and may recover (but for those that a ReLU keeps at zero, which get no
    gradient). The test of an epoch sees them zero."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio

    def on_start(self, state: TrainState) -> None:
        self.before_test(state)

    def before_test(self, state: TrainState) -> None:
        with torch.no_grad():
            for convolution in filter_layers(state.model).values():
                convolution.weight[smallest_filters(convolution.weight, self.ratio)] = 0


@dataclass(frozen=True)
class SoftFilter(Pruner):
    """Zeroes, after every epoch of training, the filters of smallest L2-norm of every convolution.

    target: the share of filters of each convolution, the stem and both convolutions of a block
    included. What is zero in the end is the plan, as masks: biases and normalisations stay, so a
    filter that is gone still emits its normalisation's shift, as in the released code of Liu et
    al. (ICLR 2019). No fine-tuning is needed: the regime "pruned" takes the network as it is.
    pretrained: begin with the trained large network, at a tenth of its learning rate, rather than
    with a new one. Source: section 3 of the paper.
    """

    pretrained: bool = False
    name: ClassVar[str] = "soft-filter"
    example: ClassVar[tuple[str, Any]] = ("vgg11", 0.3)
    regimes: ClassVar[tuple[str, ...]] = ("pruned", "scratch-e", "scratch-b")
    trained_with: ClassVar[tuple[str, ...] | None] = ("target", "pretrained")

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self.name, self.target)
        settle(self, pretrained=flag("pretrained", self.pretrained))

    def during(self, data: ImageData) -> list[Callback]:
        return [SoftPruning(self.target)]

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        masks, left_alone = {}, {}
        layers = filter_layers(model)
        for name, module in model.named_modules():
            if name in layers:
                mask = torch.ones_like(layers[name].weight, dtype=torch.bool)
                mask[smallest_filters(layers[name].weight, self.target)] = False
                masks[weight_name(model, name)] = mask
            elif isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                left_alone[name] = "soft filter pruning leaves shortcuts and linear layers alone"
        if all(bool(mask.all()) for mask in masks.values()):
            raise PlanError(f"a ratio of {self.target:g} removes no filter of "
                            f"{type(model).__name__}: "
                            + ("its layers are too narrow; ask for more." if masks else
                               "it has no ungrouped convolution."))
        return make_plan(model, self.name, self.target, data.input_shape, {}, {}, left_alone,
                         masks=masks)


def filter_layers(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions whose filters are pruned, in order: all ungrouped ones but the projections
    on residual shortcuts."""
    shortcuts = tuple(f"{block}.downsample" for block in residual_branches(model))
    return {name: module for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1
            and not name.startswith(shortcuts or ("\n",))}


def smallest_filters(weight: Tensor, ratio: float) -> Tensor:
    """Indices of the int(N * ratio) filters of weight (N, C, k, k) of smallest L2-norm."""
    norms = weight.detach().flatten(1).norm(dim=1)
    return norms.argsort(stable=True)[: int(round(len(norms) * ratio, 9))]
