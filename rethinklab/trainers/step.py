"""One training step: forward, loss, backward, callbacks, update; eagerly, from a CUDA graph, or
shared by several processes.

The small networks of the study leave a GPU waiting for Python: a step of ResNet-110 starts some
thousand kernels. A CUDA graph records them once and starts them all with a single call.
Convolutions in float32 may use TF32 on a GPU, which is torch's own default and left to the user
(`torch.backends.cudnn.allow_tf32`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rethinklab.devices import sum_type
from rethinklab.errors import first_line
from rethinklab.models.outputs import logits
from rethinklab.trainers import distributed
from rethinklab.trainers.callbacks import Callback, TrainState
from rethinklab.trainers.gathered import Gathered

CAPTURE_VARIABLE = "RETHINKLAB_CAPTURE"  # "0": never record a graph
REHEARSALS = 3


class EagerStep:
    """Steps of a run, operation by operation. Called with float32 (B, C, H, W) and int64 (B,).

    Loss and hits are summed on the device, so that no step waits for a value to be read back.
    precision: "fp32", or "bf16" for a forward pass in bfloat16.
    """

    def __init__(self, state: TrainState, precision: str, watchers: Sequence[Callback],
                 device: torch.device) -> None:
        self.state, self.watchers, self.device = state, watchers, device
        self.network = state.model
        self.half = precision == "bf16"
        self.losses = torch.zeros((), device=device, dtype=sum_type(device))
        self.right = torch.zeros((), device=device, dtype=torch.int64)

    def start_epoch(self) -> None:
        """Sets the sums back to zero."""
        self.losses.zero_()
        self.right.zero_()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self._advance(images, labels)

    def totals(self) -> tuple[float, int]:
        """(sum of losses, number right) over the images since `start_epoch`; waits for them."""
        return float(self.losses), int(self.right)

    def close(self) -> None:
        """Gives back what the steps hold on to."""

    def _advance(self, images: Tensor, labels: Tensor) -> None:
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        outputs = self._outputs(images)
        loss = self._differentiate(outputs.float(), labels)
        for watcher in self.watchers:
            watcher.after_backward(state)
        state.optimizer.step()
        for watcher in self.watchers:
            watcher.after_update(state)
        self.losses += loss
        self.right += (outputs.detach().argmax(1) == labels).sum()

    def _outputs(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return logits(self.network(images))

    def _differentiate(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Puts the gradients of the batch's mean loss in place; the sum of its losses."""
        loss = cross_entropy(outputs, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach() * len(labels)


class SharedStep(EagerStep):
    """The same steps by torch's DistributedDataParallel, each process with its part of the batch:
    after the backward pass all have the gradients of the mean over the whole batch, however the
    parts differ in size. Batch normalisation is over the part alone, unless it is synchronised."""

    def __init__(self, state: TrainState, precision: str, watchers: Sequence[Callback],
                 device: torch.device) -> None:
        super().__init__(state, precision, watchers, device)
        self.network = distributed.parallel(state.model)

    def start_epoch(self) -> None:
        super().start_epoch()
        self.network.train()

    def totals(self) -> tuple[float, int]:
        loss, right = distributed.totals([self.losses, self.right])
        return loss, int(right)

    def close(self) -> None:
        self.network = self.state.model

    def _differentiate(self, outputs: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(outputs, labels, reduction="sum")
        share = distributed.world() / distributed.total(len(labels), self.device)
        (loss * share).backward()  # type: ignore[no-untyped-call]
        distributed.average_buffer_gradients(self.state.model)
        return loss.detach()


class GraphStep(EagerStep):
    """The same steps, full batches replayed from a CUDA graph; a batch of another size is done
    eagerly.

    The graph is recorded at the first full batch and anew when the optimiser's settings change
    (they are numbers in it), or when an epoch finds the network's tensors elsewhere in memory.
    What every layer would do for itself is gathered (`rethinklab.trainers.gathered`).
    Rehearsals come before each recording, with cuDNN choosing its algorithms by timing them
    unless determinism was asked for; all they change is set back: weights, buffers, moments, sums
    and random generators. A network that cannot be recorded, because Python looks at values
    during the step, is trained eagerly after one warning.
    """

    def __init__(self, state: TrainState, precision: str, watchers: Sequence[Callback],
                 device: torch.device) -> None:
        super().__init__(state, precision, watchers, device)
        self.gathered, self.gathering = Gathered(state.model, self.half), False
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = False
        self.replays = 0
        self.settings: list[tuple[float, ...]] = []
        self.places: list[tuple[int, bool]] = []
        self.gradients: list[tuple[nn.Parameter, Tensor | None]] = []
        self.astray = False
        self.images, self.labels = torch.empty(0), torch.empty(0)

    def start_epoch(self) -> None:
        super().start_epoch()
        if self.graph is not None and self.places != self._places():
            self._drop()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        whole = len(images) == self.state.recipe.batch_size
        if whole and not self.refused and (self.graph is None
                                           or self.settings != self._settings()):
            self._record(images, labels)
        if self.graph is None or not whole:
            self._advance(images, labels)
            self.astray = True
            return
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        self.replays += 1
        if self.astray:  # an eager step has put other gradients into the parameters
            for parameter, gradient in self.gradients:
                parameter.grad = gradient
            self.astray = False

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        """The graph's gradients live in its own memory, which is only free without them."""
        self.graph = None
        self.gradients = []
        self.state.optimizer.zero_grad(set_to_none=True)

    def _record(self, images: Tensor, labels: Tensor) -> None:
        self._drop()
        if self.images.shape != images.shape:
            self.images, self.labels = torch.empty_like(images), torch.empty_like(labels)
        self.images.copy_(images)
        self.labels.copy_(labels)
        graph = torch.cuda.CUDAGraph()
        begun = False
        try:
            with torch.cuda.device(self.device), self._nothing_changed(), _tuned_convolutions():
                self._rehearse()
                begun = True
                # The loader's thread may pin memory meanwhile: only this thread is watched.
                with torch.cuda.graph(graph, stream=self.stream,
                                      capture_error_mode="thread_local"):
                    self._advance_gathered()
        except Exception as error:  # torch and the network each raise their own kinds
            self.refused = True
            if begun:
                self._end_recording()
            warnings.warn("the training step cannot be recorded as a CUDA graph "
                          f"({first_line(error).rstrip('.')}); training goes on step by step.",
                          stacklevel=2)
            self._drop()
            return
        self.graph = graph
        self.settings, self.places = self._settings(), self._places()
        self.gradients = [(p, p.grad) for p in self.state.model.parameters()]

    def _advance_gathered(self) -> None:
        """The step as it is recorded."""
        self.gathering = True
        try:
            self._advance(self.images, self.labels)
        finally:
            self.gathering = False
            self.gathered.give_back()

    def _outputs(self, images: Tensor) -> Tensor:
        if self.gathering:
            self.gathered.take()
        return super()._outputs(images)

    def _differentiate(self, outputs: Tensor, labels: Tensor) -> Tensor:
        loss = super()._differentiate(outputs, labels)
        self.gathered.give_back()
        return loss

    def _rehearse(self) -> None:
        """Steps on the graph's stream: kernels are loaded, algorithms chosen, moments allocated.

        The last one fails on any operation that waits for the device. A recording would fail on
        it, too, but leave torch's allocator in the middle of one.
        """
        home = torch.cuda.current_stream()
        self.stream.wait_stream(home)
        with torch.cuda.stream(self.stream):
            for _ in range(REHEARSALS - 1):
                self._advance_gathered()
            with _no_waiting():
                self._advance_gathered()
        home.wait_stream(self.stream)
        self.state.optimizer.zero_grad(set_to_none=True)

    def _end_recording(self) -> None:
        """A recording that failed leaves torch's generator in the middle of it, and dropout would
        fail; a second one, of next to nothing, ends properly."""
        graph = torch.cuda.CUDAGraph()
        with suppress(RuntimeError), torch.cuda.device(self.device), \
                torch.cuda.stream(self.stream):
            graph.capture_begin(capture_error_mode="thread_local")
            self.right.add_(0)
            graph.capture_end()

    @contextmanager
    def _nothing_changed(self) -> Iterator[None]:
        """Sets back, in place, whatever a block does to the run; moments that were not there
        become zero, from which the first step of momentum is the same."""
        optimizer, model = self.state.optimizer, self.state.model
        home = torch.cuda.current_stream()
        tensors = [*model.parameters(), *model.buffers(), self.losses, self.right]
        before = [tensor.detach().clone() for tensor in tensors]
        moments = {(id(owner), name): value.clone() for owner, memory in optimizer.state.items()
                   for name, value in memory.items() if isinstance(value, Tensor)}
        try:
            with torch.random.fork_rng(devices=[self.device]):
                yield
        finally:
            torch.cuda.set_stream(home)  # a recording that failed leaves its own stream current
            home.wait_stream(self.stream)
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)
                for owner, memory in optimizer.state.items():
                    for name, value in memory.items():
                        if (id(owner), name) in moments:
                            value.copy_(moments[id(owner), name])
                        elif isinstance(value, Tensor):
                            value.zero_()

    def _settings(self) -> list[tuple[float, ...]]:
        return [(g["lr"], g["momentum"], g["weight_decay"])
                for g in self.state.optimizer.param_groups]

    def _places(self) -> list[tuple[int, bool]]:
        model, memories = self.state.model, self.state.optimizer.state.values()
        moments = [v for memory in memories for v in memory.values() if isinstance(v, Tensor)]
        return [(tensor.data_ptr(), tensor.requires_grad)
                for tensor in (*model.parameters(), *model.buffers(), *moments)]


def make_step(state: TrainState, precision: str, watchers: Sequence[Callback],
              device: torch.device, capture: bool = True) -> EagerStep:
    """The steps of a run: shared where several processes train together, or else from a CUDA
    graph where there is a GPU, `capture` is wanted and the variable RETHINKLAB_CAPTURE is not 0.
    """
    if distributed.world() > 1:
        return SharedStep(state, precision, watchers, device)
    wanted = capture and os.environ.get(CAPTURE_VARIABLE) != "0"
    kind = GraphStep if wanted and device.type == "cuda" else EagerStep
    return kind(state, precision, watchers, device)


@contextmanager
def _no_waiting() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the mode does not see everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _tuned_convolutions() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = not (cudnn.deterministic or torch.are_deterministic_algorithms_enabled())
    try:
        yield
    finally:
        cudnn.benchmark = before
