"""A trial: one cell of a study, made of stages that other trials may share.

A stage's address is a hash of everything that determines its outcome, so nothing is named by
hand, nothing is trained twice, and changing a default never mixes old results with new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime, prunes
from rethinklab.values import plain, settle

SCHEMA = 2
NOT_OF_THE_LARGE: dict[str, Any] = {"finetune_epochs": None, "counted_epochs": None}


@dataclass(frozen=True)
class Stage:
    """A unit of work with one stored outcome.

    kind: "large" (train the unpruned network), "plan" (prune it), "regime" (train the pruned one,
    or the unpruned one for longer or on) or "scratch" (train an architecture from new weights, for
    every regime that asks for just this: see `rethinklab.experiments.sharing`). spec: all that
    determines the outcome. source: how to load the images; not part of the identity, which is the
    images' fingerprint. needs: the stages that must be there first.
    """

    kind: str
    spec: dict[str, Any]
    source: dict[str, Any] = field(compare=False)
    needs: tuple[Stage, ...] = ()

    @cached_property
    def address(self) -> str:
        """kind-hash: where the store keeps it."""
        return f"{self.kind}-{digest({'schema': SCHEMA, **self.spec})}"

    @cached_property
    def ancestors(self) -> tuple[Stage, ...]:
        """All stages that this one rests on, each once, in the order in which they must be done."""
        found: dict[str, Stage] = {}
        for stage in self.needs:
            found |= {s.address: s for s in (*stage.ancestors, stage)}
        return tuple(found.values())

    @property
    def label(self) -> str:
        """How progress displays call it."""
        name = self.spec.get("regime", {"large": UNPRUNED}.get(self.kind, self.kind))
        if "during" in self.spec:
            name = f"{self.spec['during']['method']} training"
        if "until" in self.spec:
            first = self.spec["until"]
            name += f", first {first} epochs" if first else ", before training"
        return f"{name} seed {self.spec['seed']}"


def digest(spec: Mapping[str, Any]) -> str:
    """16 hexadecimal digits from the canonical JSON form of `spec`."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trial:
    """One network, pruned one way, trained in one regime with one seed.

    source: {"name", "root", "size", ...} for `load_data`. fingerprint: of the images. recipe: of
    the large network; the regime derives its own. regime: a name, or "unpruned" for the large
    network itself. lr: in place of the regime's initial learning rate. model_source,
    method_source: hashes of the code of a network and of a method that are not the kit's. during:
    method, and the hyper-parameters of it that act while the network trains that is to be pruned;
    empty for methods that prune the large network as it is. untrained: whether the plan is made of
    the network before its training. pruned_model: a network that stands
    for the pruned one, as it was published; no method is run then, and the weights are new.
    batch_parts: in how many parts batch normalisation takes a batch.
    A pair of trials with one seed shares the large network and the data order.
    """

    source: dict[str, Any]
    fingerprint: str
    num_classes: int
    model: str
    model_options: dict[str, Any]
    method: str
    method_options: dict[str, Any]
    target: Any
    regime: str
    seed: int
    recipe: Recipe
    precision: str = "fp32"
    model_source: str = ""
    method_source: str = ""
    during: dict[str, Any] = field(default_factory=dict)
    untrained: bool = False
    lr: float | None = None
    pruned_model: str = ""
    batch_parts: int = 1

    def __post_init__(self) -> None:
        settle(self, **{f.name: plain(getattr(self, f.name)) for f in fields(self)})

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they must be done; the last holds the trial's result."""
        last = self._last()
        return (*last.ancestors, last)

    @property
    def _parts(self) -> dict[str, int]:
        return {"batch_parts": self.batch_parts} if self.batch_parts > 1 else {}

    def _last(self) -> Stage:
        plain = self._large()
        if self.regime == UNPRUNED:
            return plain
        spec = {"regime": self.regime, "recipe": self.recipe.identity(),
                "precision": self.precision, "seed": self.seed,
                **({} if self.lr is None else {"lr": self.lr}), **self._parts}
        if not prunes(self.regime):  # of the large network's recipe, whatever else a method counts
            again = find_regime(self.regime).start == "trained"
            return Stage("regime", {"large": plain.spec, **spec,
                                    "recipe": plain.spec["recipe"]}, self.source,
                         (plain,) if again else ())
        if self.pruned_model:
            return Stage("regime", {"large": plain.spec, "pruned_model": self.pruned_model, **spec},
                         self.source)
        large = (self._acted_on(plain) if self.during else
                 self._large(until=0) if self.untrained else plain)
        plan = Stage("plan", {
            "large": large.spec, "method": self.method, "target": self.target,
            "options": self.method_options, "seed": self.seed,
            **({"method_source": self.method_source} if self.method_source else {}),
            **self._parts},
            self.source, (large,))
        return Stage("regime", {"plan": plan.spec, **spec}, self.source,
                     (plan, *self._rewound(large)))

    def _large(self, recipe: Recipe | None = None, needs: tuple[Stage, ...] = (),
               **more: Any) -> Stage:
        return Stage("large", {
            "data": self.fingerprint, "classes": self.num_classes, "model": self.model,
            "options": self.model_options,
            "recipe": replace(recipe or self.recipe, **NOT_OF_THE_LARGE).identity(),
            "precision": self.precision, "seed": self.seed,
            **({"model_source": self.model_source} if self.model_source else {}),
            **self._parts, **more},
            self.source, needs)

    def _acted_on(self, plain: Stage) -> Stage:
        """The training in which the method acts: of a new network, or of the trained one at a
        tenth of the learning rate."""
        if not self.during["options"].get("pretrained"):
            return self._large(during=self.during)
        gentle = replace(self.recipe, lr=self.recipe.lr / 10)
        return self._large(gentle, (plain,), during=self.during, start=plain.spec)

    def _rewound(self, large: Stage) -> tuple[Stage, ...]:
        """The beginning of the large network's training, where the regime goes back to it."""
        regime = find_regime(self.regime)
        epoch = regime.first_epoch(self.recipe)
        if regime.start != "rewound" or epoch == 0:
            return ()
        return (Stage("large", {**large.spec, "until": epoch}, self.source, large.needs),)

    @property
    def address(self) -> str:
        """Where the trial's result is stored."""
        return self.stages[-1].address
