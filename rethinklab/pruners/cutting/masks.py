"""Masks over parameters: True where a weight lives. What goes is set to zero, not removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate, weight_name
from rethinklab.models.residual import residual_branches
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import LAYERS, Shape, in_width, is_convolution, out_width
from rethinklab.pruners.cutting.surgery import Channels, check_keep, without


def silence_channels(model: nn.Module, keep: Channels, input_shape: Shape,
                     read: Channels | None = None, branches: Sequence[str] = ()) -> nn.Module:
    """A copy of `model`, full width, in which the channels that are not kept output zero.

    Sets to zero the filters, biases, and normalisation scales and shifts of each such channel,
    the weights on inputs that are not read, and the last layer of branches that go.
    In evaluation mode it computes what `remove_channels` computes, wherever zero stays zero on
    the way to the next layer (ReLU, pooling, dropout; not a sigmoid or a layer normalisation).
    """
    model = duplicate(model)
    masks = channel_masks(model, keep, input_shape, read, readers=False)
    for name in branches:
        last = model.get_submodule(residual_branches(model)[name].last)
        masks |= {key: torch.zeros_like(value, dtype=torch.bool)
                  for key, value in model.named_parameters() if value in set(last.parameters())}
    apply_masks(model, masks)
    return model


def channel_masks(model: nn.Module, keep: Channels, input_shape: Shape,
                  read: Channels | None = None, readers: bool = True,
                  empty: bool = False) -> dict[str, Tensor]:
    """The cut as masks over parameters: name to a boolean tensor of its shape, False where the
    weight belongs to a channel that goes. readers: also the weights by which later layers read
    such channels, which then count for nothing. empty: a layer may lose all its channels. The
    model is not changed."""
    graph = ChannelGraph(duplicate(model), input_shape)
    check_keep(graph, {name: kept for name, kept in keep.items() if kept or not empty})
    parameters = dict(model.named_parameters())
    masks: dict[str, Tensor] = {}

    def forbid(layer: str, part: str, index: Any) -> None:
        name = f"{layer}.{part}"
        if name in parameters:
            whole = torch.ones_like(parameters[name], dtype=torch.bool)
            masks.setdefault(name, whole)[index] = False

    for name, kept in keep.items():
        layer = graph.model.get_submodule(name)
        removed = without(kept, out_width(layer))
        for node, indices, is_output in graph.members(layer, removed) if removed else []:
            if not isinstance(node.module, nn.Module) or node.module not in graph.names:
                continue
            part = graph.names[node.module]
            if is_output:
                forbid(part, "weight", indices)
                forbid(part, "bias", indices)
            elif readers and isinstance(node.module, LAYERS):
                forbid(part, "weight", (slice(None), indices))
    for name, channels in (read or {}).items():
        forbid(name, "weight", (slice(None), without(channels, in_width(
            model.get_submodule(name)))))
    return masks


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set to zero, in place, the weights that the masks leave out."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask.to(parameters[name].device), 0)


def of_whole_filters(mask: Tensor) -> bool:
    """Whether each filter of a mask (N, C, k, k) lives or goes as a whole."""
    flat = mask.flatten(1)
    return bool((flat == flat[:, :1]).all())


def conv_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of all convolutions by parameter name, one that several layers share once. Raises
    PlanError where there are none, where they are not finite, or where one is computed anew at
    every pass (`torch.nn.utils.prune`, weight normalisation)."""
    found = {weight_name(model, name): module.weight.detach()
             for name, module in model.named_modules()
             if is_convolution(module)}
    if not found:
        raise PlanError(f"{type(model).__name__} has no convolution, and weight-level pruning "
                        "prunes nothing else.")
    for name, weight in found.items():
        if not torch.isfinite(weight).all():
            raise PlanError(f"{name} holds values that are not finite; the network may have "
                            "diverged in training.")
    return found


def untouched(model: nn.Module) -> dict[str, str]:
    """The layers with weights that are not convolutions, with the reason."""
    return {name: "weight-level pruning prunes convolutions only"
            for name, module in model.named_modules() if isinstance(module, nn.Linear)}
