"""A study: a grid of trials that answers one question, declared before anything runs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rethinklab.data import ImageData, check_dataset, load_data
from rethinklab.errors import ConfigError
from rethinklab.experiments.scales import Scale, find_scale
from rethinklab.experiments.trial import Trial, digest
from rethinklab.models import MODELS, build_model, check_model, source_digest
from rethinklab.models.initialise import initialisation_differs
from rethinklab.pruners import Plan, make_pruner
from rethinklab.seeds import check_seed
from rethinklab.trainers.loop import PRECISIONS, check_fit
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime

DEFAULT_REGIMES = ("finetune", "scratch-e", "scratch-b")


@dataclass(frozen=True)
class Study:
    """One network, pruned one way, in several regimes over paired seeds.

    dataset: "digits", "cifar10", "cifar100" or "folder:PATH". model: a registered name, or
    "package.module:function" of your own. method, target: as `rl.pruners` takes them. regimes:
    how the pruned network is trained. seeds: how many (0, 1, ...) or which. scale: defaults for
    width, recipe, seeds and margin; each can be given instead. margin: within how many
    percentage points two regimes count as equivalent, declared before the results are seen.
    root, size: where the images are and their side, as `load_data` takes them.
    Raises ConfigError or PlanError for a name or value that cannot be used.
    """

    dataset: str = "digits"
    model: str = "vgg16"
    method: str = "l1"
    target: Any = "A"
    regimes: Sequence[str] = DEFAULT_REGIMES
    seeds: int | Sequence[int] | None = None
    scale: str = "quick"
    width: float | None = None
    recipe: Recipe | None = None
    margin: float | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
    root: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        check_model(self.model)
        make_pruner(self.method, self.target, **self.method_options)
        if isinstance(self.regimes, str) or not self.regimes:
            raise ConfigError(f"regimes {self.regimes!r} must be a list of one name or more.")
        for regime in self.regimes:
            find_regime(regime)
        defaults = self.scale_defaults
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision {self.precision!r} must be one of "
                              f"{', '.join(PRECISIONS)}.")
        seeds = defaults.seeds if self.seeds is None else self.seeds
        if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds < 1:
            raise ConfigError(f"seeds {seeds} must be 1 or more.")
        if not isinstance(seeds, (int, Sequence)) or isinstance(seeds, str):
            raise ConfigError(f"seeds {seeds!r} must be a count or a list of whole numbers.")
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
        if not numbers or len(set(numbers)) != len(numbers):
            raise ConfigError(f"seeds {list(numbers)} must be distinct and at least one.")
        own = self.model not in MODELS
        for name, high in (("width", 16), ("margin", 100)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value <= high):
                raise ConfigError(f"{name} {value!r} must be a number above 0, at most {high}.")
        if "num_classes" in self.model_options or "width" in self.model_options:
            raise ConfigError("model_options cannot hold num_classes, which the data tells, nor "
                              "width, which is an option of its own.")
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise ConfigError(f"recipe {self.recipe!r} must be an rl.Recipe.")
        settled = {
            "regimes": tuple(dict.fromkeys(self.regimes)),
            "seeds": tuple(check_seed(seed) for seed in numbers),
            "width": float(self.width if self.width is not None
                           else 1.0 if own else defaults.width),
            "recipe": self.recipe or defaults.recipe,
            "margin": defaults.margin if self.margin is None else self.margin,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    @property
    def scale_defaults(self) -> Scale:
        return find_scale(self.scale)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds, one by one."""
        return tuple(self.seeds)  # type: ignore[arg-type]

    @property
    def large_recipe(self) -> Recipe:
        """The recipe of the large network, from which the regimes derive theirs."""
        assert self.recipe is not None  # settled on construction
        return self.recipe

    @property
    def name(self) -> str:
        """METHOD-NETWORK-DATASET-TARGET-SCALE-hash: readable, and one for each set of settings."""
        dataset = self.dataset.rstrip("/").split("/")[-1].removeprefix("folder:")
        parts = (self.method, self.model.split(":")[-1], dataset, str(self.target), self.scale)
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-")
        return f"{slug[:60]}-{digest(asdict(self))[:6]}"

    def load(self) -> ImageData:
        """The study's images."""
        return load_data(**self.source)

    @property
    def source(self) -> dict[str, Any]:
        """The arguments of `load_data`."""
        return {"name": self.dataset, "root": self.root, "size": self.size}

    def trials(self, data: ImageData) -> list[Trial]:
        """All cells: for each seed the unpruned network, then each regime."""
        options = dict(self.model_options)
        if self.model in MODELS or self.width != 1:
            options["width"] = self.width
        shared = {"source": self.source, "fingerprint": data.fingerprint,
                  "num_classes": data.num_classes, "model": self.model, "model_options": options,
                  "method": self.method, "method_options": dict(self.method_options),
                  "target": self.target, "recipe": self.large_recipe,
                  "precision": self.precision, "model_source": source_digest(self.model)}
        return [Trial(regime=regime, seed=seed, **shared)
                for seed in self.seed_numbers for regime in (UNPRUNED, *self.regimes)]

    def rehearse(self, data: ImageData) -> Plan:
        """Build and prune the untrained network, so that what cannot work fails before any
        training; the plan that comes out tells the sizes to expect."""
        trial = self.trials(data)[0]
        model = build_model(self.model, num_classes=data.num_classes, **trial.model_options)
        check_fit(model, data)
        plan = make_pruner(self.method, self.target, **self.method_options).fit(model, data)
        if not all(find_regime(regime).inherits for regime in self.regimes):
            plan.scratch(model)
            odd = initialisation_differs(model)
            if odd:
                warnings.warn(
                    f"training from scratch draws weights by other rules than {self.model} itself "
                    f"does (by layer type; {odd[0]}, for one), which blurs the comparison with the "
                    "unpruned network. Give the model a method initialise() that draws its weights "
                    "anew.", stacklevel=2)
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `Study.from_dict` makes an equal study."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Study:
        values = dict(content)
        if isinstance(values.get("recipe"), Mapping):
            values["recipe"] = Recipe(**values["recipe"])
        return cls(**values)
