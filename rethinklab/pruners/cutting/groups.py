"""Groups of a grouped convolution as structures: which there are, and what goes with one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.norms import NORMS, readers_after

SINGLE = (tp.ops.OPTYPE.ELEMENTWISE, tp.ops.OPTYPE.BN)


@dataclass(frozen=True)
class GroupedLayer:
    """A grouped convolution whose groups can go one by one.

    name: of the convolution. scaled: the normalisation that alone follows it, or itself. feeding:
    the layers, a convolution and its normalisation, that produce its input and nothing else's.
    readers: the layers that alone read its output, with their inputs for each channel.
    """

    name: str
    scaled: str
    groups: int
    feeding: tuple[str, ...]
    readers: dict[str, int]


def grouped_layers(graph: ChannelGraph) -> list[GroupedLayer]:
    """The grouped convolutions of a network that are neither depthwise nor read by others than
    ungrouped layers, as those of ResNeXt (Xie et al., CVPR 2017)."""
    found = []
    for name, conv in graph.model.named_modules():
        if not isinstance(conv, nn.Conv2d) or not 1 < conv.groups < conv.in_channels:
            continue
        if conv not in graph.graph.module2node:
            continue
        node, scaled = graph.graph.module2node[conv], name
        if len(node.outputs) == 1 and isinstance(node.outputs[0].module, NORMS):
            node = node.outputs[0]
            scaled = graph.names[node.module]
        readers = readers_after(graph, node, conv.out_channels)
        if readers:
            found.append(GroupedLayer(name, scaled, conv.groups,
                                      _feeding(graph, graph.graph.module2node[conv]), readers))
    return found


def group_masks(model: nn.Module, layer: GroupedLayer, dead: Collection[int]) -> dict[str, Tensor]:
    """Masks over parameters, False for all that the groups `dead` own: their filters, scales and
    shifts, the channels that feed them, and the weights by which others read them."""
    parameters = dict(model.named_parameters())
    masks: dict[str, Tensor] = {}

    def forbid(module: str, part: str, dim: int, channels: list[int]) -> None:
        name = f"{module}.{part}"
        if channels and name in parameters:
            whole = torch.ones_like(parameters[name], dtype=torch.bool)
            masks.setdefault(name, whole).index_fill_(
                dim, torch.tensor(channels, device=whole.device), False)

    conv = model.get_submodule(layer.name)
    assert isinstance(conv, nn.Conv2d)
    outs = channels_of(conv.out_channels, layer.groups, dead)
    for module in {layer.name, layer.scaled}:
        for part in ("weight", "bias"):
            forbid(module, part, 0, outs)
    for module in layer.feeding:
        for part in ("weight", "bias"):
            forbid(module, part, 0, channels_of(conv.in_channels, layer.groups, dead))
    for reader, each in layer.readers.items():
        forbid(reader, "weight", 1, [c * each + k for c in outs for k in range(each)])
    return masks


def channels_of(channels: int, groups: int, chosen: Collection[int]) -> list[int]:
    """The channels that belong to the groups `chosen`."""
    return [channel for channel in range(channels) if channel * groups // channels in chosen]


def _feeding(graph: ChannelGraph, node: tp.dependency.Node) -> tuple[str, ...]:
    """From a grouped convolution back to the layer that produces its input for it alone."""
    passed: list[str] = []
    while len(node.inputs) == 1 and len(node.inputs[0].outputs) == 1:
        node = node.inputs[0]
        if isinstance(node.module, nn.Conv2d):
            return (*passed, graph.names[node.module]) if node.module.groups == 1 else ()
        if node.type not in SINGLE:
            break
        if node.module in graph.names:
            passed.append(graph.names[node.module])
    return ()
