"""What happens in one forward pass: multiply-adds, the runs of layers, and what is read of them.

Multiply-adds come from torch's own counter, which sees operations rather than modules: functional
convolutions, attention and recurrent layers too, and a module as often as it runs.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode

from rethinklab.models.pooling import GlobalAvgPool2d
from rethinklab.models.selection import SelectConv2d, SelectLinear

aten = torch.ops.aten
OURS = ("aten", "prim", "prims", "profiler")  # what is not a custom operation
HEAVY = re.compile(r"(^|_)(conv(\dd)?|convolution|mm|bmm|mv|dot|linear|matmul|trilinear|rnn|lstm|"
                   r"gru|attention|transformer|cdist|fft)(_|$)")
CHANNELWISE = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, GlobalAvgPool2d)
POOLINGS = (aten.avg_pool2d, aten.max_pool2d_with_indices, aten._adaptive_avg_pool2d, aten.mean)


@dataclass(eq=False)
class Run:
    """One run of a layer. input, output: shapes of its first input and its output. uses: how often
    a convolution or linear layer multiplies by each of its weights. read: the share of its output
    that anything reads, below 1 where all that follows are selections of channels."""

    module: Any
    input: Sequence[int]
    output: Sequence[int]
    uses: int
    read: Fraction = Fraction(1)


@dataclass(frozen=True)
class ForwardPass:
    """macs: multiply-adds of all of it, but not of parametrisations that make weights. runs: of the
    layers that have no others inside, and of all convolutions and linear layers, in order."""

    macs: int
    runs: list[Run]


def run_once(model: nn.Module, images: Tensor) -> ForwardPass:
    """What happens where `model` runs on `images`. Run it in evaluation mode without gradients.

    Warns of operations and layers whose multiply-adds cannot be counted, by name. Parts of the
    model that are run by hand, not called, are seen by their operations alone.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, where there is one

    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    watch = _Watch(counter, [m.index for m in model.modules()
                             if isinstance(m, (SelectConv2d, SelectLinear))])
    runs: list[Run] = []
    started: dict[nn.Module, list[int]] = {}
    counted: dict[nn.Module, int] = {}

    def before(module: nn.Module, given: Any) -> None:
        started.setdefault(module, []).append(counter.get_total_flops())

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        macs = (counter.get_total_flops() - started[module].pop()) // 2
        counted[module] = counted.get(module, 0) + macs
        given = next(_tensors(args, kwargs), None)
        if given is None or not isinstance(output, Tensor) or not _is_layer(module):
            return
        uses = _uses(module, given.shape, output.shape)
        runs.append(Run(module, given.shape, output.shape,
                        uses if uses * _size(module) <= macs else 0))
        if isinstance(module, CHANNELWISE):
            watch.made(output, runs[-1])

    makers = [m for m in model.modules() if isinstance(m, ParametrizationList)]
    seen = [*makers, *[m for m in model.modules() if _is_layer(m) or _matrices(m)]]
    hooks = [m.register_forward_pre_hook(before) for m in seen]
    hooks += [m.register_forward_hook(after, with_kwargs=True) for m in seen]
    try:
        with _plain_attention(), watch, counter:
            watch.finished(model(images))
    finally:
        for hook in hooks:
            hook.remove()
    _warn(model, watch, counted)
    making = sum(counted.get(maker, 0) for maker in makers)  # weights, whatever the image
    return ForwardPass(counter.get_total_flops() // 2 - making, runs)


def _is_layer(module: nn.Module) -> bool:
    """Whether a module has no others inside that count for it."""
    if isinstance(module, ParametrizationList):
        return False
    inside = [name for name, _ in module.named_children() if name != "parametrizations"]
    return not inside or isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def _uses(module: Any, given: Sequence[int], output: Sequence[int]) -> int:
    """How often each weight of a convolution or linear layer is used; 0 for other layers."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return prod(given) // module.in_channels
    if isinstance(module, nn.modules.conv._ConvNd):
        return prod(output) // module.out_channels
    return prod(output) // module.out_features if isinstance(module, nn.Linear) else 0


def _size(module: Any) -> int:
    """Number of weights of a convolution or linear layer; 0 for other layers."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.in_channels * module.out_channels * prod(module.kernel_size) // module.groups
    return module.in_features * module.out_features if isinstance(module, nn.Linear) else 0


def _matrices(module: nn.Module) -> list[Tensor]:
    """The weights of a module's own that are more than a number for each channel."""
    if isinstance(module, ParametrizationList):
        return []
    return [p for p in module.parameters(recurse=False) if sum(side > 1 for side in p.shape) > 1]


class _Activation:
    """Feature maps made by ReLU and pooling, and what is read of them: all, or the channels that
    selections take of `width`. source: those that they were pooled from."""

    def __init__(self, source: _Activation | None = None) -> None:
        self.source = source
        self.runs: list[Run] = []
        self.whole = False
        self.channels: set[int] = set()
        self.width = 0

    def is_read(self, channels: Sequence[int] | None = None, width: int = 0) -> None:
        if channels is None or self.width not in (0, width):
            self.whole = True
        else:
            self.channels |= set(channels)
            self.width = width
        if self.source is not None:
            self.source.is_read(channels, width)

    def settle(self) -> None:
        if self.channels and not self.whole:
            for run in self.runs:
                run.read = Fraction(len(self.channels), self.width)


class _Watch(TorchDispatchMode):
    """Sees every operation: those that the counter has no formula for (`uncounted`), memory that
    is multiplied value by value (`multiplied`), and what is read of feature maps, which are known
    by the memory they lie in: views share it."""

    def __init__(self, counter: Any, selections: Sequence[Tensor]) -> None:
        super().__init__()
        self.counter = counter
        self.selections = {_place(index) for index in selections}
        self.uncounted: dict[str, None] = {}
        self.multiplied: set[int] = set()
        self.activations: dict[int, _Activation] = {}  # by their memory, while it is theirs
        self.all: list[_Activation] = []

    def made(self, output: Tensor, run: Run) -> None:
        """A layer that treats each channel on its own has made `output`."""
        place = _place(output)
        if isinstance(run.module, nn.ReLU) or place not in self.activations:
            self.activations[place] = self._new(None)
        self.activations[place].runs.append(run)

    def finished(self, output: Any) -> None:
        """The pass is over, and `output` is what it gives."""
        for tensor in _tensors(output):
            if _place(tensor) in self.activations:
                self.activations[_place(tensor)].is_read()
        for activation in self.all:
            activation.settle()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = getattr(func, "_overloadpacket", func)
        self._note(func, packet, args, kwargs)
        if getattr(func, "is_view", False):
            return output
        sources = {self.activations[place] for tensor in _tensors(args, kwargs)
                   if (place := _place(tensor)) in self.activations}
        made = None
        for source in sources:
            if packet is aten.index_select and _place(args[2]) in self.selections:
                index = range(len(args[2])) if args[2].is_meta else args[2].tolist()
                source.is_read(index, args[0].shape[args[1]])
            elif packet in POOLINGS and len(sources) == 1:
                made = self._new(source)
            else:
                source.is_read()
        for tensor in _tensors(output):  # memory is given out anew once it is free
            self.activations.pop(_place(tensor), None)
            if made is not None:
                self.activations[_place(tensor)] = made
        return output

    def _new(self, source: _Activation | None) -> _Activation:
        self.all.append(_Activation(source))
        return self.all[-1]

    def _note(self, func: Any, packet: Any, args: Any, kwargs: Any) -> None:
        if packet in (aten.mul, aten.mul_):
            self.multiplied |= {_place(tensor) for tensor in _tensors(args, kwargs)}
        if packet in self.counter.flop_registry:
            return
        space, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if space not in OURS or (HEAVY.search(name) and not name.endswith("_cell")):
            inside = max(self.counter.mod_tracker.parents - {"Global"}, key=len, default="forward")
            self.uncounted[f"{space}::{name} in {inside}"] = None


def _tensors(*values: Any) -> Iterator[Tensor]:
    """The tensors among values and in lists, tuples and mappings of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(*value)
        elif isinstance(value, Mapping):
            yield from _tensors(*value.values())


def _place(tensor: Tensor) -> int:
    """Which memory a tensor lies in, also where it has no address, as on the meta device."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _warn(model: nn.Module, watch: _Watch, counted: dict[nn.Module, int]) -> None:
    """Name what has been run and cannot be counted."""
    found = list(watch.uncounted)
    found += [f"the weights of {name or type(model).__name__} ({type(module).__name__})"
              for name, module in model.named_modules()
              if counted.get(module) == 0 and watch.multiplied
              & {_place(weight) for weight in _matrices(module)}]
    if found:
        warnings.warn(f"the multiply-adds of {', '.join(found)} cannot be counted: MACs and FLOPs "
                      "are without them, and so are budgets.", stacklevel=4)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Multi-head attention by its parts inside, not by one fused operation without a formula."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _formulas() -> dict[Any, Any]:
    """FLOPs, two a multiply-add, of operations that torch's counter does not know, from shapes."""
    from torch.utils.flop_counter import addmm_flop, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    known = {"_scaled_dot_product_flash_attention_for_cpu": attention,
             "_scaled_dot_product_fused_attention_overrideable": attention,
             "_addmm_activation": addmm_flop, "mkldnn_rnn_layer": _recurrent_flop,
             "_cudnn_rnn": _recurrent_flop, "miopen_rnn": _recurrent_flop,
             "mv": lambda matrix, *_, **__: 2 * prod(matrix),
             "addmv": lambda _, matrix, *__, **___: 2 * prod(matrix),
             "dot": lambda vector, *_, **__: 2 * prod(vector)}
    return {getattr(aten, name): formula for name, formula in known.items() if hasattr(aten, name)}


def _recurrent_flop(given: Any, *rest: Any, **_: Any) -> int:
    """Each step of each sequence meets every weight matrix once. given: (steps, N, features), or
    (steps of all, features) of packed sequences. The weights come next, in a list or one by one,
    two matrices first."""
    weights = rest[0] if isinstance(rest[0], list) else rest[:2]
    return 2 * prod(given[:-1]) * sum(prod(shape) for shape in weights if len(shape) == 2)
