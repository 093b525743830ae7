"""Several processes that train one network together, as torchrun starts them.

Each process computes its part of every batch; gradients, sums and the statistics of batch
normalisation are those of the whole batch, so that all processes hold the same network at every
step. Without a process group everything here is what one process alone would do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from rethinklab.errors import ConfigError, DivergenceError, OutOfTime

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STEP_TIMEOUT = timedelta(minutes=30)  # of tensors: a step, or the files of one, take no longer
WAIT_TIMEOUT = timedelta(days=30)  # of objects: the first process may wait for another's stage
NORM = nn.modules.batchnorm._BatchNorm

Value = TypeVar("Value")
_control: tuple[Any, Any] = (None, None)  # the process group, and its second one for objects


@contextmanager
def start(device: str = "auto") -> Iterator[None]:
    """Join the processes that torchrun started, for as long as the block takes.

    device: as for `train`; unless it is "cpu" and where there are GPUs, the process takes the one
    of its LOCAL_RANK, which is then what "auto" and "cuda" mean. On a CPU each process computes
    with one thread. Does nothing without torchrun's variables, or with one process.
    An error that only this process has leaves the others waiting, so let it end the process:
    torchrun ends the others then. Nobody waits for a step for more than half an hour.
    Raises ConfigError where there are fewer GPUs than processes.
    """
    alone = any(name not in os.environ for name in VARIABLES) or os.environ["WORLD_SIZE"] == "1"
    if alone or _connected():
        yield
        return
    threads = torch.get_num_threads()
    if device != "cpu" and torch.cuda.is_available():
        own, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= count:
            raise ConfigError(f"process {own} of this machine has no GPU of its own, as there are "
                              f"{count}; start with --nproc-per-node {count} or fewer, or choose "
                              "device cpu.")
        torch.cuda.set_device(own)
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=STEP_TIMEOUT)
    else:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", timeout=STEP_TIMEOUT)
    try:
        yield
    except (DivergenceError, OutOfTime):  # all processes have them at once
        _leave()
        raise
    else:
        _leave()
    finally:
        torch.set_num_threads(threads)


def _leave() -> None:
    barrier()  # torchrun ends all others as soon as one has ended with an error
    dist.destroy_process_group()


def _connected() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _connected() else 0


def world() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if _connected() else 1


def part() -> tuple[int, int]:
    """The number of this process and how many there are."""
    return rank(), world()


def is_main() -> bool:
    """Whether this is process 0, which alone writes files and shows progress."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier(group=_objects())


def broadcast_object(value: Value) -> Value:
    """The value that process 0 gave, in every process. It must be picklable."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_objects())
    return box[0]


def gather_objects(value: Value) -> list[Value]:
    """The values that the processes gave, by rank, in every process. They must be picklable."""
    values = [value] * world()
    if world() > 1:
        dist.all_gather_object(values, value, group=_objects())
    return values


def _objects() -> Any:
    """The processes once more, to exchange what lives in CPU memory, with a longer patience."""
    global _control
    if _control[0] is not dist.group.WORLD:
        _control = dist.group.WORLD, dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    return _control[1]


def expect_alike(**settings: object) -> None:
    """Raises ConfigError, in every process, where a setting is not the same in all of them."""
    everyone = gather_objects(settings)
    for name, value in everyone[0].items():
        for number, other in enumerate(everyone):
            if other[name] != value:
                raise ConfigError(f"process {number} has {name} {other[name]!r} where process 0 "
                                  f"has {value!r}; processes that train one network together "
                                  "must all be given the same.")


def share_tensors(tensors: Iterable[Tensor]) -> None:
    """Sets every tensor, in place, to what it is in process 0, in one message."""
    each = [tensor.detach() for tensor in tensors]
    if world() == 1 or not each:
        return
    pieces = [tensor.reshape(-1).view(torch.uint8) for tensor in each]
    flat = torch.cat(pieces)
    dist.broadcast(flat, src=0)
    for tensor, piece in zip(each, flat.split([len(piece) for piece in pieces]), strict=True):
        tensor.copy_(piece.clone().view(tensor.dtype).view(tensor.shape))  # clone: aligned


def average_gradients(tensors: Iterable[Tensor], count: int) -> None:
    """Turns gradients of sums over this process's `count` images into those of the mean over the
    images of all processes, in place, in one message for each type of number."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.grad is not None:
            kinds.setdefault(tensor.grad.dtype, []).append(tensor.grad)
    for gradients in kinds.values():
        own = gradients[0].new_full((1,), count)
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), own])
        dist.all_reduce(flat)
        means = (flat[:-1] / flat[-1]).split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view(gradient.shape))


def totals(values: Sequence[Tensor]) -> list[float]:
    """Sums over the processes of numbers on one device, in float64; waits for them."""
    sums = torch.stack([value.detach().double() for value in values])
    if world() > 1:
        dist.all_reduce(sums)
    return [float(value) for value in sums.cpu()]


@contextmanager
def synchronised(model: nn.Module) -> Iterator[None]:
    """Within the block, the batch normalisations of `model` normalise, while they train, over the
    batches of all processes as `nn.BatchNorm1d` and its kin do over one. The modules stay the
    same objects. Those with a `forward` of their own are left to themselves."""
    norms = [module for module in model.modules() if isinstance(module, NORM)
             and getattr(module.forward, "__func__", None) is NORM.forward and world() > 1]
    for norm in norms:
        vars(norm)["forward"] = partial(_normalise, norm)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]


def _normalise(norm: NORM, images: Tensor) -> Tensor:
    if not norm.training:
        return NORM.forward(norm, images)
    norm._check_input_dim(images)
    output, mean, variance, count = _BatchNorm.apply(  # type: ignore[no-untyped-call]
        images, norm.weight, norm.bias, norm.eps)
    if norm.running_mean is not None and norm.running_var is not None:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
            norm.running_var.lerp_((variance * count / (count - 1)).to(norm.running_var.dtype),
                                   share)
    return output


class _BatchNorm(torch.autograd.Function):
    """Batch normalisation of this process's (N, C, ...) by the statistics of all processes.

    Returns the output, and mean (C,), biased variance (C,) and number of values of a channel ().
    Statistics are in float32, or float64 for float64 images. One message in each direction.
    Source: Ioffe & Szegedy (ICML 2015), algorithm 1 and the gradients in section 3; the parts of
    the variance are joined as by Chan, Golub & LeVeque (1979).
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None,
                eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels, axes = images.shape[1], [0, *range(2, images.ndim)]
        kind = torch.promote_types(images.dtype, torch.float32)
        own = images.new_zeros(2 * channels + 1, dtype=kind)
        number = images.numel() // channels
        if number:
            spread, middle = torch.var_mean(images.to(kind), axes, correction=0)
            own[:channels], own[channels:-1], own[-1] = middle, spread * number, number
        every = own.new_empty(world() * len(own))
        dist.all_gather_into_tensor(every, own)
        means, squares, counts = every.view(-1, len(own)).split([channels, channels, 1], 1)
        count = counts.sum()
        if number < 2 and float(count) < 2:
            raise ValueError("batch normalisation needs more than one value of each channel in "
                             f"training; all processes together have {int(count)}.")
        mean = (means * counts).sum(0) / count
        variance = (squares + counts * (means - mean).square()).sum(0) / count
        output = batch_norm(images, mean, variance, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return output, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        images, weight, mean, inverse, count = ctx.saved_tensors
        axes, shape = [0, *range(2, images.ndim)], [1, -1] + [1] * (images.ndim - 2)
        centred = images.to(mean.dtype) - mean.view(shape)
        flow = gradient.to(mean.dtype)
        sums = torch.stack([flow.sum(axes), (flow * centred).sum(axes) * inverse])
        by_bias, by_weight = (own if needed else None for own, needed in zip(
            sums.clone(), (ctx.needs_input_grad[2], ctx.needs_input_grad[1]), strict=True))
        by_images = None
        if ctx.needs_input_grad[0]:
            dist.all_reduce(sums)
            along, across = sums / count
            scale = inverse if weight is None else inverse * weight
            by_images = ((flow - along.view(shape) - centred * (inverse * across).view(shape))
                         * scale.view(shape)).to(images.dtype)
        return by_images, by_weight, by_bias, None
