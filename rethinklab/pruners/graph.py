"""Which layers of a traced network share channels, on Torch-Pruning's dependency graph.

Torch-Pruning knows what goes together. What it does not do is refuse: it will prune nothing, or
more than asked, without a word. Here what cannot be pruned is named together with the reason.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from rethinklab.errors import PlanError, first_line
from rethinklab.models.selection import SelectConv2d, SelectLinear

Shape = tuple[int, int, int]
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
        self.sums: dict[str, set[str]] = {}  # layers that add up, by each of their names
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
                            f"{input_shape} ({first_line(error)}).") from error
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
        if name in self.sums:
            return _shares(self.sums[name] - {name})
        others = set()
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


def survey(model: nn.Module, input_shape: Shape) -> Survey:
    """What of `model` can be pruned, and what is left alone and why. The model is not changed."""
    return ChannelGraph(deepcopy(model), input_shape).survey()


def _shares(others: Collection[str]) -> str:
    return f"shares its channels through a sum with {', '.join(sorted(others)[:2])}"


def out_width(module: nn.Module) -> int:
    """Number of output channels of a convolution or linear layer."""
    width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return int(width)  # type: ignore[arg-type]
