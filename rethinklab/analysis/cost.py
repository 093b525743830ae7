"""What a network costs: parameters, multiply-adds, FLOPs by the study's convention, latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from rethinklab.analysis.operations import ForwardPass, Run, run_once
from rethinklab.devices import wait_for
from rethinklab.errors import ConfigError
from rethinklab.models.outputs import logits
from rethinklab.models.pooling import GlobalAvgPool2d


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass on one image.

    params: learnable values. nonzero_params: those that are not exactly zero, and not held at zero
    by a mask of `torch.nn.utils.prune`. macs: multiply-adds of convolutions, linear layers,
    attention, recurrent layers and matrix products. flops: by the released code of Liu et al. (see
    `layer_flops`). latency: median milliseconds of a forward pass over `latency_batch` images on
    `device`, None where it was not measured.
    """

    params: int
    nonzero_params: int
    macs: int
    flops: int
    latency: float | None = None
    latency_batch: int | None = None
    device: str = "cpu"

    def __str__(self) -> str:
        text = (f"{self.params:,} parameters ({self.nonzero_params:,} non-zero), "
                f"{self.macs / 1e6:.2f}M MACs, {self.flops / 1e6:.2f}M FLOPs")
        if self.latency is not None:
            text += f", {self.latency:.2f} ms for {self.latency_batch} image(s) on {self.device}"
        return text


def profile(model: nn.Module, input_shape: tuple[int, int, int], *, count: str = "dense",
            latency: bool = True, batch: int = 1) -> Cost:
    """The `Cost` of `model` on images of `input_shape` (C, H, W). The model is left as it was.

    count: "dense" counts every weight of a convolution, as the study's CIFAR scripts for L1-norm
    and slimming do; "nonzero" only those that are not zero, as its weight-level, soft filter and
    ImageNet scripts do. latency: also time `batch` images (about a fifth of a second).

    Multiply-adds are those of torch's FlopCounterMode, halved. FLOPs are by modules, as in the
    released code; what multiplies and adds outside of convolution and linear modules (attention,
    recurrent layers, functions) counts 2 each, any other function nothing (additions, functional
    pooling). Warns of what cannot be counted, by name.
    Source: Liu et al. (ICLR 2019), released code of the FLOPs counters.
    """
    if count not in ("dense", "nonzero"):
        raise ConfigError(f"count {count!r} must be 'dense' or 'nonzero'.")
    with evaluating(model) as device:
        found = forward_pass(model, input_shape)
        layers = [run for run in found.runs if run.uses]
        dense = {run.module: run.module.weight.numel() for run in layers}
        weights = dense if count == "dense" else {
            module: int(torch.count_nonzero(module.weight)) for module in dense}
        nonzero = _nonzero_params(model)
        spent = (_latency(model, torch.zeros(batch, *input_shape, device=device)) if latency
                 else None)
    elsewhere = found.macs - sum(run.uses * dense[run.module] for run in layers)
    macs = elsewhere + sum(run.uses * weights[run.module] for run in layers)
    flops = 2 * elsewhere + sum(layer_flops(run, weights.get(run.module)) for run in found.runs)
    return Cost(sum(p.numel() for p in model.parameters()), nonzero, macs, flops, spent,
                batch if latency else None, device.type)


def forward_pass(model: nn.Module, input_shape: tuple[int, int, int]) -> ForwardPass:
    """What `model` does with one black image of `input_shape` (C, H, W), in evaluation mode."""
    with evaluating(model) as device:
        return run_once(model, torch.zeros(1, *input_shape, device=device))


def output_shape(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Shape of the model's class scores for one black image, in evaluation mode. Raises
    ConfigError where its output is not clear (see `models.outputs.logits`)."""
    with evaluating(model) as device:
        return tuple(logits(model(torch.zeros(1, *input_shape, device=device))).shape)


def layer_flops(run: Run, weights: int | None = None) -> int:
    """FLOPs of one run of a layer for one image by the convention of Liu et al. (2019).

    Convolution: 2 per weight and output position, 1 per bias and position (a transposed one uses
    its weights at each input position). Linear: 2 per weight, 1 per bias, never sparse.
    BatchNorm2d: 2 per input value. ReLU module: 1 per value. Pooling module with a kernel, and the
    kit's own last pooling: kernel area per output value. Everything else: 0. weights: those of a
    convolution that count, all by default.

    Of a ReLU and a pooling of which all that follows reads a selection of channels, only those
    count: in the released code a normalisation is followed by the selection, and then the ReLU.
    """
    module = run.module
    if run.uses:
        if weights is None or isinstance(module, nn.Linear):
            weights = module.weight.numel()
        return 2 * run.uses * weights + (0 if module.bias is None else prod(run.output))
    if isinstance(module, nn.BatchNorm2d):
        return 2 * prod(run.input)
    if isinstance(module, (nn.ReLU, GlobalAvgPool2d)):
        return int(prod(run.input) * run.read)
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        side = module.kernel_size
        area = prod(side if isinstance(side, tuple) else (side, side))
        return int(area * prod(run.output) * run.read)
    return 0


def _nonzero_params(model: nn.Module) -> int:
    """How many learnable values are not zero where the network computes with them: of a weight
    that a mask or a parametrisation makes from a parameter of its shape, those of the weight."""
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            mask = getattr(module, f"{name.removesuffix('_orig')}_mask", None)
            if name.endswith("_orig") and isinstance(mask, Tensor):  # torch.nn.utils.prune
                made[parameter] = parameter * mask
        if isinstance(module, ParametrizationList) and hasattr(module, "original"):
            weight = module()
            if weight.shape == module.original.shape:
                made[module.original] = weight
    return sum(int(torch.count_nonzero(made.get(p, p))) for p in model.parameters())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Evaluation mode and no gradients inside, the modes of all modules as before after."""
    modes = {module: module.training for module in model.modules()}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval()
    try:
        with torch.no_grad():
            yield device
    finally:
        for module, mode in modes.items():
            module.training = mode


def _latency(model: Callable[[Tensor], Any], images: Tensor, seconds: float = 0.2) -> float:
    """Median milliseconds of one forward pass, after two passes to warm up."""
    spent: list[float] = []
    for number in range(1000):
        wait_for(images.device)
        start = time.perf_counter()
        model(images)
        wait_for(images.device)
        if number >= 2:
            spent.append(time.perf_counter() - start)
        if sum(spent) > seconds and len(spent) >= 5:
            break
    return 1000 * median(spent)
