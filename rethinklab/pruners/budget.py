"""Budgets as targets: "macs:0.5", "params:0.3". What a network costs at given widths, without
cutting it, and the widths that meet a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rethinklab.analysis.cost import forward_pass
from rethinklab.analysis.operations import ForwardPass
from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import LAYERS, Shape, in_width, out_width
from rethinklab.pruners.cutting.surgery import remove_channels

KINDS = ("macs", "params")
TOLERANCE = 0.02  # of the budget
TRIES = 6


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
    pruned network, from one forward pass through the unpruned one: exactly, but for multiply-adds
    outside convolution and linear layers (attention, functions), which are taken to stay.
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
        found = forward_pass(graph.model, input_shape)
        self.uses = weight_uses(graph.model, found)
        self.layers: dict[str, Any] = {name: graph.model.get_submodule(name) for name in self.uses}
        self.elsewhere = found.macs - sum(  # attention, functions: taken to stay as it is
            self.uses[name] * layer.weight.numel() for name, layer in self.layers.items())
        self.norms = {name: sum(p.numel() for p in module.parameters()) // width
                      for name, module in graph.model.named_modules()
                      if name in self.outputs and name not in self.layers
                      and (width := _channels(module))}
        self.params = sum(p.numel() for p in graph.model.parameters())

    def __call__(self, counts: Mapping[str, int],
                 read: Mapping[str, int] | None = None) -> dict[str, int]:
        """{"params", "macs"} with layers at `counts` channels (those not named at full width) and
        readers of a selection at `read` inputs."""
        gone = {name: width - counts.get(name, width) for name, width in self.full.items()}

        def lost(table: Mapping[str, Mapping[str, int]], name: str) -> int:
            return sum(gone[source] * each for source, each in table.get(name, {}).items())

        params, macs = self.params, self.elsewhere
        for name, layer in self.layers.items():
            weights, outs, ins = layer.weight.numel(), out_width(layer), in_width(layer)
            new_outs = outs - lost(self.outputs, name)
            new_ins = (read or {}).get(name, ins - lost(self.inputs, name))
            if getattr(layer, "groups", 1) > 1:  # depthwise: a filter for each of its inputs
                left = weights // outs * new_outs
            else:
                left = weights // (outs * ins) * new_outs * new_ins
            params += left - weights + (0 if layer.bias is None else new_outs - outs)
            macs += left * self.uses[name]
        for name, each in self.norms.items():
            params -= each * lost(self.outputs, name)
        return {"params": params, "macs": macs}


def meet_budget(model: nn.Module, input_shape: Shape, budget: Budget,
                layers: Mapping[str, int]) -> dict[str, int]:
    """Channels to keep of each layer so that `budget` is met by one ratio for all, to the nearest
    channel: below that ratio's step, layers give up their next channel one after the other.

    What was chosen is cut and counted. Where it costs other than foreseen, as where attention or
    a layer over positions follows the widths too, what widths save is scaled by what they did
    save, and chosen anew. Raises PlanError where the budget is out of reach.
    """
    cost = CostModel(model, input_shape, layers)
    full = cost({})[budget.kind]
    scale = 1.0

    def price(kept: Mapping[str, int]) -> float:
        return full - scale * (full - cost(kept)[budget.kind])

    for _ in range(TRIES):
        best = nearest_even(layers, price, budget.share * full)
        foreseen = price(best)
        keep = {name: tuple(range(count)) for name, count in best.items()}
        got = cost_of(remove_channels(model, keep, input_shape), input_shape)[budget.kind]
        if foreseen == full or abs(got - foreseen) <= TOLERANCE / 10 * budget.share * full:
            break
        scale *= (full - got) / (full - foreseen)
    check_reached(budget, got, full)
    return best


def cost_of(model: nn.Module, input_shape: Shape) -> dict[str, int]:
    """{"params", "macs"} of `model` as it is."""
    return {"params": sum(p.numel() for p in model.parameters()),
            "macs": forward_pass(model, input_shape).macs}


def nearest_even(layers: Mapping[str, int], price: Callable[[Mapping[str, int]], float],
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
    """Raises PlanError where `got`, the nearest that can be had, misses the budget by more than
    the tolerance."""
    if not _meets(budget, got, full):
        raise PlanError(f"a budget of {budget.share:g} of the {budget.kind} cannot be met within "
                        f"{TOLERANCE:.0%}; the nearest that pruning these layers reaches is "
                        f"{got / full:.3f}.")


def check_left(budget: Budget, got: float, full: float) -> None:
    """Raises PlanError where `got`, what the cut network costs, misses the budget by more than the
    tolerance: its cost follows the widths in a way that was not foreseen."""
    if not _meets(budget, got, full):
        raise PlanError(f"a budget of {budget.share:g} of the {budget.kind} is missed: the cut "
                        f"network has {got / full:.3f} of them, because this network has parts "
                        "whose cost depends on the widths otherwise than convolutions and linear "
                        "layers, or zeros already; give ratios, {layer: ratio}, instead.")


def _meets(budget: Budget, got: float, full: float) -> bool:
    return abs(got / full - budget.share) <= TOLERANCE * max(budget.share, 0.1)


def weight_uses(model: nn.Module, found: ForwardPass) -> dict[str, int]:
    """How often one image meets each weight of each convolution and linear layer that runs, by
    name, in order: over all the places and all the runs of the layer."""
    names = {module: name for name, module in model.named_modules()}
    uses: dict[str, int] = {}
    for run in found.runs:
        if run.uses:
            uses[names[run.module]] = uses.get(names[run.module], 0) + run.uses
    return uses


def _channels(module: nn.Module) -> int:
    """How many channels a layer with a parameter for each has; 0 for others."""
    if isinstance(module, LAYERS):
        return out_width(module)
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, Tensor) and weight.ndim == 1 else 0
