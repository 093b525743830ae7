"""Which channels a batch normalisation scales: a layer's own, or a stream that others read."""

from __future__ import annotations

from dataclasses import dataclass

import torch_pruning as tp
from torch import nn

from rethinklab.errors import PlanError
from rethinklab.pruners.graph import LAYERS, ChannelGraph, Survey
from rethinklab.pruners.surgery import in_width

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
             if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.weight is not None]
    if not norms:
        raise PlanError(f"{type(graph.model).__name__} has no batch normalisation with scales, "
                        "which network slimming prunes by; use another method, such as l1.")
    survey = graph.survey()
    found, left_alone = [], {}
    for name, norm in norms:
        if norm not in graph.graph.module2node:
            left_alone[name] = "not on the path from input to output"
            continue
        node = graph.graph.module2node[norm]
        producer = _only_producer(graph, node, survey)
        readers = None if producer else _readers(graph, node, norm.num_features)
        if producer:
            found.append(ScaledChannels(name, producer, {}))
        elif readers:
            found.append(ScaledChannels(name, None, readers))
        else:
            left_alone[name] = ("its channels join a sum or follow another layer's, so that no "
                                "layer could stop reading one")
    if not found:
        raise PlanError(f"no batch normalisation of {type(graph.model).__name__} scales channels "
                        "that can be removed one by one; use another method, such as l1.")
    return found, left_alone


def own_norms(graph: ChannelGraph) -> list[ScaledChannels]:
    """The batch normalisations that belong to one prunable layer each; none is no error."""
    survey = graph.survey()
    found = []
    for name, norm in graph.model.named_modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.weight is not None \
                and norm in graph.graph.module2node:
            producer = _only_producer(graph, graph.graph.module2node[norm], survey)
            if producer:
                found.append(ScaledChannels(name, producer, {}))
    return found


def _only_producer(graph: ChannelGraph, node: tp.dependency.Node, survey: Survey) -> str | None:
    """The prunable layer that feeds the normalisation and nothing else."""
    if len(node.inputs) != 1 or len(node.inputs[0].outputs) != 1:
        return None
    name = graph.names.get(node.inputs[0].module)
    return name if name in survey.prunable else None


def _readers(graph: ChannelGraph, node: tp.dependency.Node, width: int) -> dict[str, int] | None:
    """The ungrouped layers that alone see the output of `node`; None where something else does."""
    readers: dict[str, int] = {}
    waiting = list(node.outputs)
    while waiting:
        after = waiting.pop()
        if isinstance(after.module, LAYERS):
            if getattr(after.module, "groups", 1) != 1 or in_width(after.module) % width:
                return None
            readers[graph.names[after.module]] = in_width(after.module) // width
        elif after.type in PASSING and len(after.inputs) == 1 and after.outputs:
            waiting += after.outputs
        else:
            return None
    return readers
