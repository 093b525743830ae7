"""A step before the first: whether a network can train on a task, and in which memory layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.analysis.cost import output_shape
from rethinklab.data import AnyData
from rethinklab.data.batches import batch_bounds, first_images
from rethinklab.errors import ConfigError, first_line
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import logits
from rethinklab.seeds import global_stream


def check_fit(model: nn.Module, data: AnyData, batch_size: int = 64,
              precision: str = "fp32") -> torch.memory_format:
    """The memory layout in which `model` trains on `data`: channels-last, or contiguous for a
    network whose forward pass needs that (`view` after a convolution).

    A copy of the model, where it is, goes through evaluation and a step of training on two real
    images, in the precision asked for; on one, where `batch_size` makes a batch of one image.
    Raises ConfigError where the network cannot take the images, has another number of classes, or
    cannot train.
    """
    try:
        shape = output_shape(model, data.input_shape)
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's forward pass raises
        raise ConfigError(f"the model does not take images of shape {data.input_shape} "
                          f"({first_line(error)}).") from error
    if shape != (1, data.num_classes):
        raise ConfigError(f"the model's output for one image has shape {shape}; {data.name} needs "
                          f"(1, {data.num_classes}). Build it with num_classes={data.num_classes}.")
    smallest = min(end - start for start, end in batch_bounds(len(data.train), batch_size))
    images, labels = first_images(data, min(2, smallest))
    device = next((p.device for p in model.parameters()), images.device)
    images, labels = images.to(device), labels.to(device)
    problem: Exception | None = None
    for layout in (torch.channels_last, torch.contiguous_format):
        try:
            _step(model, images.contiguous(memory_format=layout), labels, precision, layout)
            return layout
        except ConfigError:
            raise
        except Exception as error:  # whatever the user's network raises in training
            problem = error
    assert problem is not None
    one = ("" if len(images) > 1 else " (choose a batch_size that leaves no batch of one image, "
           "where normalisation over a batch needs two)")
    raise ConfigError(
        f"the model does not train on a batch of {len(images)} of the images in {precision}: "
        f"{first_line(problem).rstrip('.')}{one}.") from problem


def _step(model: nn.Module, images: Tensor, labels: Tensor, precision: str,
          layout: torch.memory_format) -> None:
    """Evaluation, and the forward and backward pass of training, on a copy of the model."""
    work = duplicate(model).to(memory_format=layout)  # type: ignore[call-overload]
    with global_stream(0, "rehearsal"), torch.enable_grad():
        with torch.no_grad():
            work.eval()(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = logits(work.train()(images))
        if outputs.shape[:1] != labels.shape or outputs.ndim != 2:
            raise ConfigError(f"in training mode the model's output for {len(labels)} images has "
                              f"shape {tuple(outputs.shape)}; a row of class scores for each image "
                              "is needed, as in evaluation mode.")
        loss = cross_entropy(outputs.float(), labels)
        if not loss.requires_grad:
            raise ConfigError("nothing of the model trains: no parameter that its output depends "
                              "on requires a gradient (requires_grad).")
        loss.backward()  # type: ignore[no-untyped-call]
