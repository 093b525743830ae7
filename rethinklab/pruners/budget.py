"""Budgets as targets: "macs:0.5", "params:0.3". What a network costs at given widths, without
cutting it, and the widths that meet a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating, layer_macs
from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.graph import LAYERS, ChannelGraph, Shape, out_width

KINDS = ("macs", "params")
TOLERANCE = 0.02  # of the budget


@dataclass(frozen=True)
class Budget:
    """kind: "macs" or "params". share: of the unpruned network's that may be left."""

    kind: str
    share: float


def parse_budget(target: Any) -> Budget | None:
    """The budget that a target such as "macs:0.5" states; None for targets of other forms.

    Raises PlanError for an unknown kind or a share that is not between 0 and 1.
    """
    if not isinstance(target, str) or ":" not in target:
        return None
    kind, _, text = target.partition(":")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if kind not in KINDS or not 0 < share < 1:
        raise PlanError(f"budget {target!r} must be macs:SHARE or params:SHARE with a share "
                        "between 0 and 1, that which is left of the unpruned network.")
    return Budget(kind, share)


class CostModel:
    """Parameters and multiply-adds of `model` when its layers have other widths.

    layers: those whose output channels may go. The answer is what `profile` would count on the
    pruned network, from one forward pass through the unpruned one.
    """

    def __init__(self, model: nn.Module, input_shape: Shape, layers: Mapping[str, int]) -> None:
        graph = ChannelGraph(duplicate(model), input_shape)
        names = graph.names
        self.full = dict(layers)
        # for each layer: who has it among its outputs or inputs, and how many entries a channel
        self.outputs: dict[str, dict[str, int]] = {}
        self.inputs: dict[str, dict[str, int]] = {}
        for name in layers:
            for node, indices, is_output in graph.members(graph.model.get_submodule(name), [0]):
                if node.module in names:
                    table = self.outputs if is_output else self.inputs
                    table.setdefault(names[node.module], {})[name] = len(indices)
        self.shapes = {name: (module.weight, module.bias, positions) for name, module, positions
                       in measured_layers(graph.model, input_shape)}
        counted = set(self.shapes)
        self.norms = {name: sum(p.numel() for p in module.parameters()) // width
                      for name, module in graph.model.named_modules()
                      if name in self.outputs and name not in counted
                      and (width := _channels(module))}
        self.params = sum(p.numel() for p in graph.model.parameters())

    def __call__(self, counts: Mapping[str, int],
                 read: Mapping[str, int] | None = None) -> dict[str, int]:
        """{"params", "macs"} with layers at `counts` channels (those not named at full width) and
        readers of a selection at `read` inputs."""
        gone = {name: width - counts.get(name, width) for name, width in self.full.items()}

        def lost(table: Mapping[str, Mapping[str, int]], name: str) -> int:
            return sum(gone[source] * each for source, each in table.get(name, {}).items())

        params, macs = self.params, 0
        for name, (weight, bias, positions) in self.shapes.items():
            outs, ins = weight.shape[0], weight.shape[1]
            kernel = weight[0, 0].numel()
            new_outs = outs - lost(self.outputs, name)
            new_ins = (read or {}).get(name, ins - lost(self.inputs, name))
            change = new_outs * new_ins * kernel - weight.numel()
            params += change + (0 if bias is None else new_outs - outs)
            macs += new_outs * new_ins * kernel * positions
        for name, each in self.norms.items():
            params -= each * lost(self.outputs, name)
        return {"params": params, "macs": macs}


def meet_budget(model: nn.Module, input_shape: Shape, budget: Budget,
                layers: Mapping[str, int]) -> dict[str, int]:
    """Channels to keep of each layer so that `budget` is met by one ratio for all, to the nearest
    channel: below that ratio's step, layers give up their next channel one after the other.

    Raises PlanError where the budget is out of reach.
    """
    cost = CostModel(model, input_shape, layers)

    def price(kept: Mapping[str, int]) -> int:
        return cost(kept)[budget.kind]

    best = nearest_even(layers, price, budget.share * price({}))
    check_reached(budget, price(best), price({}))
    return best


def nearest_even(layers: Mapping[str, int], price: Callable[[Mapping[str, int]], int],
                 goal: float) -> dict[str, int]:
    """Channels to keep of each layer by one ratio for all, at a price nearest to `goal`, to the
    nearest channel: below that ratio's step, layers give up their next channel one after the
    other. price: of channels kept, those of layers not named being all."""
    steps = even_counts(layers)
    above = last_above(lambda step: price(steps[step]), len(steps), goal)
    best = kept = steps[above]
    lower = steps[min(above + 1, len(steps) - 1)]
    for name in layers:
        if lower[name] < kept[name]:
            kept = kept | {name: lower[name]}
            best = min(best, kept, key=lambda k: abs(price(k) - goal))
    return best


def even_counts(layers: Mapping[str, int]) -> list[dict[str, int]]:
    """Channels to keep of each layer at every ratio, one for all, at which any layer loses its
    next channel: from all of them downwards."""
    ratios = sorted({cut / width for width in layers.values() for cut in range(width)})
    return [{name: max(1, width - int(ratio * width + 1e-9)) for name, width in layers.items()}
            for ratio in ratios]


def last_above(price: Callable[[int], float], steps: int, goal: float) -> int:
    """The last of `steps` falling prices that is at least `goal` (0 where none is)."""
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if price(middle) >= goal else (low, middle)
    return low


def check_reached(budget: Budget, got: float, full: float) -> None:
    """Raises PlanError where `got` misses the budget by more than the tolerance."""
    if abs(got / full - budget.share) > TOLERANCE * max(budget.share, 0.1):
        raise PlanError(f"a budget of {budget.share:g} of the {budget.kind} cannot be met within "
                        f"{TOLERANCE:.0%}; the nearest that pruning these layers reaches is "
                        f"{got / full:.3f}.")


def measured_layers(model: nn.Module, input_shape: Shape) -> list[tuple[str, Any, int]]:
    """(name, layer, output positions of one image) of each convolution and linear layer that runs,
    in order."""
    found: list[tuple[str, Any, int]] = []
    names = {module: name for name, module in model.named_modules()}

    def record(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module.weight, Tensor)
        found.append((names[module], module,
                      layer_macs(module, output) // module.weight.numel()))

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, LAYERS)]
    try:
        with evaluating(model) as device:
            model(torch.zeros(1, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _channels(module: nn.Module) -> int:
    """How many channels a layer with a parameter for each has; 0 for others."""
    if isinstance(module, LAYERS):
        return out_width(module)
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, Tensor) and weight.ndim == 1 else 0
