"""ThiNet: filters are removed by what the next layer loses (Luo et al., ICCV 2017).

Also what ThiNet and the regression method have in common: finding the layers that read a layer's
channels, and looking at them while a few training images pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.analysis.ledger import open_ledger
from rethinklab.data import ImageData
from rethinklab.data.batches import calibration_batch
from rethinklab.devices import exact
from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import readable
from rethinklab.pruners.base import ChannelPruner, Origin, require_origin
from rethinklab.pruners.budget import parse_budget
from rethinklab.pruners.cutting.graph import ChannelGraph
from rethinklab.pruners.cutting.layers import LAYERS, Shape, out_width
from rethinklab.pruners.cutting.surgery import without
from rethinklab.pruners.gram import (
    as_maps,
    contributions,
    greedy_removal,
    least_squares_scales,
    sample_patches,
)
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.seeds import MAX_SEED, check_seed, generator, stream
from rethinklab.trainers.loop import train
from rethinklab.trainers.masks import HoldMasks
from rethinklab.values import settle, whole

BATCH = 64  # calibration images that pass at a time, which bounds memory

Layer = nn.Conv2d | nn.Linear
Look = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class ThiNet(ChannelPruner):
    """Removes the filters that the next layer misses least, and rescales what it still reads.

    Layer by layer from the input: `positions` random values of the next layer's output for each
    of `images` training images (all, where there are fewer) are split into what each channel
    adds; the channels whose joint part is smallest go, greedily; the others get the scales that
    restore the sum best, folded into the next layer's weights. The stream of a residual network
    keeps its width. Where several layers read the channels, their squared errors are added up.
    tune_epochs: training after each layer, at the recipe's last learning rate; needs `origin`.
    Source: Luo et al. (ICCV 2017, arXiv 1707.06342), sections 3.2 and 3.3.
    """

    images: int = 500
    positions: int = 10
    seed: int = 0
    tune_epochs: int = 0
    name: ClassVar[str] = "thinet"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, **checked_sampling(self.images, self.positions, self.seed),
               tune_epochs=whole("tune_epochs", self.tune_epochs, 0))

    def obstacles(self, model: nn.Module, input_shape: Shape,
                  layers: Sequence[str]) -> dict[str, str]:
        return unreadable(model, input_shape, layers)

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        trainer = (require_origin(origin, self.name, "trains after each layer (tune_epochs)")
                   if self.tune_epochs else None)
        request = self.request(model, data.input_shape)
        readers = readers_of(model, data.input_shape, request.counts)
        work = duplicate(model).eval()
        images = readable(work, calibration_images(data, self.images, self.seed))
        keep: dict[str, tuple[int, ...]] = {}
        alive: dict[str, Tensor] = {}  # masks of the readers' weights, by parameter
        for name, count in request.counts.items():
            width = request.widths[name]
            if count == width:
                keep[name] = tuple(range(width))
                continue
            keep[name] = self._shorten(work, name, readers[name], images, count)
            for reader in readers[name]:
                mask = alive.setdefault(f"{reader.name}.weight", torch.ones(
                    reader.layer(work).weight.shape, dtype=torch.bool))
                mask[:, reader.inputs(without(keep[name], width))] = False
            if trainer is not None:
                work = self._tune(work, data, trainer, alive, name)
        state = work.state_dict()
        weights = state if trainer and alive else {name: state[name] for name in alive}
        return make_plan(model, self.name, self.target, data.input_shape, keep, request.asked,
                         request.left_alone, weights=weights,
                         budget=parse_budget(self.target))

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        return replace(self, images=min(self.images, 2), tune_epochs=0).fit(model, data)

    def _shorten(self, work: nn.Module, name: str, readers: Sequence[Reader], images: Tensor,
                 count: int) -> tuple[int, ...]:
        """Choose the `count` channels of `name` to keep, and let `work` read only those."""
        grams = {reader.name: self._gram(work, name, reader, images) for reader in readers}
        total = sum_finite(grams)
        kept = tuple(without(greedy_removal(total, len(total) - count), len(total)))
        for reader in readers:
            gram = grams[reader.name]
            factors = torch.zeros(len(gram), dtype=torch.float64)
            factors[list(kept)] = least_squares_scales(gram, gram.sum(1), kept).cpu()
            reader.scale(reader.layer(work), factors)
        return kept

    def _gram(self, work: nn.Module, name: str, reader: Reader, images: Tensor) -> Tensor:
        """X^T X, (C, C), of what each channel of `name` adds to sampled outputs of the reader."""
        layer = reader.layer(work)
        weight = reader.weight(layer)
        draws = generator(self.seed, self.name, name, reader.name)
        gram = weight.new_zeros(len(reader.columns), len(reader.columns))

        def look(x: Tensor, y: Tensor) -> None:
            maps, window = as_maps(layer, x)
            patches, _ = sample_patches(reader.select(maps), *window, self.positions, draws)
            outputs = torch.randint(0, len(weight), (len(patches),), generator=draws)
            parts = contributions(reader.grouped(patches), weight, outputs.to(weight.device))
            gram.addmm_(parts.T, parts)

        for batch in batches(images, work):
            watch(work, batch, reader.name, look)
        return gram

    def _tune(self, work: nn.Module, data: ImageData, origin: Origin,
              alive: Mapping[str, Tensor], name: str) -> nn.Module:
        """`work` after some epochs in which the columns already removed stay zero."""
        recipe = replace(origin.recipe, epochs=self.tune_epochs, lr=origin.recipe.last_lr,
                         milestones=(), step=None)
        seed = stream(origin.seed, self.name, "tune", name) % MAX_SEED
        tuned = train(work, data, recipe, seed=seed, device=origin.device,
                      precision=origin.precision, callbacks=[HoldMasks(alive)], progress=False)
        return tuned.model.to(next(work.parameters()).device).eval()


@dataclass(frozen=True)
class Reader:
    """A layer that reads the channels of another.

    name: as in `model.named_modules()`. columns: int64 (C, e), the input channels of this layer
    that each of the C channels arrives at: one, or several after a flattening.
    """

    name: str
    columns: Tensor

    def layer(self, model: nn.Module) -> Layer:
        layer = model.get_submodule(self.name)
        assert isinstance(layer, Layer)
        return layer

    def inputs(self, channels: Sequence[int]) -> Tensor:
        """The input channels of this layer at which `channels` arrive, int64."""
        return self.columns[list(channels)].flatten()

    def reads_all(self, width: int) -> bool:
        """Whether the layer, of `width` input channels, reads nothing else, in this order."""
        return torch.equal(self.columns.flatten(), torch.arange(width))

    def select(self, maps: Tensor) -> Tensor:
        """Of the layer's input (B, ., H, W), the C * e channels in question."""
        if self.reads_all(maps.shape[1]):
            return maps
        return maps.index_select(1, self.columns.flatten().to(maps.device))

    def grouped(self, patches: Tensor) -> Tensor:
        """Patches (m, C * e, k) as (m, C, e * k)."""
        return patches.reshape(len(patches), len(self.columns), -1)

    def weight(self, layer: Layer) -> Tensor:
        """The layer's weights for the channels in question, float64 (N, C, e * k)."""
        weight = layer.weight.detach().reshape(*layer.weight.shape[:2], -1)
        chosen = weight[:, self.columns.flatten().to(weight.device)]
        return exact(chosen).reshape(len(weight), len(self.columns), -1)

    @torch.no_grad()
    def assign(self, layer: Layer, kept: Sequence[int], weights: Tensor) -> None:
        """Write weights (N, len(kept), e * k) for the `kept` channels into the layer, and zero for
        the other ones."""
        target = layer.weight
        target[:, self.columns.flatten().to(target.device)] = 0
        columns = self.inputs(kept).to(target.device)
        target[:, columns] = weights.to(target).reshape(target[:, columns].shape)

    @torch.no_grad()
    def scale(self, layer: Layer, factors: Tensor) -> None:
        """Multiply the layer's weights for each channel by its factor, (C,), in place."""
        weight = layer.weight
        columns = self.columns.flatten().to(weight.device)
        spread = factors.repeat_interleave(self.columns.shape[1]).to(weight)
        weight[:, columns] *= spread.view(-1, *[1] * (weight.ndim - 2))


def readers_of(model: nn.Module, input_shape: Shape,
               layers: Mapping[str, object] | Sequence[str]) -> dict[str, list[Reader]]:
    """The layers that read the output channels of each of `layers`.

    Raises PlanError for a reader that is neither a Conv2d nor a Linear.
    """
    graph = ChannelGraph(duplicate(model), input_shape)
    return {name: _readers(graph, name) for name in layers}


def unreadable(model: nn.Module, input_shape: Shape, layers: Sequence[str]) -> dict[str, str]:
    """Which of `layers` are read by others whose output cannot be reconstructed, and why."""
    graph, found = ChannelGraph(duplicate(model), input_shape), {}
    for name in layers:
        try:
            _readers(graph, name)
        except PlanError as error:
            found[name] = str(error).partition(";")[0]
    return found


def _readers(graph: ChannelGraph, name: str) -> list[Reader]:
    module = graph.model.get_submodule(name)
    width = out_width(module)
    columns: dict[str, list[Tensor]] = {}
    for node, indices, is_output in graph.members(module, range(width)):
        part = node.module
        if is_output or not isinstance(part, LAYERS) or getattr(part, "groups", 1) > 1:
            continue
        if not isinstance(part, Layer):
            raise PlanError(f"{name} is read by {graph.names[part]}, a {type(part).__name__}, "
                            "whose output cannot be reconstructed; leave it out of the target.")
        columns.setdefault(graph.names[part], []).append(torch.tensor(indices).view(width, -1))
    if not columns:
        raise PlanError(f"no layer reads the channels of {name}, so their loss cannot be "
                        "measured; leave it out of the target.")
    return [Reader(reader, torch.cat(parts, 1)) for reader, parts in columns.items()]


class _Stop(Exception):
    """Raised to end a forward pass of which enough has been seen."""


@torch.no_grad()
def watch(model: nn.Module, images: Tensor, name: str, look: Look,
          entering: Mapping[str, Callable[[Tensor], None]] | None = None) -> None:
    """Pass images through `model`, in evaluation mode, up to the layer `name`.

    look: called with the layer's input and output, which it must not hold on to: what comes
    later may write over them. entering: by module, called before with the module's input.
    """
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        look(inputs[0], output)
        raise _Stop

    def hook_before(call: Callable[[Tensor], None]) -> Callable[..., None]:
        return lambda module, inputs: call(inputs[0])

    handles = [model.get_submodule(module).register_forward_pre_hook(hook_before(call))
               for module, call in (entering or {}).items()]
    handles.append(model.get_submodule(name).register_forward_hook(hook))
    ledger = open_ledger()
    if ledger is not None:
        ledger.calibrate(len(images))
    try:
        model(images)
    except _Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()


def calibration_images(data: ImageData, images: int, seed: int) -> Tensor:
    """At most `images` normalised training images, float32 (N, C, H, W)."""
    return calibration_batch(data, min(images, len(data.train)), seed)[0]


def batches(images: Tensor, model: nn.Module) -> Iterator[Tensor]:
    """`images` in small batches, on the model's device."""
    device = next(model.parameters()).device
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH].to(device)


def sum_finite(products: Mapping[str, Tensor]) -> Tensor:
    """The sum of products of samples, by the layer that each comes from. Raises PlanError for
    values that are not finite."""
    for name, product in products.items():
        if not torch.isfinite(product).all():
            raise PlanError(f"what {name} reads is not all finite numbers: the network diverged in "
                            "training, or what came before was fitted to too few samples (give "
                            "more images or positions).")
    return torch.stack(list(products.values())).sum(0)


def checked_sampling(images: int, positions: int, seed: int) -> dict[str, int]:
    """The plain numbers by name. Raises ConfigError for such as are not whole and positive."""
    return {"images": whole("images", images, 1), "positions": whole("positions", positions, 1),
            "seed": check_seed(seed)}
