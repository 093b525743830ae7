"""What all channel pruners share: find the layers, score, select, and make a checked plan.

A new criterion is a subclass with a `name` and a `score`: from a layer to one number per output
channel, the smallest of which go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.surgery import out_width, survey
from rethinklab.pruners.targets import check_target, kept_count, resolve_target


@dataclass(frozen=True)
class ChannelPruner:
    """Removes the lowest-scoring output channels of each layer, all layers independently.

    target: a published name ("A"), a ratio for every convolution (the share to remove, between
    0 and 1), or {layer: ratio or width}; layers not named keep all their channels.
    Raises PlanError for a target that has no such form.
    """

    target: Any
    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", check_target(self.target))

    def score(self, layer: nn.Module) -> Tensor:
        """Importance of each output channel of a convolution or linear layer, shape (N,)."""
        raise NotImplementedError

    def prunes(self, layer: nn.Module) -> bool:
        """Whether the method prunes this kind of layer without being told to by name."""
        return isinstance(layer, nn.modules.conv._ConvNd)

    def fit(self, model: nn.Module, data: ImageData) -> Plan:
        """The plan for `model`, whose weights are read and not changed.

        Raises PlanError where the target cannot be met.
        """
        found = survey(model, data.input_shape)
        widths = {name: layer.width for name, layer in found.prunable.items()}
        default = {name: width for name, width in widths.items()
                   if self.prunes(model.get_submodule(name))}
        if not default:
            raise PlanError(f"method {self.name} finds nothing to prune in {type(model).__name__}: "
                            + "; ".join(f"{n}: {r}" for n, r in list(found.left_alone.items())[:3]))
        architecture = getattr(model, "architecture", None)
        asked = resolve_target(self.target, self.name, architecture, widths, default)
        keep = {name: self._select(name, model.get_submodule(name),
                                   kept_count(wanted, widths[name], name))
                for name, wanted in asked.items()}
        left_alone = dict(found.left_alone)
        left_alone |= {name: f"{self.name} prunes convolutions unless a layer is named"
                       for name in widths if name not in keep}
        return make_plan(model, self.name, self.target, data.input_shape, keep, asked, left_alone)

    def _select(self, name: str, layer: nn.Module, count: int) -> tuple[int, ...]:
        with torch.no_grad():
            scores = self.score(layer)
        if not isinstance(scores, Tensor) or scores.shape != (out_width(layer),):
            found = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else repr(scores)
            raise PlanError(f"{type(self).__name__}.score gave {found} for {name}; it must give a "
                            f"tensor with one number for each of {out_width(layer)} channels.")
        scores = scores.detach().cpu()
        if not torch.isfinite(scores).all():
            raise PlanError(f"the scores of {name} are not all finite numbers; the network may "
                            "have diverged in training.")
        ascending = torch.argsort(scores, stable=True)
        return tuple(sorted(ascending[len(ascending) - count :].tolist()))
