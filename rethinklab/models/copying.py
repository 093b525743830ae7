"""Copies of networks that torch's own tools have changed: weights that are computed, not kept.

`torch.nn.utils.prune`, weight and spectral normalisation put another tensor in a weight's place
and compute the weight from it at every pass.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from rethinklab.errors import PlanError

Module = TypeVar("Module", bound=nn.Module)
# What a parameter is called from which a hook computes `weight`, by whom, and how to end it
HOOKED = {
    "weight_g": ("torch.nn.utils.weight_norm", "torch.nn.utils.remove_weight_norm(layer)"),
    "weight_u": ("torch.nn.utils.spectral_norm", "torch.nn.utils.remove_spectral_norm(layer)"),
    "weight_orig": ("torch.nn.utils.prune", 'torch.nn.utils.prune.remove(layer, "weight")'),
}


def duplicate(model: Module) -> Module:
    """A deep copy of `model`, also where a hook has left a computed weight in it, which
    `copy.deepcopy` refuses after a forward pass with gradients."""
    computed = {id(value): value.detach().clone() for module in model.modules()
                for value in vars(module).values()
                if isinstance(value, Tensor) and not value.is_leaf}
    return deepcopy(model, computed)  # type: ignore[arg-type]


def computed_weights(model: nn.Module) -> dict[nn.Module, str]:
    """The layers whose weight is computed from other parameters at every pass, each with a clause
    that says by what and which call puts an ordinary weight in its place."""
    found = {}
    for name, module in model.named_modules():
        maker = _maker(module)
        if maker:
            found[module] = (f"{name or 'the network itself'} has its weight computed at every "
                             f"pass by {maker[0]}; call {maker[1]} first")
    return found


def weight_name(model: nn.Module, layer: str) -> str:
    """The name in `model.named_parameters()` of the weight of a layer: its own, or that of the
    first of several layers that share it. Raises PlanError where the weight is no parameter."""
    module = model.get_submodule(layer)
    for name, parameter in model.named_parameters():
        if parameter is module.weight:
            return name
    raise PlanError(f"{computed_weights(model).get(module, f'{layer} holds no weight of its own')}"
                    ", so that its single weights can be told apart and held at zero.")


def _maker(module: nn.Module) -> tuple[str, str] | None:
    if parametrize.is_parametrized(module):
        return ("a parametrisation", "torch.nn.utils.parametrize.remove_parametrizations"
                                     '(layer, "weight")')
    held = {*module._parameters, *module._buffers}
    return next((maker for key, maker in HOOKED.items() if key in held), None)
