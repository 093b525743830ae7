"""What a network costs: parameters, multiply-adds, FLOPs by the study's convention, latency."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import ConfigError
from rethinklab.models.outputs import logits


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass on one image.

    params: learnable values. nonzero_params: those that are not exactly zero. macs: multiply-adds
    of convolutions and linear layers. flops: by the released code of Liu et al. (see
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
    Operations outside modules (additions, functional pooling) count as zero, as they do there.
    Source: Liu et al. (ICLR 2019), released code of the FLOPs counters.
    """
    if count not in ("dense", "nonzero"):
        raise ConfigError(f"count {count!r} must be 'dense' or 'nonzero'.")
    totals = {"macs": 0, "flops": 0}

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            totals["macs"] += layer_macs(module, output, count == "nonzero")
            totals["flops"] += layer_flops(module, inputs[0], output, count == "nonzero")

    with evaluating(model) as device:
        hooks = [m.register_forward_hook(record) for m in model.modules() if not any(m.children())]
        try:
            model(torch.zeros(1, *input_shape, device=device))
        finally:
            for hook in hooks:
                hook.remove()
        images = torch.zeros(batch, *input_shape, device=device)
        spent = _latency(model, images) if latency else None
    values = list(model.parameters())
    return Cost(sum(p.numel() for p in values),
                sum(int(torch.count_nonzero(p)) for p in values), totals["macs"], totals["flops"],
                spent, batch if latency else None, device.type)


def output_shape(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Shape of the model's class scores for one black image, in evaluation mode. Raises
    ConfigError where its output is not clear (see `models.outputs.logits`)."""
    with evaluating(model) as device:
        return tuple(logits(model(torch.zeros(1, *input_shape, device=device))).shape)


def layer_macs(module: nn.Module, output: Tensor, nonzero: bool = False) -> int:
    """Multiply-adds of one convolution or linear layer for one image; 0 for anything else."""
    if isinstance(module, nn.Conv2d):
        return _weights(module.weight, nonzero) * output.shape[-2] * output.shape[-1]
    if isinstance(module, nn.Linear):
        return _weights(module.weight, nonzero) * (output.numel() // module.out_features)
    return 0


def layer_flops(module: nn.Module, given: Tensor, output: Tensor, nonzero: bool = False) -> int:
    """FLOPs of one leaf module for one image by the convention of Liu et al. (2019).

    Convolution: 2 per weight and output position, 1 per bias and position. Linear: 2 per weight,
    1 per bias, never sparse. BatchNorm2d: 2 per input value. ReLU module: 1 per value. Pooling
    module with a kernel: kernel area per output value. Everything else: 0.
    """
    if isinstance(module, nn.Conv2d):
        bias = 0 if module.bias is None else module.bias.numel()
        positions = output.shape[-2] * output.shape[-1]
        return (2 * _weights(module.weight, nonzero) + bias) * positions
    if isinstance(module, nn.Linear):
        bias = 0 if module.bias is None else module.bias.numel()
        return (2 * module.weight.numel() + bias) * (output.numel() // module.out_features)
    if isinstance(module, nn.BatchNorm2d):
        return 2 * given.numel()
    if isinstance(module, nn.ReLU):
        return given.numel()
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        side = module.kernel_size
        return math.prod(side if isinstance(side, tuple) else (side, side)) * output.numel()
    return 0


def _weights(weight: Tensor, nonzero: bool) -> int:
    return int(torch.count_nonzero(weight)) if nonzero else weight.numel()


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
    wait = torch.cuda.synchronize if images.is_cuda else (lambda: None)
    spent: list[float] = []
    for number in range(1000):
        wait()
        start = time.perf_counter()
        model(images)
        wait()
        if number >= 2:
            spent.append(time.perf_counter() - start)
        if sum(spent) > seconds and len(spent) >= 5:
            break
    return 1000 * median(spent)
