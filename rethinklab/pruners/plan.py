"""The plan: the architecture that pruning found, as data, apart from any weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.cost import Cost, profile
from rethinklab.errors import PlanError
from rethinklab.files import save_tensors
from rethinklab.models.copying import duplicate
from rethinklab.models.initialise import reinitialise, sparse_initialise
from rethinklab.pruners import designs
from rethinklab.pruners.budget import Budget, check_left
from rethinklab.pruners.cutting.layers import LAYERS, out_width
from rethinklab.pruners.cutting.masks import apply_masks, silence_channels
from rethinklab.pruners.cutting.surgery import Channels, remove_channels
from rethinklab.pruners.designs import Design
from rethinklab.pruners.shares import stage_shares
from rethinklab.trainers.callbacks import Callback
from rethinklab.trainers.masks import HoldMasks

SCHEMA = 2
TENSORS = ("masks", "weights")  # kept beside the JSON text, as safetensors


class Tensors(dict[str, Tensor]):
    """Tensors by parameter name, equal to another such where names and all values are."""

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, dict) and self.keys() == other.keys()
                and all(torch.equal(value.cpu(), other[name].cpu())
                        for name, value in self.items()))

    def __ne__(self, other: object) -> bool:  # dict has one of its own, which asks each tensor
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} tensors, {sum(v.numel() for v in self.values()):,} values>"


@dataclass(frozen=True)
class Plan:
    """What of a network stays.

    method, target: who made it, asked for what. input_shape: (C, H, W) it was made for. widths:
    channels of each layer before. keep: output channels kept of each, ascending. read: layers
    that go on reading only these channels of an input that keeps its width. branches: residual
    blocks that lose their branch. masks: by parameter, True where a weight lives. weights: what
    the method itself gave to parameters of the unpruned network, before the cut (reconstruction).
    rewind: epochs of the large network's training after which a winning ticket's weights are
    taken. asked: the share to remove (a float) or the width to keep (an int) that was asked of
    each layer. left_alone: the other layers, with reasons. before, after: cost of the network
    without and with the cut, weights that a mask leaves out not counted.
    `apply` inherits weights and `scratch` does not: the study's question in two verbs.
    """

    method: str
    target: Any
    input_shape: tuple[int, int, int]
    widths: Mapping[str, int]
    keep: Mapping[str, tuple[int, ...]]
    asked: Mapping[str, float | int] = field(default_factory=dict)
    left_alone: Mapping[str, str] = field(default_factory=dict)
    before: Cost | None = None
    after: Cost | None = None
    read: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    branches: tuple[str, ...] = ()
    masks: Mapping[str, Tensor] = field(default_factory=Tensors)
    weights: Mapping[str, Tensor] = field(default_factory=Tensors)
    rewind: int = 0

    def apply(self, model: nn.Module) -> nn.Module:
        """The pruned network with the weights that `model` has, or that the method reconstructed
        from them; `model` stays as it is. A masked network must be trained with `callbacks()`.

        Raises PlanError where the model has other layers or widths than the plan was made for.
        """
        return self._cut(model, self.weights)

    def ticket(self, initial: nn.Module) -> nn.Module:
        """The pruned network with the weights of `initial`, the same network earlier in its
        training, whatever the method reconstructed: a winning ticket, perhaps."""
        return self._cut(initial, {})

    def scratch(self, model: nn.Module, seed: int = 0,
                init: Callable[[nn.Module], object] | None = None) -> nn.Module:
        """The pruned architecture with new weights (see `reinitialise`), none inherited.

        Masked convolutions are drawn by `sparse_initialise`. Give the untrained network where it
        has buffers that training changes and no module resets: such buffers are taken for
        constants.
        """
        fresh = reinitialise(self._cut(model, {}), seed, init)
        if self.masks:
            sparse_initialise(fresh, self.masks, seed)
            apply_masks(fresh, self.masks)
        return fresh

    def silence(self, model: nn.Module) -> nn.Module:
        """The full-size network with what the plan cuts set to zero: the mask form of the plan."""
        self._check(model)
        silent = silence_channels(model, self.keep, self.input_shape, self.read, self.branches)
        apply_masks(silent, self.masks)
        return silent

    def uniform(self, model: nn.Module, at: str = "params", choose: str = "random",
                seed: int = 0) -> Plan:
        """The same share of every layer of `model`, at as many parameters or, at="macs",
        multiply-adds as this plan leaves; of masks one density, at "random" places or the
        "largest" weights. See `rethinklab.pruners.designs`.

        Raises PlanError where one share comes no nearer to the cost than 5 %."""
        even = self._redesigned(model, "uniform", designs.uniform(self, model, at, choose, seed))
        if not self.masks:
            designs.check_cost(getattr(even.after, at), getattr(self.after, at), at, self.method)
        return even

    def guided(self, model: nn.Module, seed: int = 0) -> Plan:
        """In every layer the average share that this plan keeps of the layer's stage, the layers
        of one size of feature map; masks are drawn at the stage's probabilities."""
        return self._redesigned(model, "guided", designs.guided(self, model, seed))

    def transfer(self, model: nn.Module, to: nn.Module,
                 input_shape: tuple[int, int, int] | None = None, seed: int = 0) -> Plan:
        """A plan for the network `to`, each stage of which keeps the average share that this plan
        keeps of that stage of `model`, the network that it was made for.

        input_shape: (C, H, W) of the images of `to`, by default those of this plan. Raises
        PlanError where the networks have different numbers of stages.
        """
        return transferred_plan(stage_shares(self, model), to, input_shape or self.input_shape,
                                self.target, seed)

    def callbacks(self) -> list[Callback]:
        """What must act while the pruned network trains: masks are held."""
        return [HoldMasks(self.masks)] if self.masks else []

    @property
    def kept_widths(self) -> dict[str, int]:
        """Channels of each planned layer after the cut."""
        return {name: len(kept) for name, kept in self.keep.items()}

    @property
    def densities(self) -> dict[str, float]:
        """Share of the weights that live, of each masked parameter."""
        return {name: float(mask.float().mean()) for name, mask in self.masks.items()}

    @property
    def flops_ratio(self) -> float:
        """FLOPs of the unpruned network over those of the pruned one, which sets Scratch-B."""
        if self.before is None or self.after is None:
            raise PlanError("this plan carries no costs; make it with a pruner's fit().")
        return self.before.flops / self.after.flops

    @property
    def report(self) -> str:
        """What was asked and what came out, layer by layer, and what was left alone and why."""
        return describe(self)

    def to_json(self) -> str:
        """The plan as JSON text, of its tensors the names only; see `Plan.save` for all of it."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TENSORS}
        content["tensors"] = {part: list(getattr(self, part)) for part in TENSORS}
        for when in ("before", "after"):
            cost = content[when]
            content[when] = cost and cost.__dict__
        return json.dumps({"schema": SCHEMA, **content}, indent=1)

    @classmethod
    def from_json(cls, text: str, masks: Mapping[str, Tensor] | None = None,
                  weights: Mapping[str, Tensor] | None = None) -> Plan:
        """Raises PlanError where the text is not a plan or one of a newer version."""
        try:
            content = json.loads(text)
            schema = content.pop("schema")
            if schema > SCHEMA:
                raise PlanError(f"the plan has schema {schema}, newer than this version's "
                                f"{SCHEMA}; update rethinklab.")
            content["input_shape"] = tuple(content["input_shape"])
            content["branches"] = tuple(content.get("branches", ()))
            for part in ("keep", "read"):
                content[part] = {n: tuple(kept) for n, kept in content.get(part, {}).items()}
            for when in ("before", "after"):
                content[when] = content[when] and Cost(**content[when])
            named = content.pop("tensors", {})
            held = {"masks": Tensors(masks or {}), "weights": Tensors(weights or {})}
            for part in TENSORS:
                if set(named.get(part, ())) != set(held[part]):
                    raise PlanError(f"the plan's {part} are not those that its text names; load it "
                                    "with Plan.load from the folder that holds both its files.")
            return cls(**content, masks=held["masks"], weights=held["weights"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlanError(f"the text is not a pruning plan ({error}).") from error

    def save(self, path: str | Path) -> None:
        """Write the JSON text to `path`, and masks and weights, if any, to a .safetensors file
        beside it, named after it."""
        file = _tensor_file(path)
        held = {f"{part}/{name}": value for part in TENSORS
                for name, value in getattr(self, part).items()}
        file.unlink(missing_ok=True)  # of a plan that was here before
        if held:
            save_tensors(held, file)
        Path(path).write_text(self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """The plan that `save` wrote, with its tensors."""
        from safetensors.torch import load_file

        file = _tensor_file(path)
        held = load_file(file) if file.is_file() else {}
        parts = {part: {name.partition("/")[2]: value for name, value in held.items()
                        if name.startswith(f"{part}/")} for part in TENSORS}
        return cls.from_json(Path(path).read_text(), **parts)

    def _cut(self, model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
        self._check(model)
        model = duplicate(model)
        if weights:
            load_some(model, weights)
        apply_masks(model, self.masks)
        if not (self.keep or self.read or self.branches):
            return model
        return remove_channels(model, self.keep, self.input_shape, self.read, self.branches)

    def _redesigned(self, model: nn.Module, method: str, design: Design) -> Plan:
        """A plan for the same network in place of this one."""
        return make_plan(model, method, self.target, self.input_shape, design.keep, self.asked,
                         self.left_alone, read=design.read, masks=design.masks or None,
                         rewind=self.rewind)

    def _check(self, model: nn.Module) -> None:
        modules = dict(model.named_modules())
        for name, width in self.widths.items():
            if not isinstance(modules.get(name), LAYERS):
                raise PlanError(f"the plan prunes layer {name!r}, which {type(model).__name__} "
                                "does not have; apply it to the network it was made for.")
            found = out_width(modules[name])
            if found != width:
                raise PlanError(f"the plan expects {width} channels in {name}, but this "
                                f"{type(model).__name__} has {found}; apply it to the unpruned "
                                "network it was made for.")
        parameters = dict(model.named_parameters())
        for name, mask in self.masks.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                raise PlanError(f"the plan masks {name!r} of shape {tuple(mask.shape)}, which this "
                                f"{type(model).__name__} does not have; apply it to the network "
                                "it was made for.")


def _tensor_file(path: str | Path) -> Path:
    """Where a plan's tensors are kept."""
    return Path(path).with_name(f"{Path(path).name}.safetensors")


def load_some(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy parameters and buffers by name into `model`. Raises PlanError where one does not fit."""
    state = model.state_dict()
    with torch.no_grad():
        for name, value in values.items():
            if name not in state or state[name].shape != value.shape:
                raise PlanError(f"the plan holds values of shape {tuple(value.shape)} for "
                                f"{name!r}, which {type(model).__name__} does not have.")
            state[name].copy_(value)


def make_plan(model: nn.Module, method: str, target: Any, input_shape: tuple[int, int, int],
              keep: Channels, asked: Mapping[str, float | int], left_alone: Mapping[str, str], *,
              read: Channels | None = None, branches: tuple[str, ...] = (),
              masks: Mapping[str, Tensor] | None = None,
              weights: Mapping[str, Tensor] | None = None, rewind: int = 0,
              budget: Budget | None = None) -> Plan:
    """A plan that has been carried out once on `model`, with the costs before and after.

    The arguments are the fields of `Plan`. budget: that it was made to meet. Raises PlanError
    where the model cannot honour it, or misses the budget, and warns of layers that masks leave no
    weight: a network without branches then says the same of every image, while a residual one goes
    on, and the released code prunes either in silence.
    """
    def on_cpu(values: Mapping[str, Tensor] | None) -> Tensors:
        return Tensors({name: value.detach().cpu() for name, value in (values or {}).items()})

    widths = {name: out_width(model.get_submodule(name)) for name in keep}
    plan = Plan(method, target, input_shape, widths,
                {name: tuple(kept) for name, kept in keep.items()}, dict(asked), dict(left_alone),
                read={name: tuple(kept) for name, kept in (read or {}).items()},
                branches=tuple(branches), masks=on_cpu(masks), weights=on_cpu(weights),
                rewind=rewind)
    _warn_of_emptied(plan)
    count = "nonzero" if plan.masks else "dense"
    before = profile(model, input_shape, latency=False)
    after = profile(plan.apply(model), input_shape, count=count, latency=False)
    if budget is not None:
        masked = sum(int((~mask).sum()) for mask in plan.masks.values())
        left = {"macs": after.macs, "params": after.params - masked}
        check_left(budget, left[budget.kind], getattr(before, budget.kind))
    return Plan(**{**plan.__dict__, "before": before, "after": after})


def transferred_plan(stages: Any, model: nn.Module, input_shape: tuple[int, int, int],
                     target: Any, seed: int = 0) -> Plan:
    """A plan for `model`, each stage of which keeps the share that the stage of another network
    kept; `stages` are these, as `stage_shares` gives them.

    target: what the plan says was asked of the other network. Raises PlanError where `model` has
    another number of stages, or lacks what the shares are of.
    """
    design = designs.transferred(stages, model, input_shape, seed)
    return make_plan(model, "transferred", target, input_shape, design.keep,
                     {name: len(kept) for name, kept in design.keep.items()}, design.left_alone,
                     read=design.read, masks=design.masks)


def _warn_of_emptied(plan: Plan) -> None:
    layers = {name: mask for name, mask in plan.masks.items() if mask.ndim > 1}
    emptied = [name.removesuffix(".weight") for name, mask in layers.items() if not mask.any()]
    if emptied:
        total = sum(mask.numel() for mask in layers.values())
        gone = 1 - sum(int(mask.sum()) for mask in layers.values()) / total
        warnings.warn(
            f"{plan.method}, target {plan.target}, removes {gone:.1%} of the weights, and all of "
            f"{', '.join(emptied)}: nothing of the image passes through "
            f"{'this layer' if len(emptied) == 1 else 'these layers'} any more; ask for less, or "
            "for plan.uniform(model), which thins all layers alike.", stacklevel=4)


def describe(plan: Plan) -> str:
    """The text of `Plan.report`."""
    wide = max([len(name) for name in (*plan.keep, *plan.read, *plan.masks)] + [len("layer")])
    lines = [f"{plan.method}, target {plan.target}"]
    if plan.keep:
        lines += ["", f"{'layer':{wide}}  {'before':>6}  {'asked':>8}  {'after':>6}  kept"]
    for name, width in plan.widths.items():
        asked = plan.asked.get(name)
        wanted = ("" if asked is None else "all" if asked == 0
                  else f"-{asked:.0%}" if isinstance(asked, float) else asked)
        got = len(plan.keep[name])
        lines.append(f"{name:{wide}}  {width:6}  {wanted!s:>8}  {got:6}  {got / width:.1%}")
    if plan.read:
        lines += ["", "channels that a layer reads of a stream that keeps its width:"]
        lines += [f"{name:{wide}}  {len(channels):6}" for name, channels in plan.read.items()]
    if plan.branches:
        lines += ["", f"residual branches removed: {', '.join(plan.branches)}"]
    if plan.masks:
        lines += ["", f"{'masked':{wide}}  {'weights':>11}  {'live':>11}  density"]
        lines += [f"{name:{wide}}  {mask.numel():11,}  {int(mask.sum()):11,}  "
                  f"{plan.densities[name]:.1%}" for name, mask in plan.masks.items()]
    if plan.before and plan.after:
        lines.append("")
        parameters = "nonzero_params" if plan.masks else "params"
        for label, number in (("parameters", parameters), ("MACs", "macs"), ("FLOPs", "flops")):
            old, new = getattr(plan.before, number), getattr(plan.after, number)
            lines.append(f"{label}: {old:,} -> {new:,} ({new / old:.1%})")
    if plan.left_alone:
        lines += ["", "left alone:"]
        lines += [f"  {name}: {reason}" for name, reason in plan.left_alone.items()]
    return "\n".join(lines)
