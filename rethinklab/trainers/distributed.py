"""Several processes that train one network together, as torchrun starts them.

Each has its part of every batch, and torch's DistributedDataParallel keeps the same network in all
of them. As in one process, every image is met once an epoch and gradients are those of the mean
over the whole batch, however the parts differ in size. What is not as in one process:

- batch normalisation is over a process's part, and the running statistics are those of process 0,
  as is usual with ImageNet; or, on GPUs, over the whole batch where `start` is asked to;
- a last batch of less than two images for each process joins the one before;
- each process draws its dropout from a stream of its own, (seed, "dropout", epoch, rank);
- steps are not captured in a CUDA graph.

Process 0 alone keeps checkpoints, shows progress and is asked whether to stop. Without a process
group everything here is what one process alone would do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized

from rethinklab.devices import exact
from rethinklab.errors import ConfigError, DivergenceError, OutOfTime
from rethinklab.models.outputs import logits

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STEP_TIMEOUT = timedelta(minutes=30)  # of tensors: a step, or the files of one, take no longer
WAIT_TIMEOUT = timedelta(days=30)  # of objects: the first process may wait for another's stage

Value = TypeVar("Value")
_control: tuple[Any, Any] = (None, None)  # the process group, and its second one for objects
_whole_batches = False  # whether batch normalisation is synchronised


@contextmanager
def start(device: str = "auto", sync_batchnorm: bool = False) -> Iterator[None]:
    """Join the processes that torchrun started, for as long as the block takes.

    device: as for `train`; unless it is "cpu" and where there are GPUs, the process takes the one
    of its LOCAL_RANK, which is then what "auto" and "cuda" mean. On a CPU each process computes
    with one thread. Does nothing without torchrun's variables, or with one process.
    sync_batchnorm: normalise over the whole batch (torch's SyncBatchNorm) rather than, as is usual
    with ImageNet, over each process's part of it; on GPUs only.
    An error that only this process has leaves the others waiting, so let it end the process:
    torchrun ends the others then. Nobody waits for a step for more than half an hour.
    Raises ConfigError where there are fewer GPUs than processes, or none to synchronise.
    """
    global _whole_batches
    on_gpus = device != "cpu" and torch.cuda.is_available()
    if sync_batchnorm and not on_gpus:
        raise ConfigError("sync_batchnorm (--sync-batchnorm) needs GPUs, which torch's "
                          "SyncBatchNorm is for, and this run is on a CPU; leave it out, and each "
                          "process normalises over its part of a batch.")
    alone = any(name not in os.environ for name in VARIABLES) or os.environ["WORLD_SIZE"] == "1"
    if alone or _connected():
        yield
        return
    threads = torch.get_num_threads()
    if on_gpus:
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
    _whole_batches = sync_batchnorm
    try:
        yield
    except (DivergenceError, OutOfTime):  # all processes have them at once
        _leave()
        raise
    else:
        _leave()
    finally:
        _whole_batches = False
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


def batch_parts() -> int:
    """In how many parts batch normalisation takes a batch: one for each process, unless it is
    synchronised."""
    return 1 if _whole_batches else world()


def check_parts(needed: int) -> None:
    """Raises ConfigError unless batch normalisation takes a batch in so many parts here."""
    if needed != batch_parts():
        raise ConfigError(f"this training normalises a batch in {needed} parts (batch_parts) and "
                          f"would here in {batch_parts()}; start {needed} processes (torchrun "
                          f"--nproc-per-node {needed}) without sync_batchnorm, or make it a study "
                          "of its own (batch_parts=None)." if needed > 1 else
                          f"this training normalises whole batches, and {world()} processes would "
                          "in parts; give its study batch_parts="
                          f"{batch_parts()}, or start them with sync_batchnorm "
                          "(--sync-batchnorm, on GPUs).")


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


def totals(values: Sequence[Tensor]) -> list[float]:
    """Sums over the processes of numbers on one device, in float64; waits for them."""
    sums = torch.stack([exact(value.detach()) for value in values])
    if world() > 1:
        dist.all_reduce(sums)
    return [float(value) for value in sums.cpu()]


def total(count: int, device: torch.device) -> Tensor:
    """The sum over the processes, a float32 tensor () on `device`; waits for nothing on a GPU."""
    everyone = torch.full((), float(count), device=device)
    dist.all_reduce(everyone)
    return everyone


def average_buffer_gradients(model: nn.Module) -> None:
    """What DistributedDataParallel does for parameters, for the buffers that a callback trains, as
    structure selection does."""
    for buffer in model.buffers():
        if buffer.grad is not None:
            dist.all_reduce(buffer.grad)
            buffer.grad /= world()


def share_buffers(model: nn.Module) -> None:
    """Sets every buffer, in place, to what it is in process 0, whose batch statistics count."""
    for buffer in model.buffers() if world() > 1 else ():
        value = buffer.detach().contiguous()
        dist.broadcast(value, src=0)
        buffer.detach().copy_(value)


class _Scores(nn.Module):
    """The class scores of a network and nothing else: for other outputs, which no loss reads,
    DistributedDataParallel would wait."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # Where every parameter is used, torch warns that looking for unused ones was in vain.
        self.unused = nn.Parameter(next(model.parameters()).new_zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return logits(self.model(images))


def parallel(model: nn.Module) -> nn.Module:
    """`model`, with the weights and buffers of process 0, for steps that all processes take at
    once: from images (N, C, H, W) of this process's part to its class scores (N, classes).

    The backward pass averages the parameters' gradients over the processes. All tensors are the
    model's own, so that `model` itself is trained and stays a plain network.
    Raises ConfigError where a batch normalisation that is to be synchronised computes its weights.
    """
    network = _synchronised(model) if _whole_batches else model
    return DistributedDataParallel(_Scores(network), find_unused_parameters=True)


def _synchronised(model: nn.Module) -> nn.Module:
    """A network of the same tensors whose batch normalisations are torch's SyncBatchNorm."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and is_parametrized(module):
            raise ConfigError(f"the weights of the batch normalisation {name} are computed by a "
                              "parametrisation (structure selection's scales are such), which "
                              "SyncBatchNorm does not take; leave out sync_batchnorm "
                              "(--sync-batchnorm), or train with one process.")
    own = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(model, own))
