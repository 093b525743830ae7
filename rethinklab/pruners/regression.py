"""Channel pruning by LASSO regression and least squares reconstruction (He, Zhang & Sun,
ICCV 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rethinklab.data import ImageData
from rethinklab.devices import exact
from rethinklab.errors import PlanError
from rethinklab.models.copying import duplicate
from rethinklab.models.outputs import readable
from rethinklab.models.residual import Branch, residual_branches, shortcut_of
from rethinklab.pruners.base import ChannelPruner, Origin, Request
from rethinklab.pruners.budget import parse_budget
from rethinklab.pruners.cutting.layers import in_width
from rethinklab.pruners.gram import (
    as_maps,
    block_cross,
    block_gram,
    lasso_selection,
    least_squares_weights,
    patches_at,
    sample_places,
    values_at,
    vectors_as_maps,
)
from rethinklab.pruners.plan import Plan, make_plan
from rethinklab.pruners.targets import kept_count
from rethinklab.pruners.thinet import (
    Reader,
    batches,
    calibration_images,
    checked_sampling,
    readers_of,
    sum_finite,
    unreadable,
    watch,
)
from rethinklab.seeds import generator
from rethinklab.values import number, settle

MOST_FEATURES = 10_000  # inputs times kernel of one layer: their Gram matrix takes 800 MB
TINY = 1e-3  # of a normalisation's largest scale


@dataclass(frozen=True)
class Regression(ChannelPruner):
    """Removes the channels that a LASSO on the next layer's output does without, then refits.

    Layer by layer from the input: at `positions` random places of the next layer's output for
    each of `images` training images (all, where there are fewer), the output of the original
    network is regressed on what the network pruned so far computes, so that earlier errors are
    made good; the LASSO chooses channels, and least squares give the next layer new weights. Where
    several layers read the channels, their squared errors are added up in the choice.
    In a residual network that the kit knows, the last convolution of a branch takes the error of
    the shortcut into its target. stream: share of the stream's channels that the first
    convolution of each branch stops reading; the stream itself keeps its width.
    Source: He, Zhang & Sun (ICCV 2017, arXiv 1707.06168), sections 3.1 to 3.3.
    """

    images: int = 1000
    positions: int = 10
    seed: int = 0
    stream: float | None = None
    name: ClassVar[str] = "regression"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, **checked_sampling(self.images, self.positions, self.seed))
        if self.stream is not None:
            settle(self, stream=number(
                "stream", self.stream, above=0, below=1, rule="None or a ratio between 0 and 1, "
                "the share of the stream's channels that a branch stops reading"))
        if self.stream is not None and parse_budget(self.target) is not None:
            raise PlanError(f"the budget {self.target!r} cannot be met with a stream of "
                            f"{self.stream}, which saves more than the budget knows of; give a "
                            "ratio as the target, or stream=None.")

    def obstacles(self, model: nn.Module, input_shape: tuple[int, int, int],
                  layers: Sequence[str]) -> dict[str, str]:
        return unreadable(model, input_shape, layers)

    def fit(self, model: nn.Module, data: ImageData, origin: Origin | None = None) -> Plan:
        request, branches = self._prepare(model, data)
        original, work = duplicate(model).eval(), duplicate(model).eval()
        images = readable(work, calibration_images(data, self.images, self.seed))
        keep = {name: tuple(range(width)) for name, width in request.widths.items()}
        read: dict[str, tuple[int, ...]] = {}
        changed: set[str] = set()
        ends = {branch.last_conv: branch for branch in branches.values()}
        for step in self._steps(model, request, branches, data):
            kept = self._shorten(original, work, step, images, ends)
            (read if step.of_stream else keep)[step.name] = kept
            changed |= {reader.name for reader in step.readers}
        weights = {name: value for name, value in work.state_dict().items()
                   if name.rpartition(".")[0] in changed}
        return make_plan(model, self.name, self.target, data.input_shape, keep, request.asked,
                         request.left_alone, read=read, weights=weights,
                         budget=parse_budget(self.target))

    def rehearse(self, model: nn.Module, data: ImageData) -> Plan:
        """Sizes only: the first channels of each layer. The outputs of an untrained network teach
        nothing about errors, and may be out of all proportion."""
        request, branches = self._prepare(model, data)
        keep = {name: tuple(range(count)) for name, count in request.counts.items()}
        read = {}
        for step in self._steps(model, request, branches, data):
            for reader in step.readers:
                self._check_features(step, reader, reader.layer(model))
            if step.of_stream:
                read[step.name] = tuple(range(step.count))
        return make_plan(model, self.name, self.target, data.input_shape, keep, request.asked,
                         request.left_alone, read=read, budget=parse_budget(self.target))

    def _prepare(self, model: nn.Module, data: ImageData) -> tuple[Request, dict[str, Branch]]:
        branches = residual_branches(model)
        if self.stream is not None and not branches:
            raise PlanError(f"{type(model).__name__} has no residual branches that the kit knows; "
                            "give stream=None.")
        return self.request(model, data.input_shape), branches

    def _check_features(self, step: Step, reader: Reader,
                        layer: nn.Conv2d | nn.Linear) -> None:
        """Raises PlanError for a reader of more values than can be refitted."""
        features = reader.weight(layer)[0].numel()
        if features > MOST_FEATURES:
            raise PlanError(f"{reader.name} reads {features} values for each output, too many to "
                            f"refit ({MOST_FEATURES} at most); leave {step.name} out of the "
                            "target.")

    def _steps(self, model: nn.Module, request: Request, branches: Mapping[str, Branch],
               data: ImageData) -> list[Step]:
        """What is to be cut, in forward order; layers that keep all their channels are not."""
        cut = [name for name, count in request.counts.items() if count < request.widths[name]]
        readers = readers_of(model, data.input_shape, cut)
        steps = [Step(name, readers[name], request.counts[name], False) for name in cut]
        losing = {reader.name for step in steps for reader in step.readers}
        for branch in branches.values() if self.stream is not None else ():
            if branch.first in losing:
                continue  # what it reads is no stream: one layer makes it, and that is pruned
            width = in_width(model.get_submodule(branch.first))
            count = kept_count(self.stream or 0.0, width, f"the stream read by {branch.first}")
            reader = Reader(branch.first, torch.arange(width)[:, None])
            if count < width:
                steps.append(Step(branch.first, [reader], count, True))
        order = {name: number for number, (name, _) in enumerate(model.named_modules())}
        return sorted(steps, key=lambda step: (order[step.name], not step.of_stream))

    def _shorten(self, original: nn.Module, work: nn.Module, step: Step, images: Tensor,
                 ends: Mapping[str, Branch]) -> tuple[int, ...]:
        """Choose the channels kept, and give the readers in `work` new weights for them."""
        found = {reader.name: self._moments(original, work, step, reader, images,
                                            ends.get(reader.name)) for reader in step.readers}
        products = {name: moments.of_channels() for name, moments in found.items()}
        gram = sum_finite({name: gram for name, (gram, _) in products.items()})
        cross = sum_finite({name: cross for name, (_, cross) in products.items()})
        values = sum(moments.values for moments in found.values())
        kept = tuple(lasso_selection(gram, cross, values, step.count))
        for reader in step.readers:
            weights, bias = found[reader.name].refit(kept)
            layer = reader.layer(work)
            reader.assign(layer, kept, weights)
            if bias is not None:
                assert layer.bias is not None
                layer.bias.data.copy_(bias)
        return kept

    def _moments(self, original: nn.Module, work: nn.Module, step: Step, reader: Reader,
                 images: Tensor, branch: Branch | None) -> Moments:
        """Products of what the reader reads in `work` and what it computes in `original`."""
        layer = reader.layer(work)
        bias = None if layer.bias is None else exact(layer.bias.detach())
        self._check_features(step, reader, layer)
        moments = Moments(reader.weight(layer), bias, output_scale(work, branch))
        size = output_size_of(original, reader, images[:1])
        draws = generator(self.seed, self.name, step.name, reader.name, int(step.of_stream))
        for batch in batches(images, work):
            places = sample_places(len(batch), size, self.positions, draws)
            before = sample(original, reader, batch, places, branch)
            now = sample(work, reader, batch, places, branch)
            moments.add(now.patches, moments.target(before, now))
        return moments


@dataclass(frozen=True)
class Step:
    """One cut. name: the layer that loses outputs, or the one that reads less of a stream.
    readers: what reads the channels. count: of those kept."""

    name: str
    readers: list[Reader]
    count: int
    of_stream: bool


@dataclass(frozen=True)
class Samples:
    """What one reader sees of some images, at some places of its output.

    patches: (m, C, e * k), the channels in question. outputs: (m, N), bias included. others: (m,
    N), the part of the outputs that neither these channels nor the bias make. shortcut: (m, N),
    what the shortcut of the block adds there, or zero. All float64.
    """

    patches: Tensor
    outputs: Tensor
    others: Tensor
    shortcut: Tensor


def sample(model: nn.Module, reader: Reader, images: Tensor, places: Tensor,
           branch: Branch | None) -> Samples:
    """Look at `reader` in `model` at `places` (m, 3) of its output. branch: the residual branch
    that the reader ends, if it ends one."""
    layer = reader.layer(model)
    shortcuts: list[Tensor] = []
    found: list[Samples] = []

    def enter(x: Tensor) -> None:
        assert branch is not None
        shortcuts.append(values_at(shortcut_of(model.get_submodule(branch.block), x), places))

    def look(x: Tensor, y: Tensor) -> None:
        maps, window = as_maps(layer, x)
        patches = reader.grouped(patches_at(reader.select(maps), places, *window))
        outputs = values_at(output_maps(layer, y), places)
        others = torch.zeros_like(outputs)
        if not reader.reads_all(maps.shape[1]):
            others = outputs - patches.flatten(1) @ reader.weight(layer).flatten(1).T
            others -= 0 if layer.bias is None else exact(layer.bias)
        shortcut = shortcuts[0] if shortcuts else torch.zeros_like(outputs)
        found.append(Samples(patches, outputs, others, shortcut))

    watch(model, images, reader.name, look, {branch.block: enter} if branch else None)
    return found[0]


def output_size_of(model: nn.Module, reader: Reader, image: Tensor) -> tuple[int, int]:
    """Height and width of the reader's output."""
    sizes: list[tuple[int, int]] = []

    def look(x: Tensor, y: Tensor) -> None:
        height, width = output_maps(reader.layer(model), y).shape[2:]
        sizes.append((height, width))

    watch(model, next(batches(image, model)), reader.name, look)
    return sizes[0]


def output_maps(layer: nn.Module, y: Tensor) -> Tensor:
    """The output of a layer as maps (B, N, H, W)."""
    return vectors_as_maps(y) if isinstance(layer, nn.Linear) else y


def output_scale(model: nn.Module, branch: Branch | None) -> Tensor | None:
    """gamma / sqrt(var + eps) of the normalisation between the last convolution of a branch and
    the addition, float64 (N,); None where there is none, or no branch."""
    if branch is None or branch.last == branch.last_conv:
        return None
    norm = model.get_submodule(branch.last)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    scale = exact(norm.running_var + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * exact(norm.weight.detach())


class Moments:
    """Sums over samples from which a reader's channels are chosen and its weights refitted.

    weight: (N, C, e * k) and bias: (N,) or None, what the reader has now. scale: (N,), what its
    outputs are multiplied with before they meet the shortcut, or None. Features are the C * e * k
    values of a patch and a constant one, last, whose weight is the bias.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: Tensor | None) -> None:
        features = weight[0].numel() + 1
        self.weight, self.bias = weight, bias
        self.scale = torch.ones_like(weight[:, 0, 0]) if scale is None else scale
        self.gram = weight.new_zeros(features, features)
        self.cross = weight.new_zeros(features, len(weight))
        self.values = 0  # outputs added up, samples times N

    def target(self, before: Samples, now: Samples) -> Tensor:
        """What these channels and the bias should add up to: the original's output, less what
        other channels make now, plus what the shortcut now lacks (He et al., section 3.3)."""
        lacking = (before.shortcut - now.shortcut) / self.scale
        usable = self.scale.abs() > TINY * self.scale.abs().max()  # others hardly reach the sum
        return before.outputs - now.others + torch.where(usable, lacking, 0.0)

    def add(self, patches: Tensor, target: Tensor) -> None:
        flat = torch.cat([patches.flatten(1), patches.new_ones(len(patches), 1)], 1)
        self.gram.addmm_(flat.T, flat)
        self.cross.addmm_(flat.T, target)
        self.values += target.numel()

    def of_channels(self) -> tuple[Tensor, Tensor]:
        """Z^T Z (C, C) and Z^T y (C,) of the channels' outputs, as scaled, the bias apart."""
        weight = self.weight * self.scale[:, None, None]
        cross = self.cross[:-1]
        if self.bias is not None:
            cross = cross - self.gram[:-1, -1:] * self.bias
        return block_gram(self.gram[:-1, :-1], weight), block_cross(cross * self.scale, weight)

    def refit(self, kept: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Least squares weights (N, len(kept), e * k), and the bias (N,) where there is one."""
        outputs, channels, taps = self.weight.shape
        index = torch.arange(channels * taps).view(channels, taps)[list(kept)].flatten()
        start = self.weight[:, list(kept)].flatten(1).T
        if self.bias is not None:
            index = torch.cat([index, torch.tensor([channels * taps])])
            start = torch.cat([start, self.bias[None]])
        index = index.to(self.gram.device)
        found = least_squares_weights(self.gram[index][:, index], self.cross[index], start,
                                      self.values // outputs)
        if self.bias is None:
            return found.T.reshape(outputs, len(kept), taps), None
        return found[:-1].T.reshape(outputs, len(kept), taps), found[-1]
