"""The plan: the architecture that pruning found, as data, apart from any weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from rethinklab.analysis.cost import Cost, profile
from rethinklab.errors import PlanError
from rethinklab.models.initialise import reinitialise
from rethinklab.pruners.surgery import LAYERS, out_width, remove_channels, silence_channels

SCHEMA = 1


@dataclass(frozen=True)
class Plan:
    """Which output channels each layer keeps.

    method, target: who made it, asked for what. input_shape: (C, H, W) it was made for. widths:
    channels of each layer before. keep: indices kept of each, ascending. asked: the share to
    remove (a float) or the width to keep (an int) that was asked of each layer. left_alone: the
    other layers, with reasons. before, after: cost of the network without and with the cut.
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

    def apply(self, model: nn.Module) -> nn.Module:
        """The pruned network with the weights that `model` has; `model` stays as it is.

        Raises PlanError where the model has other layers or widths than the plan was made for.
        """
        self._check(model)
        return remove_channels(model, self.keep, self.input_shape)

    def scratch(self, model: nn.Module, seed: int = 0,
                init: Callable[[nn.Module], object] | None = None) -> nn.Module:
        """The pruned architecture with new weights (see `reinitialise`), none inherited.

        Give the untrained network where it has buffers that training changes and no module
        resets: such buffers are taken for constants.
        """
        return reinitialise(self.apply(model), seed, init)

    def silence(self, model: nn.Module) -> nn.Module:
        """The full-size network with the cut channels set to zero: the mask form of the plan."""
        self._check(model)
        return silence_channels(model, self.keep, self.input_shape)

    @property
    def kept_widths(self) -> dict[str, int]:
        """Channels of each planned layer after the cut."""
        return {name: len(kept) for name, kept in self.keep.items()}

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
        """The plan as JSON text; `Plan.from_json` gives an equal plan back."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Raises PlanError where the text is not a plan or one of a newer version."""
        try:
            fields = json.loads(text)
            schema = fields.pop("schema")
            if schema > SCHEMA:
                raise PlanError(f"the plan has schema {schema}, newer than this version's "
                                f"{SCHEMA}; update rethinklab.")
            fields["input_shape"] = tuple(fields["input_shape"])
            fields["keep"] = {name: tuple(kept) for name, kept in fields["keep"].items()}
            for when in ("before", "after"):
                fields[when] = fields[when] and Cost(**fields[when])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlanError(f"the text is not a pruning plan ({error}).") from error

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        return cls.from_json(Path(path).read_text())

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


def make_plan(model: nn.Module, method: str, target: Any, input_shape: tuple[int, int, int],
              keep: Mapping[str, tuple[int, ...]], asked: Mapping[str, float | int],
              left_alone: Mapping[str, str]) -> Plan:
    """A plan that has been carried out once on `model`, with the costs before and after.

    Raises PlanError where the model cannot honour it.
    """
    small = remove_channels(model, keep, input_shape)
    before, after = (profile(net, input_shape, latency=False) for net in (model, small))
    widths = {name: out_width(model.get_submodule(name)) for name in keep}
    return Plan(method, target, input_shape, widths, dict(keep), dict(asked), dict(left_alone),
                before, after)


def describe(plan: Plan) -> str:
    """The text of `Plan.report`."""
    wide = max([len(name) for name in plan.keep] + [len("layer")])
    lines = [f"{plan.method}, target {plan.target}", "",
             f"{'layer':{wide}}  {'before':>6}  {'asked':>8}  {'after':>6}  kept"]
    for name, width in plan.widths.items():
        asked = plan.asked.get(name)
        wanted = "all" if asked == 0 else f"-{asked:.0%}" if isinstance(asked, float) else asked
        got = len(plan.keep[name])
        lines.append(f"{name:{wide}}  {width:6}  {wanted!s:>8}  {got:6}  {got / width:.1%}")
    if plan.before and plan.after:
        lines.append("")
        for label, number in (("parameters", "params"), ("MACs", "macs"),
                              ("FLOPs", "flops")):
            old, new = getattr(plan.before, number), getattr(plan.after, number)
            lines.append(f"{label}: {old:,} -> {new:,} ({new / old:.1%})")
    if plan.left_alone:
        lines += ["", "left alone:"]
        lines += [f"  {name}: {reason}" for name, reason in plan.left_alone.items()]
    return "\n".join(lines)
