"""Physical removal of channels from any traced network, on Torch-Pruning's dependency graph.

Torch-Pruning knows which layers share channels. What it does not do is refuse: it will prune
nothing, or more than asked, without a word. Here every cut is checked, and what cannot be cut is
named together with the reason.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.errors import PlanError, unknown_name

Shape = tuple[int, int, int]
AGREEMENT = 1e-3  # of the largest output: far above rounding, far below a wrong channel
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Prunable:
    """A layer whose output channels can be removed one by one.

    name: as in `model.named_modules()`. width: number of output channels.
    """

    name: str
    width: int


@dataclass(frozen=True)
class Survey:
    """The layers of a network that can lose channels, and why the others are left alone."""

    prunable: dict[str, Prunable]
    left_alone: dict[str, str]


class ChannelGraph:
    """Which layers of `model` share channels, traced with one black image of `input_shape`.

    Works on the model it is given: pass a copy. Raises PlanError where tracing fails.
    """

    def __init__(self, model: nn.Module, input_shape: Shape) -> None:
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        counts = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        self.shared = {key for key, count in counts.items() if count > 1}
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.example = torch.zeros(1, *input_shape, device=device)
        modes = {module: module.training for module in model.modules()}
        frozen = [p for p in model.parameters() if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)  # the graph is read off autograd's
        try:
            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")  # judged below, layer by layer
                self.graph = tp.DependencyGraph().build_dependency(
                    model, example_inputs=self.example, verbose=False)
        except Exception as error:  # whatever the user's forward pass raises
            raise PlanError(f"{type(model).__name__} cannot be traced with an image of shape "
                            f"{input_shape} ({_first_line(error)}).") from error
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
            for module, mode in modes.items():
                module.training = mode

    def survey(self, only: Collection[str] | None = None) -> Survey:
        """Every convolution and linear layer, as prunable or left alone with the reason.

        A layer is prunable when it alone produces its channels. Where several layers add into
        one residual stream, the stream keeps its width, as it does throughout the study.
        only: look at these names and no others, for speed.
        """
        prunable: dict[str, Prunable] = {}
        left_alone: dict[str, str] = {}
        for name, module in self.model.named_modules():
            if not isinstance(module, LAYERS):
                continue
            if only is not None and name not in only:
                continue
            if module not in self.graph.module2node:
                left_alone[name] = "not on the path from input to output"
                continue
            reason = self._obstacle(name, module)
            if reason:
                left_alone[name] = reason
            else:
                prunable[name] = Prunable(name, out_width(module))
        return Survey(prunable, left_alone)

    def members(self, module: nn.Module,
                channels: Sequence[int]) -> list[tuple[Any, list[int], bool]]:
        """What removing output `channels` of `module` touches: (module, its indices, whether
        they are output channels of that module; otherwise they are inputs)."""
        group = self._group(module, channels)
        return [(dep.target, list(idxs), self.graph.is_out_channel_pruning_fn(dep.handler))
                for dep, idxs in group]

    def remove(self, name: str, channels: Sequence[int]) -> None:
        """Cut output `channels` of the layer `name` and everything that goes with them."""
        module = self.model.get_submodule(name)
        group = self._group(module, channels)
        if not self.graph.check_pruning_group(group):
            raise PlanError(f"removing {len(channels)} of {out_width(module)} channels of {name} "
                            "would empty a layer; keep at least one.")
        group.prune()

    def _group(self, module: nn.Module, channels: Sequence[int]) -> Any:
        cut = self.graph.get_pruner_of_module(module).prune_out_channels
        return self.graph.get_pruning_group(module, cut, list(channels))

    def _obstacle(self, name: str, module: nn.Module) -> str | None:
        """Why the output channels of `module` cannot be removed one by one, or None."""
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
            if module.groups == module.in_channels == module.out_channels:
                return "depthwise convolution: follows the layer that feeds it"
            return f"grouped convolution with {module.groups} groups"
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            return "transposed convolution, which the kit's scores do not cover"
        others = []
        for node, _, is_output in self.members(module, range(out_width(module))):
            part = node.module
            if isinstance(part, nn.Parameter):
                return "meets a parameter outside any layer, which cannot be cut safely"
            if is_output and not node.outputs:
                return "its channels are the network's output"
            if isinstance(part, nn.modules.conv._ConvNd) and part is not module:
                depthwise = part.groups == part.in_channels == part.out_channels
                if part.groups > 1 and not depthwise:
                    return f"feeds {self.names[part]}, a grouped convolution"
                if is_output and part.groups == 1:
                    others.append(self.names[part])
            if isinstance(part, nn.Linear) and is_output and part is not module:
                others.append(self.names[part])
            if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                return f"feeds {self.names[part]}, which normalises over channels"
            if any(id(p) in self.shared for p in part.parameters()):
                return "meets a weight that several layers share"
        if others:
            shown = ", ".join(sorted(set(others))[:2])
            return f"shares its channels through a sum with {shown}"
        return None


def survey(model: nn.Module, input_shape: Shape) -> Survey:
    """What of `model` can be pruned, and what is left alone and why. The model is not changed."""
    return ChannelGraph(deepcopy(model), input_shape).survey()


def remove_channels(model: nn.Module, keep: Mapping[str, Sequence[int]],
                    input_shape: Shape) -> nn.Module:
    """A copy of `model` in which each layer of `keep` has only those output channels.

    keep: layer name to the indices kept, in ascending order. Raises PlanError for a layer that is
    not there or not prunable, indices out of range, none kept, or a cut that turned out
    otherwise than asked.
    """
    model = deepcopy(model)
    graph = ChannelGraph(model, input_shape)
    check_keep(graph, keep)
    removed = {name: sorted(set(range(out_width(model.get_submodule(name)))) - set(kept))
               for name, kept in keep.items()}
    reference = _ignoring_readers(graph, removed)
    widths = _widths(model)
    expected = _expected_widths(graph, keep)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    for name, channels in removed.items():
        if channels:
            graph.remove(name, channels)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)  # the cut makes new, trainable parameters
    _check_cut(model, widths | expected, graph.example, reference)
    return model


def silence_channels(model: nn.Module, keep: Mapping[str, Sequence[int]],
                     input_shape: Shape) -> nn.Module:
    """A copy of `model`, full width, in which the channels that are not kept output zero.

    Sets to zero the filters, biases, and normalisation scales and shifts of each such channel.
    In evaluation mode it computes what `remove_channels` computes, wherever zero stays zero on
    the way to the next layer (ReLU, pooling, dropout; not a sigmoid or a layer normalisation).
    """
    model = deepcopy(model)
    graph = ChannelGraph(model, input_shape)
    check_keep(graph, keep)
    with torch.no_grad():
        for name, kept in keep.items():
            layer = model.get_submodule(name)
            removed = sorted(set(range(out_width(layer))) - set(kept))
            for node, indices, is_output in graph.members(layer, removed) if removed else []:
                part = node.module
                if is_output and isinstance(part, nn.Module):
                    for value in (getattr(part, "weight", None), getattr(part, "bias", None)):
                        if isinstance(value, Tensor):
                            value[indices] = 0
    return model


def check_keep(graph: ChannelGraph, keep: Mapping[str, Sequence[int]]) -> None:
    """Raises PlanError unless every layer of `keep` is prunable and keeps a valid set."""
    found = graph.survey(keep)
    for name, kept in keep.items():
        if name in found.left_alone:
            raise PlanError(f"layer {name!r} cannot be pruned: {found.left_alone[name]}.")
        if name not in found.prunable:
            raise unknown_name("layer", name, graph.survey().prunable, PlanError)
        width = found.prunable[name].width
        if len(kept) == 0:
            raise PlanError(f"the plan keeps none of the {width} channels of {name}; "
                            "keep at least one.")
        if list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= width:
            raise PlanError(f"the channels kept in {name} must be distinct, ascending and from "
                            f"0 to {width - 1}, got {_some(kept)}.")


def out_width(module: nn.Module) -> int:
    """Number of output channels of a convolution or linear layer."""
    width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return int(width)  # type: ignore[arg-type]


def _widths(model: nn.Module) -> dict[str, int]:
    return {name: out_width(module) for name, module in model.named_modules()
            if isinstance(module, LAYERS)}


def _expected_widths(graph: ChannelGraph, keep: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Width after the cut of each planned layer and of the depthwise layers that follow it."""
    expected = {}
    for name, kept in keep.items():
        layer = graph.model.get_submodule(name)
        expected[name] = len(kept)
        for node, _, is_output in graph.members(layer, range(out_width(layer))):
            if is_output and isinstance(node.module, nn.modules.conv._ConvNd):
                expected[graph.names[node.module]] = len(kept)
    return expected


def _ignoring_readers(graph: ChannelGraph, removed: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of the network in which the layers that read the channels give them no weight:
    what the network without them must compute."""
    reference = deepcopy(graph.model)
    with torch.no_grad():
        for name, channels in removed.items():
            layer = graph.model.get_submodule(name)
            for node, indices, is_output in graph.members(layer, channels) if channels else []:
                if not is_output and isinstance(node.module, LAYERS):
                    reader = reference.get_submodule(graph.names[node.module])
                    weight = reader.weight
                    assert isinstance(weight, Tensor)
                    if isinstance(reader, nn.modules.conv._ConvTransposeNd):
                        weight[indices] = 0
                    else:
                        weight[:, indices] = 0
    return reference


def _check_cut(model: nn.Module, expected: Mapping[str, int], example: Tensor,
               reference: nn.Module) -> None:
    for name, width in _widths(model).items():
        if width != expected[name]:
            raise PlanError(f"after the cut {name} has {width} channels where the plan says "
                            f"{expected[name]}; this network's layers are coupled in a way the "
                            "dependency graph does not describe.")
    draws = torch.Generator().manual_seed(0)
    image = torch.randn(example.shape, generator=draws).to(example.device)
    with evaluating(reference):
        before = reference(image)
    try:
        with evaluating(model):
            after = model(image)
    except Exception as error:  # whatever the user's forward pass raises
        raise PlanError(f"the pruned {type(model).__name__} does not run "
                        f"({_first_line(error)}); its forward pass seems to rely on fixed "
                        "widths.") from error
    if not isinstance(before, Tensor) or not torch.isfinite(before).all():
        return  # nothing to compare
    if after.shape != before.shape:
        raise PlanError(f"the pruned network's output has shape {tuple(after.shape)} instead of "
                        f"{tuple(before.shape)}.")
    if (after - before).abs().max() > AGREEMENT * before.abs().max():
        raise PlanError(f"the pruned {type(model).__name__} does not compute what the full one "
                        "computes without those channels; its forward pass mixes channels in a "
                        "way the dependency graph does not describe.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _some(items: Any, count: int = 4) -> str:
    listed = list(items)
    more = ", ..." if len(listed) > count else ""
    return ", ".join(str(item) for item in listed[:count]) + more
