"""Which channels a batch normalisation scales: a layer's own, or a stream that others read."""

from __future__ import annotations

from dataclasses import dataclass

import torch_pruning as tp
from torch import nn

from rethinklab.errors import PlanError
from rethinklab.pruners.cutting.graph import ChannelGraph, Survey
from rethinklab.pruners.cutting.layers import LAYERS, in_width
from rethinklab.pruners.cutting.probe import prove

NORMS = nn.modules.batchnorm._BatchNorm
PASSING = (tp.ops.OPTYPE.ELEMENTWISE, tp.ops.OPTYPE.RESHAPE)


@dataclass(frozen=True)
class ScaledChannels:
    """What goes with a channel of the batch normalisation `norm`.

    producer: the layer whose output channel can be removed, where the normalisation belongs to
    that layer alone; otherwise None. readers: the layers that then read a selection instead, of a
    residual or concatenated stream that keeps its width, with their inputs per channel.
    """

    norm: str
    producer: str | None
    readers: dict[str, int]


def scaled_channels(graph: ChannelGraph) -> tuple[list[ScaledChannels], dict[str, str]]:
    """Every batch normalisation whose channels can be pruned, in order, and why the others cannot.

    Raises PlanError for a network without batch normalisation.
    """
    norms = [(name, m) for name, m in graph.model.named_modules()
             if isinstance(m, NORMS) and m.weight is not None]
    if not norms:
        raise PlanError(f"{type(graph.model).__name__} has no batch normalisation with scales, "
                        "which network slimming prunes by; use another method, such as l1.")
    survey = prove(graph)
    owners = own_norms(graph, survey)
    losing = {id(node.module) for owner in owners.values() if owner.producer
              for node, _, is_output in graph.members(
                  graph.model.get_submodule(owner.producer), [0]) if not is_output}
    found, left_alone = [], {}
    for name, norm in norms:
        if norm not in graph.graph.module2node:
            left_alone[name] = "not on the path from input to output"
            continue
        readers = readers_after(graph, graph.graph.module2node[norm], norm.num_features)
        if name in owners:
            found.append(owners[name])
        elif readers and not any(id(graph.model.get_submodule(r)) in losing for r in readers):
            found.append(ScaledChannels(name, None, readers))
        else:
            left_alone[name] = ("its channels join a sum or a concatenation, or meet another "
                                "normalisation, so that none could go with its scale")
    if not found:
        raise PlanError(f"no batch normalisation of {type(graph.model).__name__} scales channels "
                        "that can be removed one by one; use another method, such as l1.")
    return found, left_alone


def own_norms(graph: ChannelGraph, survey: Survey) -> dict[str, ScaledChannels]:
    """By name, the batch normalisations that have the channels of one prunable layer, and are the
    last to scale them before others read them; none is no error."""
    found = {}
    for name, norm in graph.model.named_modules():
        if isinstance(norm, NORMS) and norm.weight is not None \
                and norm in graph.graph.module2node:
            producer = _only_producer(graph, norm, survey)
            if producer:
                found[name] = ScaledChannels(name, producer, {})
    return found


def _only_producer(graph: ChannelGraph, norm: nn.Module, survey: Survey) -> str | None:
    """The prunable layer whose channels reach others through `norm` alone, which no other
    normalisation follows: a channel that is zero here can go, and nothing changes."""
    node = graph.graph.module2node[norm]
    passed = {norm}
    while len(node.inputs) == 1 and len(node.inputs[0].outputs) == 1:
        node = node.inputs[0]
        name = graph.names.get(node.module)
        if name in survey.prunable:
            width = survey.prunable[name].width
            members = graph.members(node.module, range(width))
            scaling = {other.module for other, _, _ in members if isinstance(other.module, NORMS)}
            return name if scaling <= passed else None
        if node.type not in (*PASSING, tp.ops.OPTYPE.DEPTHWISE_CONV, tp.ops.OPTYPE.BN):
            return None
        passed.add(node.module)
    return None


def readers_after(graph: ChannelGraph, node: tp.dependency.Node,
                  width: int) -> dict[str, int] | None:
    """The ungrouped layers that alone see the output of `node`; None where something else does."""
    readers: dict[str, int] = {}
    waiting = list(node.outputs)
    while waiting:
        after = waiting.pop()
        if isinstance(after.module, LAYERS):
            if getattr(after.module, "groups", 1) != 1 or in_width(after.module) % width \
                    or after.module in graph.computed:
                return None
            readers[graph.names[after.module]] = in_width(after.module) // width
        elif after.type in PASSING and len(after.inputs) == 1 and after.outputs:
            waiting += after.outputs
        else:
            return None
    return readers
