"""What a criterion may look at besides a layer's own weights: images, activations, gradients.

All layers share one pass forward and back, which runs when a score first asks for what it gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.data import ImageData
from rethinklab.data.batches import calibration_batch
from rethinklab.errors import PlanError, first_line
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import logits, readable


@dataclass(frozen=True)
class LayerPass:
    """Of one layer in the pass: its output, and the gradients of the loss."""

    activations: Tensor
    gradients: Tensor
    weight_gradient: Tensor | None


class Calibration:
    """One pass of a network in evaluation mode over calibration images, forward and back.

    model: left as it is; the pass is a copy's. count: training images to take, without
    augmentation and balanced over the classes; all where there are fewer.
    """

    def __init__(self, model: nn.Module, data: ImageData, count: int) -> None:
        self.model, self.data, self.count = model, data, count

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
    def passes(self) -> dict[str, LayerPass]:
        """What the pass shows of each convolution and linear layer that it reaches once."""
        model = duplicate(self.model).eval()
        images, labels = self.batch
        images = readable(model, images)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        outputs: dict[str, list[Tensor]] = {}

        def watch(name: str) -> Callable[..., Tensor]:
            def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
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
        return {name: LayerPass(output.detach(), gradient, of_weights.get(name))
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
    def _pass(self) -> LayerPass:
        try:
            passes = self.calibration.passes
        except (RuntimeError, TypeError, ValueError) as error:  # of the user's network
            raise PlanError(f"the network gives no gradients on its calibration images "
                            f"({first_line(error)}); use a criterion that reads weights alone."
                            ) from error
        if self.name not in passes:
            raise PlanError(f"{self.name} is used more than once in the network, or not at all, so "
                            "that it has no activations of its own; leave it out of the target.")
        return passes[self.name]


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
