"""The layers that are cut, convolutions and linear ones: how wide they are, and which run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rethinklab.seeds import global_stream

Shape = tuple[int, int, int]
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def out_width(module: nn.Module) -> int:
    """Number of output channels of a convolution or linear layer."""
    width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return int(width)  # type: ignore[arg-type]


def in_width(layer: nn.Module) -> int:
    """Number of input channels of a convolution or linear layer."""
    width = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    return int(width)  # type: ignore[arg-type]


def is_convolution(layer: nn.Module) -> bool:
    """Of any number of dimensions, transposed ones included."""
    return isinstance(layer, nn.modules.conv._ConvNd)


def usual_layers(model: nn.Module, widths: Mapping[str, int],
                 prunes: Callable[[nn.Module], bool] = is_convolution) -> dict[str, int]:
    """Of the layers `widths` those that `prunes` says yes to, or all where it says no to all: a
    network without convolutions has its linear layers pruned."""
    usual = {name: width for name, width in widths.items() if prunes(model.get_submodule(name))}
    return usual or dict(widths)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """The modes and the buffers of `model`, such as running statistics, are after the block as
    they were before, and torch's random generators too."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    try:
        with global_stream(0, "undisturbed"):
            yield
    finally:
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
        for module, mode in modes.items():
            module.training = mode


def layers_run(model: nn.Module, images: Tensor, training: bool = False) -> set[str]:
    """The names of the convolutions and linear layers that run for `images`, in training or in
    evaluation mode. The model is left as it was; none where it does not run in training mode."""
    seen: set[str] = set()
    hooks = [module.register_forward_hook(lambda *_, name=name: seen.add(name))
             for name, module in model.named_modules() if isinstance(module, LAYERS)]
    try:
        with torch.no_grad(), undisturbed(model):
            model.train(training)
            model(torch.cat([images, images]) if training else images)
    except Exception:
        if not training:
            raise
        seen.clear()  # what the network cannot do unpruned is told before it is trained
    finally:
        for hook in hooks:
            hook.remove()
    return seen
