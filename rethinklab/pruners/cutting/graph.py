"""Which layers of a traced network share channels, on Torch-Pruning's dependency graph.

Torch-Pruning knows what goes together. What it does not do is refuse: it will prune nothing, or
more than asked, without a word. Here what cannot be pruned is named together with the reason.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning._helpers import _HybridIndex as Index
from torch_pruning.dependency import index_mapping, shape_infer

from rethinklab.errors import PlanError, first_line
from rethinklab.models.copying import computed_weights
from rethinklab.models.selection import SelectConv2d, SelectLinear
from rethinklab.pruners.cutting.layers import (
    LAYERS,
    Shape,
    in_width,
    layers_run,
    out_width,
    undisturbed,
)

# What moves channels about without naming them; a layer read through one of these may be misread.
REARRANGING = ("PixelShuffle", "PixelUnshuffle", "Col2Im", "Im2Col", "Unfold", "Permute",
               "Transpose", "Roll", "Gather", "Index", "Flip")


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


@dataclass
class Member:
    """What goes with the channels of a layer: the `channels` of a node of the graph, each with
    the output channel of that layer that takes it along (`roots`), as outputs of the node's
    module or as inputs."""

    node: tp.dependency.Node
    handler: Callable[..., Any]
    is_output: bool
    channels: list[int]
    roots: list[int]


class _Dependencies(tp.DependencyGraph):
    """Torch-Pruning's graph, in which a reshape that it cannot follow (of a channel shuffle, say)
    counts as one that leaves channels in place, instead of ending the trace. Whether they are in
    place is found out later, by computation."""

    def _build_dependency(self, module2node: dict[nn.Module, tp.dependency.Node]) -> None:
        super()._build_dependency(module2node)
        shape_infer.init_shape_information(self)
        for node in module2node.values():
            if node.type == tp.ops.OPTYPE.RESHAPE:
                try:
                    index_mapping.update_reshape_index_mapping(self, node)
                except (ArithmeticError, TypeError, IndexError):
                    node.type = tp.ops.OPTYPE.ELEMENTWISE


class ChannelGraph:
    """Which layers of `model` share channels, traced with black images of `input_shape`.

    A network in which more layers run in training than in testing (auxiliary heads, say) is traced
    in training mode, so that they are seen. Works on the model it is given: pass a copy. Raises
    PlanError where tracing fails.
    """

    def __init__(self, model: nn.Module, input_shape: Shape) -> None:
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.sums: dict[str, set[str]] = {}  # layers that add up, by each of their names
        counts = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        self.shared = {key for key, count in counts.items() if count > 1}
        self.computed = computed_weights(model)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.example = torch.zeros(1, *input_shape, device=device)
        self.proven: Survey | None = None  # by trials, see `probe.prove`
        self._members: dict[str, list[Member]] = {}
        try:
            self.only_training = layers_run(model, self.example, training=True) \
                - layers_run(model, self.example)
            self.graph = self._trace()
        except Exception as error:  # whatever the user's forward pass raises
            raise PlanError(f"{type(model).__name__} cannot be traced with an image of shape "
                            f"{input_shape} ({first_line(error)}).") from error

    def _trace(self) -> tp.DependencyGraph:
        """The graph, with the model as before: its modes, statistics and flags."""
        model = self.model
        frozen = [p for p in model.parameters() if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)  # the graph is read off autograd's

        def run(model: nn.Module, images: Tensor) -> Any:
            model.train(bool(self.only_training))
            return model(torch.cat([images, images]) if self.only_training else images)

        try:
            with warnings.catch_warnings(), torch.enable_grad(), undisturbed(model):
                warnings.simplefilter("ignore")  # judged below, layer by layer
                return _Dependencies().build_dependency(
                    model, example_inputs=self.example, forward_fn=run, verbose=False)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)

    def survey(self, only: Collection[str] | None = None) -> Survey:
        """Every convolution and linear layer, as prunable or left alone with the reason, as far as
        the graph can tell (see `rethinklab.pruners.cutting.probe` for what it cannot).

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
        chosen = set(channels)
        touched = []
        for member in self.group(self.names[module]):
            indices = [channel for channel, root in zip(member.channels, member.roots, strict=True)
                       if root in chosen]
            if indices:
                touched.append((member.node, indices, member.is_output))
        return touched

    def group(self, name: str) -> list[Member]:
        """All that goes with the output channels of the layer `name`, itself first."""
        if name not in self._members:
            self._members[name] = self._follow(self.model.get_submodule(name))
        return self._members[name]

    def _follow(self, module: nn.Module) -> list[Member]:
        """Raises PlanError where channels turn out not to go one by one."""
        start = self.graph.get_pruner_of_module(module).prune_out_channels
        found: dict[tuple[int, Any], Member] = {}
        roots: dict[tuple[int, Any], dict[int, int]] = {}
        waiting = [(self.graph.module2node[module], start,
                    [Index(idx=i, root_idx=i) for i in range(out_width(module))])]
        while waiting:
            node, handler, indices = waiting.pop()
            key = (id(node), handler)
            seen = roots.setdefault(key, {})
            new = [index for index in indices if index.idx not in seen]
            seen.update(new)
            is_output = self.graph.is_out_channel_pruning_fn(handler)
            self._check_alone(module, node, is_output, indices, seen)
            if not new:
                continue
            member = found.setdefault(key, Member(node, handler, is_output, [], []))
            member.channels += [index.idx for index in new]
            member.roots += [index.root_idx for index in new]
            for dependency in node.dependencies:
                if dependency.is_triggered_by(handler):
                    arriving = _arriving(dependency, new)
                    if arriving:
                        waiting.append((dependency.target, dependency.handler, arriving))
        return list(found.values())

    def _check_alone(self, module: nn.Module, node: tp.dependency.Node, is_output: bool,
                     indices: Sequence[Index], roots: Mapping[int, int]) -> None:
        """Raises PlanError unless each of the channels that `indices` pairs with a channel of
        `module` is there in the node's module and goes with that one alone."""
        part = node.module
        if not isinstance(part, LAYERS):
            return
        if part is module and is_output and any(idx != root for idx, root in indices):
            raise PlanError("its channels go together in groups, as those of fused queries, keys "
                            "and values do")
        if any(roots[idx] != root for idx, root in indices):
            raise PlanError(f"{self.names[part]} reads several of its channels as one, so that "
                            "none can go alone")
        width = (out_width if is_output else in_width)(part)
        if any(not 0 <= idx < width for idx, _ in indices):
            raise PlanError(f"its channels cannot be followed to {self.names[part]}, which reads "
                            "them")

    def cut(self, keep: Mapping[str, Sequence[int]]) -> None:
        """Remove from the model, in place, all but the channels `keep` of each of its layers, and
        what goes with them. Raises PlanError where that would empty a layer."""
        gone: dict[tuple[int, Any], tuple[Member, set[int]]] = {}
        for name, kept in keep.items():
            removed = set(range(out_width(self.model.get_submodule(name)))) - set(kept)
            for member in self.group(name) if removed else []:
                _, channels = gone.setdefault((id(member.node), member.handler), (member, set()))
                channels.update(channel for channel, root
                                in zip(member.channels, member.roots, strict=True)
                                if root in removed)
        for member, channels in gone.values():
            width = (self.graph.get_out_channels if member.is_output
                     else self.graph.get_in_channels)(member.node)
            if member.node.module in self.names and width is not None and width <= len(channels):
                raise PlanError(f"the cut would empty {self.names[member.node.module]}; keep at "
                                "least one channel of each layer.")
        for member, channels in gone.values():
            if member.node.module in self.names and channels:
                member.handler.__self__.pruning_dim = member.node.pruning_dim  # type: ignore[attr-defined]
                member.handler(member.node.module, sorted(channels))

    def between(self, name: str) -> list[str]:
        """The operations that may rearrange the channels of the layer `name` before others read
        them, by the names that autograd has for them."""
        waiting = list(self.graph.module2node[self.model.get_submodule(name)].outputs)
        passed, found = set(), []
        while waiting:
            node = waiting.pop()
            if node in passed or isinstance(node.module, LAYERS):
                continue
            passed.add(node)
            waiting += node.outputs
            operation = type(node.grad_fn).__name__.split("Backward")[0]
            if operation in REARRANGING and operation not in found:
                found.append(operation)
        return found

    def _obstacle(self, name: str, module: nn.Module) -> str | None:
        """Why the output channels of `module` cannot be removed one by one, or None."""
        if module in self.computed:
            return self.computed[module]
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
            if module.groups == module.in_channels == module.out_channels:
                return "depthwise convolution: follows the layer that feeds it"
            return f"grouped convolution with {module.groups} groups"
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            return "transposed convolution, which the kit's scores do not cover"
        if name in self.sums:
            return _shares(self.sums[name] - {name})
        try:
            members = self.group(name)
        except PlanError as error:
            return str(error)
        return self._joined(name, module, members)

    def _joined(self, name: str, module: nn.Module, members: list[Member]) -> str | None:
        """What the channels of `module` meet on their way that forbids to remove them, or None."""
        others = set()
        for member in members:
            node, is_output = member.node, member.is_output
            part = node.module
            if isinstance(part, nn.Parameter):
                return "meets a parameter outside any layer, which cannot be cut safely"
            if is_output and not node.outputs:
                return "its channels are the network's output"
            if part in self.computed and part is not module:
                return f"reaches {self.names[part]}, and {self.computed[part]}"
            if isinstance(part, nn.modules.conv._ConvNd) and part is not module:
                depthwise = part.groups == part.in_channels == part.out_channels
                if part.groups > 1 and not depthwise:
                    return f"feeds {self.names[part]}, a grouped convolution"
                if is_output and part.groups == 1:
                    others.add(self.names[part])
            if isinstance(part, nn.Linear) and is_output and part is not module:
                others.add(self.names[part])
            if isinstance(part, (SelectConv2d, SelectLinear)) and not is_output:
                return f"feeds {self.names[part]}, which reads a selection of its channels"
            if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                return f"feeds {self.names[part]}, which normalises over channels"
            if any(id(p) in self.shared for p in part.parameters()):
                return "meets a weight that several layers share"
        if others:
            self.sums |= dict.fromkeys(others | {name}, others | {name})
            return _shares(others)
        return None


def _arriving(dependency: tp.dependency.Dependency, indices: list[Index]) -> list[Index]:
    """Where the channels `indices` of one node are in the next."""
    try:
        for mapping in dependency.index_mapping:
            indices = indices if mapping is None else mapping(indices)
    except (ArithmeticError, IndexError, TypeError) as error:
        operation = type(dependency.target.grad_fn).__name__.split("Backward")[0]
        raise PlanError(f"its channels cannot be followed through {operation}") from error
    return indices


def _shares(others: Collection[str]) -> str:
    return f"shares its channels through a sum with {', '.join(sorted(others)[:2])}"
