"""Work of a training step that every layer does for itself, done for all layers at once.

In bfloat16, autocast casts the weights of every layer and casts every gradient back, and each
batch normalisation counts its own steps: three kernels a layer, each too small for a GPU. Here a
few kernels do it for all layers, with the same values. Worth it where the kernels are recorded
once and replayed; used by `rethinklab.trainers.step.GraphStep` alone.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

GATHER_VARIABLE = "RETHINKLAB_GATHER"  # "0": every layer for itself
CAST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # what autocast computes in bfloat16
COUNTING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Gathered:
    """The weights that autocast would cast, and the counters of batch normalisation, of `model`.

    half: whether the step computes in bfloat16. Layers of classes derived from torch's own are left
    as they are, for their forward pass may be another.
    """

    def __init__(self, model: nn.Module, half: bool) -> None:
        wanted = os.environ.get(GATHER_VARIABLE) != "0"
        self.half = half and wanted
        self.layers = [m for m in model.modules() if type(m) in CAST] if self.half else []
        self.norms = [m for m in model.modules() if type(m) in COUNTING] if wanted else []
        self.held: list[tuple[nn.Module, str, nn.Parameter, Tensor]] = []
        self.counters: list[tuple[nn.Module, Tensor]] = []

    @torch.no_grad()
    def take(self) -> None:
        """Cast all weights and count the step. Until `give_back` the layers hold the cast weights,
        and the normalisations no counters."""
        for norm in self.norms:  # one that averages over all its steps needs its own counter
            if norm.training and norm.track_running_stats and norm.momentum is not None:
                self.counters.append((norm, norm.num_batches_tracked))  # type: ignore[arg-type]
                norm._buffers["num_batches_tracked"] = None
        if self.counters:
            torch._foreach_add_([counter for _, counter in self.counters], 1)
        casts: dict[int, Tensor] = {}  # by the weight: layers may share one
        fulls: list[Tensor] = []
        for layer in self.layers:
            for name, full in layer._parameters.items():
                if full is None or full.dtype != torch.float32:
                    continue
                if id(full) not in casts:
                    casts[id(full)] = torch.empty_like(full, dtype=torch.bfloat16)
                    fulls.append(full)
                self.held.append((layer, name, full, casts[id(full)]))
        if fulls:
            torch._foreach_copy_(list(casts.values()), fulls)
        for layer, name, full, half in self.held:
            half.requires_grad_(full.requires_grad)
            layer._parameters[name] = half  # type: ignore[assignment]

    @torch.no_grad()
    def give_back(self) -> None:
        """Put all back as it was, the weights with the gradients of their casts, if there are
        any. Safe to repeat."""
        pairs = {id(half): (full, half.grad) for _, _, full, half in self.held
                 if half.grad is not None}
        for layer, name, full, _ in self.held:
            layer._parameters[name] = full
        for norm, counter in self.counters:
            norm._buffers["num_batches_tracked"] = counter
        self.held, self.counters = [], []
        if not pairs:
            return
        gradients = [torch.empty_like(full) for full, _ in pairs.values()]
        torch._foreach_copy_(gradients, [gradient for _, gradient in pairs.values()])
        for (full, _), gradient in zip(pairs.values(), gradients, strict=True):
            full.grad = gradient if full.grad is None else full.grad.add_(gradient)
