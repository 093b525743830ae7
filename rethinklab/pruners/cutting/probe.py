"""What of a network can really be pruned: the dependency graph's word, tried out.

The graph follows a forward pass as autograd saw it, and guesses where operations rearrange
channels (pixel and channel shuffles, folds, fused heads), where Python looks at values, or where
training and testing take different ways. Two trials find what it got wrong, layer by layer, so
that one layer that cannot be cut does not refuse the network:

- the layers that read some channels give them no weight; whatever those channels then hold, the
  network must give the same;
- the channels are removed; the network must run in both modes and give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.pruners.cutting.graph import ChannelGraph, Survey
from rethinklab.pruners.cutting.layers import LAYERS, Shape, layers_run, out_width
from rethinklab.pruners.cutting.surgery import forget_inputs, remove_channels
from rethinklab.seeds import generator, global_stream

TRIED = 3  # one channel in so many is taken
NOISE = 1e-4  # of the largest output: above rounding, below a channel that counts
Removed = dict[str, list[int]]


def survey(model: nn.Module, input_shape: Shape) -> Survey:
    """What of `model` can be pruned, and what is left alone and why. The model is not changed.

    Raises PlanError where the model cannot be traced with an image of `input_shape`.
    """
    return prove(ChannelGraph(duplicate(model), input_shape))


def prove(graph: ChannelGraph) -> Survey:
    """`graph.survey()`, less the layers of which a trial shows that they cannot be cut. Found once
    for each graph."""
    if graph.proven is None:
        found = graph.survey()
        removed = {name: _some_of(name, layer.width) for name, layer in found.prunable.items()
                   if layer.width > 1}
        odd = _mixing(graph, removed)
        odd |= _uncuttable(graph, {n: gone for n, gone in removed.items() if n not in odd})
        graph.proven = Survey({n: layer for n, layer in found.prunable.items() if n not in odd},
                              {n: odd.get(n) or found.left_alone[n] for n in _ordered(graph)
                               if n in odd or n in found.left_alone})
    return graph.proven


def _ordered(graph: ChannelGraph) -> Iterator[str]:
    return (name for name, module in graph.model.named_modules() if isinstance(module, LAYERS))


def _some_of(name: str, width: int) -> list[int]:
    """A third of the channels, at random: one at least, and never all."""
    order = torch.randperm(width, generator=generator(0, "probe", name)).tolist()
    return sorted(order[: max(1, width // TRIED)])


def _mixing(graph: ChannelGraph, removed: Removed) -> dict[str, str]:
    """The layers whose channels reach others than the graph says, with the reason."""
    if not removed or _ignored(graph, removed):
        return {}
    odd = {}
    for name, gone in removed.items():
        if not _ignored(graph, {name: gone}):
            how = ", ".join(graph.between(name))
            odd[name] = ("its channels do not reach the layers that read them one by one"
                         + (f" ({how} comes between)" if how else ""))
    return odd


@torch.no_grad()
def _ignored(graph: ChannelGraph, removed: Removed) -> bool:
    """Whether the network gives the same, in both modes, whatever the channels `removed` hold,
    once the layers that read them give them no weight."""
    work = duplicate(graph.model)
    forget_inputs(work, graph, removed)
    images = torch.randn(2, *graph.example.shape[1:], generator=generator(0, "probe"))
    images = images.to(graph.example.device)
    for training in (False, True):
        work.train(training)
        outputs = []
        for draw in (0, 1):  # other noise, not stronger noise: a normalisation undoes a factor
            with _disturbed(work, removed, draw), global_stream(0, "probe"):
                try:
                    outputs.append(_tensors(work(images)))
                except Exception:  # in training mode alone: told before it is trained
                    return not training or bool(graph.only_training)
        for first, second in zip(*outputs, strict=True):
            if not torch.isfinite(first).all():
                continue
            if (first - second).abs().max() > NOISE * first.abs().max():
                return False
    return True


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of floating-point numbers that a forward pass gave."""
    if isinstance(output, Tensor):
        return [output.clone()] if output.is_floating_point() else []
    parts: Iterable[Any] = output.values() if isinstance(output, dict) else (
        output if isinstance(output, (tuple, list)) else ())
    return [tensor for part in parts for tensor in _tensors(part)]


@contextmanager
def _disturbed(model: nn.Module, removed: Removed, draw: int) -> Iterator[None]:
    """Noise in place of the output channels `removed`, and `draw` says which."""
    def hook(name: str, channels: Sequence[int]) -> Callable[..., Tensor]:
        draws = generator(draw, "noise", name)

        def disturb(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            output = output.clone()
            along = output.ndim - 1 if isinstance(module, nn.Linear) else 1
            index = torch.tensor(channels, device=output.device)
            noise = torch.randn(output.index_select(along, index).shape, generator=draws)
            return output.index_copy_(along, index, noise.to(output))
        return disturb

    handles = [model.get_submodule(name).register_forward_hook(hook(name, channels))
               for name, channels in removed.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _uncuttable(graph: ChannelGraph, removed: Removed) -> dict[str, str]:
    """The layers without some of whose channels the network fails, with the reason: by halves, so
    that few trials find few layers among many."""
    if not removed:
        return {}
    problem = _cut_fails(graph, removed)
    if problem is None:
        return {}
    if len(removed) == 1:
        return dict.fromkeys(removed, f"{problem.rstrip('.')}{_ways(graph)}")
    names = list(removed)
    middle = len(names) // 2
    odd: dict[str, str] = {}
    for part in (names[:middle], names[middle:]):
        odd |= _uncuttable(graph, {name: removed[name] for name in part})
    return odd


def _cut_fails(graph: ChannelGraph, removed: Removed) -> str | None:
    """Why the network fails without the channels `removed`, or None."""
    keep = {name: sorted(set(range(out_width(graph.model.get_submodule(name)))) - set(gone))
            for name, gone in removed.items()}
    shape = tuple(graph.example.shape[1:])
    try:
        remove_channels(graph.model, keep, shape)  # type: ignore[arg-type]
    except PlanError as error:
        return str(error)
    return None


def _ways(graph: ChannelGraph) -> str:
    """Of a network that takes different ways, which layers are not on all of them."""
    noise = torch.randn(graph.example.shape, generator=generator(0, "probe"))
    noise = noise.to(graph.example.device)
    black, grey = layers_run(graph.model, graph.example), layers_run(graph.model, noise)
    odd = [f"{name} runs in training mode only" for name in sorted(graph.only_training)[:2]]
    odd += [f"{name} runs for some images only" for name in sorted(black ^ grey)[:2]]
    return f"; {', '.join(odd)}" if odd else ""
