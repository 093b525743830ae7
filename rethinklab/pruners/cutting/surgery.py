"""Physical removal of channels, channel selections and residual branches, checked.

Every cut is compared with what the full network computes without those channels: a wrong index or
a forward pass that mixes channels behind the dependency graph's back is an error, not a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.errors import PlanError, first_line, unknown_name
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import logits
from rethinklab.models.residual import remove_branch, residual_branches
from rethinklab.models.selection import SelectConv2d, SelectLinear
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import LAYERS, Shape, in_width, out_width
from rethinklab.seeds import generator, global_stream

AGREEMENT = 1e-3  # of the largest output: far above rounding, far below a wrong channel
Channels = Mapping[str, Sequence[int]]


def remove_channels(model: nn.Module, keep: Channels, input_shape: Shape,
                    read: Channels | None = None, branches: Sequence[str] = ()) -> nn.Module:
    """A copy of `model` in which each layer of `keep` has only those output channels.

    keep: layer name to the indices kept, in ascending order. read: layer name to the channels of
    its input that it goes on reading, for streams that keep their width. branches: residual
    blocks that lose their branch (entries of layers inside are then ignored).
    Raises PlanError for a layer that is not there or not prunable, indices out of range, none
    kept, or a cut that turned out otherwise than asked.
    """
    model = duplicate(model)
    keep, read = _cut_branches(model, keep, read or {}, branches)
    graph = ChannelGraph(model, input_shape)
    check_keep(graph, keep)
    check_read(graph, keep, read)
    reference = _ignoring_readers(graph, keep, read)
    widths = _widths(model)
    expected = _expected_widths(graph, keep)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    graph.cut(keep)
    for name, chosen in read.items():
        select_inputs(model, name, chosen)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)  # the cut makes new, trainable parameters
    _check_cut(model, widths | expected, graph.example, reference)
    return model


def select_inputs(model: nn.Module, name: str, channels: Sequence[int]) -> None:
    """Replace the layer `name`, in place, by one that reads only those channels of its input."""
    layer = model.get_submodule(name)
    if in_width(layer) == len(channels):
        return
    index = torch.tensor(list(channels), dtype=torch.int64)
    parent, _, leaf = name.rpartition(".")
    selecting = (SelectLinear.from_linear(layer, index) if isinstance(layer, nn.Linear)
                 else SelectConv2d.from_conv(layer, index))  # type: ignore[arg-type]
    setattr(model.get_submodule(parent), leaf, selecting)


def check_keep(graph: ChannelGraph, keep: Channels) -> None:
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
        _check_indices(f"the channels kept in {name}", kept, width)


def check_read(graph: ChannelGraph, keep: Channels, read: Channels) -> None:
    """Raises PlanError unless every layer of `read` reads a valid part of an input that `keep`
    leaves at its width."""
    if not read:
        return
    modules = dict(graph.model.named_modules())
    cut = {graph.names[node.module] for name, kept in keep.items()
           if len(kept) < out_width(modules[name])
           for node, _, is_output in graph.members(modules[name], [0])
           if not is_output and isinstance(node.module, LAYERS)}
    for name, channels in read.items():
        layer = modules.get(name)
        if not isinstance(layer, (nn.Conv2d, nn.Linear)) or getattr(layer, "groups", 1) != 1:
            raise PlanError(f"{name!r} is not an ungrouped convolution or linear layer of "
                            f"{type(graph.model).__name__}, so it cannot read a selection.")
        if name in cut:
            raise PlanError(f"{name} loses inputs with the layer before it and cannot read a "
                            "selection as well.")
        if len(channels) == 0:
            raise PlanError(f"the plan lets {name} read none of its {in_width(layer)} inputs; "
                            "keep at least one.")
        _check_indices(f"the inputs read by {name}", channels, in_width(layer))


def _check_indices(what: str, chosen: Sequence[int], width: int) -> None:
    if list(chosen) != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= width:
        raise PlanError(f"{what} must be distinct, ascending and from 0 to {width - 1}, got "
                        f"{_some(chosen)}.")


def without(kept: Iterable[int], width: int) -> list[int]:
    """The indices from 0 to width - 1 that are not in `kept`."""
    return sorted(set(range(width)) - set(kept))


def _cut_branches(model: nn.Module, keep: Channels, read: Channels,
                  branches: Sequence[str]) -> tuple[Channels, Channels]:
    """Remove residual branches from `model` in place; what remains of `keep` and `read`."""
    if not branches:
        return keep, read
    known = residual_branches(model)
    for name in branches:
        if name not in known:
            raise unknown_name("residual block", name, known, PlanError)
        remove_branch(model, name)
    left = dict(model.named_modules())
    return ({name: kept for name, kept in keep.items() if isinstance(left.get(name), LAYERS)},
            {name: chosen for name, chosen in read.items() if isinstance(left.get(name), LAYERS)})


def _widths(model: nn.Module) -> dict[str, int]:
    return {name: out_width(module) for name, module in model.named_modules()
            if isinstance(module, LAYERS)}


def _expected_widths(graph: ChannelGraph, keep: Channels) -> dict[str, int]:
    """Width after the cut of each planned layer and of the depthwise layers that follow it."""
    expected = {}
    for name, kept in keep.items():
        layer = graph.model.get_submodule(name)
        expected[name] = len(kept)
        for node, _, is_output in graph.members(layer, range(out_width(layer))):
            if is_output and isinstance(node.module, nn.modules.conv._ConvNd):
                expected[graph.names[node.module]] = len(kept)
    return expected


def _ignoring_readers(graph: ChannelGraph, keep: Channels, read: Channels) -> nn.Module:
    """A copy of the network in which the layers that read the channels give them no weight:
    what the network without them must compute."""
    reference = duplicate(graph.model)
    forget_inputs(reference, graph, {
        name: without(kept, out_width(graph.model.get_submodule(name)))
        for name, kept in keep.items()})
    with torch.no_grad():
        for name, chosen in read.items():
            reader = reference.get_submodule(name)
            assert isinstance(reader.weight, Tensor)
            reader.weight[:, without(chosen, in_width(reader))] = 0
    return reference


def forget_inputs(model: nn.Module, graph: ChannelGraph, removed: Channels) -> None:
    """Let the layers of `model`, a copy of the graph's network, give no weight to the output
    channels `removed` of each layer, in place."""
    with torch.no_grad():
        for name, channels in removed.items():
            members = graph.members(graph.model.get_submodule(name), channels)
            for node, indices, is_output in members if channels else []:
                if not is_output and isinstance(node.module, LAYERS):
                    reader = model.get_submodule(graph.names[node.module])
                    weight = reader.weight
                    assert isinstance(weight, Tensor)
                    if isinstance(reader, nn.modules.conv._ConvTransposeNd):
                        weight[indices] = 0
                    else:
                        weight[:, indices] = 0


def _check_cut(model: nn.Module, expected: Mapping[str, int], example: Tensor,
               reference: nn.Module) -> None:
    """Raises PlanError unless `model` has the widths `expected`, computes on the CPU what the
    `reference` computes, and runs in training mode where the reference does."""
    for name, width in _widths(model).items():
        if width != expected[name]:
            raise PlanError(f"after the cut {name} has {width} channels where the plan says "
                            f"{expected[name]}; this network's layers are coupled in a way the "
                            "dependency graph does not describe.")
    images = torch.randn(2, *example.shape[1:], generator=generator(0, "cut"))
    model, reference = duplicate(model).cpu(), reference.cpu()  # a GPU rounds to ten bits
    with evaluating(reference):
        before = logits(reference(images))
    with evaluating(model):
        after = logits(_run(model, images, ""))
    if torch.isfinite(before).all():
        if after.shape != before.shape:
            raise PlanError(f"the pruned network's output has shape {tuple(after.shape)} instead "
                            f"of {tuple(before.shape)}.")
        if (after - before).abs().max() > AGREEMENT * before.abs().max():
            raise PlanError(f"the pruned {type(model).__name__} does not compute what the full "
                            "one computes without those channels; its forward pass mixes channels "
                            "in a way the dependency graph does not describe.")
    with torch.no_grad(), global_stream(0, "cut"):
        try:
            reference.train()(images)
        except Exception:  # the unpruned network does not train either, and says so in time
            return
        _run(model.train(), images, " in training mode")


def _run(model: nn.Module, images: Tensor, when: str) -> Any:
    try:
        return model(images)
    except Exception as error:  # whatever the user's forward pass raises
        raise PlanError(f"the pruned {type(model).__name__} does not run{when} "
                        f"({first_line(error)}); its forward pass seems to rely on fixed "
                        "widths.") from error


def _some(items: Any, count: int = 4) -> str:
    listed = list(items)
    more = ", ..." if len(listed) > count else ""
    return ", ".join(str(item) for item in listed[:count]) + more
