"""What a criterion may look at besides a layer's own weights: images, activations, gradients, what
its channels go together with.

All layers share one pass forward and back, which runs when a score first asks for what it gives.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.analysis.ledger import open_ledger
from rethinklab.data import ImageData
from rethinklab.data.batches import calibration_batch
from rethinklab.errors import PlanError, first_line
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import logits, readable
from rethinklab.pruners.cutting.graph import ChannelGraph, Member
from rethinklab.pruners.cutting.layers import LAYERS, out_width


@dataclass(frozen=True)
class LayerPass:
    """Of one layer in the pass: its input, its output, and the gradients of the loss."""

    inputs: Tensor
    activations: Tensor
    gradients: Tensor
    weight_gradient: Tensor | None


class Calibration:
    """One pass of a network over calibration images, forward and back.

    model: left as it is; the pass is a copy's. count: training images to take, without
    augmentation and balanced over the classes; all where there are fewer. batch_statistics:
    normalise by those of the images, as in training, since an untrained network has no others;
    all else is in evaluation mode.
    """

    def __init__(self, model: nn.Module, data: ImageData, count: int,
                 batch_statistics: bool = False) -> None:
        self.model, self.data, self.count = model, data, count
        self.batch_statistics = batch_statistics

    def of(self, layer: str) -> Context:
        """What a criterion gets to see of a layer."""
        return Context(layer, self)

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Images, float32 (n, C, H, W), normalised, and labels, int64 (n,), on the model's
        device."""
        images, labels = calibration_batch(self.data, min(self.count, len(self.data.train)))
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        return images.to(device), labels.to(device)

    @cached_property
    def graph(self) -> ChannelGraph:
        """Which layers share channels, of a copy of the network."""
        return ChannelGraph(duplicate(self.model), self.data.input_shape)

    def ready(self) -> tuple[nn.Module, Tensor, Tensor]:
        """A copy of the network in the mode of the pass, all of whose parameters have gradients,
        and images and labels as it reads them. An open ledger counts the images."""
        model = duplicate(self.model).eval()
        images, labels = self.batch
        images = readable(model, images)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(self.batch_statistics)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        ledger = open_ledger()
        if ledger is not None:
            ledger.calibrate(len(images))
        return model, images, labels

    @cached_property
    def passes(self) -> dict[str, LayerPass]:
        """What the pass shows of each convolution and linear layer that it reaches once."""
        model, images, labels = self.ready()
        inputs: dict[str, Tensor] = {}
        outputs: dict[str, list[Tensor]] = {}

        def watch(name: str) -> Callable[..., Tensor]:
            def hook(_module: nn.Module, given: Any, output: Tensor) -> Tensor:
                inputs[name] = given[0].detach()
                outputs.setdefault(name, []).append(output)
                return output.clone()  # what follows may work in place
            return hook

        layers = {name: layer for name, layer in model.named_modules()
                  if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear))}
        for name, layer in layers.items():
            layer.register_forward_hook(watch(name))
        with torch.inference_mode(False), torch.enable_grad():
            loss = cross_entropy(logits(model(images)).float(), labels)
            found = {name: calls[0] for name, calls in outputs.items()
                     if len(calls) == 1 and calls[0].requires_grad}
            weights = {name: layers[name].weight for name in found
                       if isinstance(layers[name].weight, nn.Parameter)}
            gradients = torch.autograd.grad(loss, [*found.values(), *weights.values()],
                                            allow_unused=True, materialize_grads=True)
        of_weights = dict(zip(weights, gradients[len(found):], strict=True))
        return {name: LayerPass(inputs[name], output.detach(), gradient, of_weights.get(name))
                for (name, output), gradient in zip(found.items(), gradients, strict=False)}


@dataclass(frozen=True)
class Context:
    """What a criterion may look at besides a layer's weights; made when it is first asked for.

    name: of the layer in the network. The loss is the mean cross-entropy over the calibration
    images, of the network in evaluation mode. The activations and gradients raise PlanError for a
    layer that the network uses more than once, or not at all.
    """

    name: str
    calibration: Calibration

    @property
    def images(self) -> Tensor:
        """The calibration images, float32 (n, C, H, W), normalised."""
        return self.calibration.batch[0]

    @property
    def labels(self) -> Tensor:
        """Their classes, int64 (n,)."""
        return self.calibration.batch[1]

    @property
    def activations(self) -> Tensor:
        """The layer's output, (n, N, H, W) of a convolution and (n, N) of a linear layer."""
        return self._pass.activations

    @property
    def gradients(self) -> Tensor:
        """Gradients of the loss by the layer's output, shaped as `activations`."""
        return self._pass.gradients

    @property
    def weight_gradient(self) -> Tensor:
        """The gradient of the loss by the layer's weight, shaped as the weight."""
        if self._pass.weight_gradient is None:
            raise PlanError(f"{self.name} computes its weight from others at every pass, so that "
                            "it has no gradient of its own; score it by activations and gradients.")
        return self._pass.weight_gradient

    @property
    def group(self) -> list[Member]:
        """What goes with the layer's output channels, the layer itself first: its normalisation,
        and the layers that read it (see `ChannelGraph.group`)."""
        return self.calibration.graph.group(self.name)

    @property
    def feature_maps(self) -> Tensor:
        """What the next layer reads of each channel, (n, N, H, W): after normalisation,
        activation and pooling. Of a layer that reads flattened maps H and W are 1 or, where that
        is possible, equal. Raises PlanError where no layer reads it."""
        graph = self.calibration.graph
        for member in self.group:
            reader = graph.names.get(member.node.module, "")
            if member.is_output or not isinstance(member.node.module, LAYERS):
                continue
            inputs = self._pass_of(reader).inputs
            width = out_width(self.calibration.model.get_submodule(self.name))
            places = [channel for _, channel in sorted(zip(member.roots, member.channels,
                                                           strict=True))]
            maps = inputs[:, places].reshape(len(inputs), width, -1)
            side = math.isqrt(maps.shape[2])
            high = (inputs.shape[2] if inputs.ndim == 4 and len(places) == width else
                    side if side ** 2 == maps.shape[2] else 1)
            return maps.unflatten(2, (high, -1))
        raise PlanError(f"no layer reads the channels of {self.name}, so that it has no feature "
                        "maps; leave it out of the target.")

    @property
    def _pass(self) -> LayerPass:
        return self._pass_of(self.name)

    def _pass_of(self, name: str) -> LayerPass:
        try:
            passes = self.calibration.passes
        except (RuntimeError, TypeError, ValueError) as error:  # of the user's network
            raise PlanError(f"the network gives no gradients on its calibration images "
                            f"({first_line(error)}); use a criterion that reads weights alone."
                            ) from error
        if name not in passes:
            raise PlanError(f"{name} is used more than once in the network, or not at all, so "
                            "that it has no activations of its own; leave it out of the target.")
        return passes[name]


def score_arguments(score: Callable[..., Any], criterion: str, layer: nn.Module,
                    context: Context | None) -> tuple[Any, ...]:
    """What a criterion's `score` takes: layer and context, or the layer alone.

    criterion: the name of its class. Raises PlanError where it takes neither, or cannot do without
    a context and there is none.
    """
    signature = inspect.signature(score)
    takes = [count for count in (1, 2) if _binds(signature, count)]
    if not takes:
        raise PlanError(f"{criterion}.score{signature} must take (layer, context), or (layer) "
                        "where the weights are enough.")
    if context is not None and 2 in takes:
        return layer, context
    if 1 not in takes:
        raise PlanError(f"{criterion}.score reads a context, and there are no images here to make "
                        "one from; take the plan that fit(model, data) gives.")
    return (layer,)


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
