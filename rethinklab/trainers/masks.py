"""Weights that stay exactly zero while the others train."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError
from rethinklab.trainers.callbacks import Callback, TrainState


class HoldMasks(Callback):
    """Keeps the weights that `masks` leaves out at zero, through momentum and weight decay.

    masks: parameter name to a boolean tensor of its shape, True where the weight lives. The
    gradient of a masked weight is zero, so a fresh optimiser gathers no momentum for it, and what
    an optimiser moves all the same is set back. Source: the released code of Liu et al. (ICLR
    2019), which derives the mask from the zeros themselves; here a weight that happens to pass
    through zero stays alive.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        self.masks = dict(masks)
        self.pairs: list[tuple[nn.Parameter, Tensor]] = []

    def prepare(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters())
        self.pairs = []
        for name, mask in self.masks.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                found = tuple(parameters[name].shape) if name in parameters else "nothing"
                raise PlanError(f"the mask of {name} has shape {tuple(mask.shape)}, but the "
                                f"{type(model).__name__} has {found} there; train the network "
                                "that the plan was applied to.")
            parameter = parameters[name]
            self.pairs.append((parameter, mask.to(parameter.device, parameter.dtype)))

    def on_start(self, state: TrainState) -> None:
        self.after_update(state)

    def after_backward(self, state: TrainState) -> None:
        with torch.no_grad():
            for parameter, mask in self.pairs:
                if parameter.grad is not None:
                    parameter.grad.mul_(mask)

    def after_update(self, state: TrainState) -> None:
        with torch.no_grad():
            for parameter, mask in self.pairs:
                parameter.mul_(mask)
