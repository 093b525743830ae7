"""A study: a grid of trials that answers one question, declared before anything runs."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, InitVar, asdict, dataclass, field, fields
from typing import Any

from torch import nn

from rethinklab.data import MEMORY, ImageData, check_normalise, dataset_name, load_data
from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.scales import Scale, find_scale
from rethinklab.experiments.stages import published_start
from rethinklab.experiments.trial import Trial, digest
from rethinklab.models import MODELS, build_model, model_name, source_digest
from rethinklab.models.initialise import initialisation_differs
from rethinklab.pruners import (
    CONTROLS,
    Control,
    Pruner,
    find_method,
    make_pruner,
    method_digest,
    method_name,
)
from rethinklab.pruners.base import FROM_THE_START
from rethinklab.seeds import check_seed
from rethinklab.trainers.loop import PRECISIONS
from rethinklab.trainers.recipe import LARGEST, Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime, prunes, settle_regime
from rethinklab.trainers.rehearsal import check_fit
from rethinklab.values import listed, number, plain, settle, whole


@dataclass(frozen=True)
class Study:
    """One network, pruned one way, in several regimes over paired seeds.

    dataset: "digits", "cifar10", "cifar100", "folder:PATH", "imagenet:PATH",
    "package.module:function" of your own, or an `ImageData`, which runs with workers=0 only. model:
    a registered name, "package.module:function" of your own, or the function or class that builds
    the network; without one the method's example is taken, small enough for a first look. method: a
    name as `rl.pruners` has them, "package.module:Name" of your own, a class, or a pruner, which
    gives target and all hyper-parameters, in place of those of the scale. What is given itself is
    kept by its name. target: as the method takes it. regimes: how the pruned network is trained; by
    default the ways that the method is studied with, and an empty list for the unpruned network
    alone. method_options: hyper-parameters of the method, over those of the scale. seeds: how many
    (0, 1, ...) or which. scale: defaults for width, recipe, seeds and margin; each can be given
    instead. epochs, lr, batch_size: change the recipe, the scale's or the one that is given; what
    it counts in epochs follows. margin: within how many percentage points two regimes count as
    equivalent, declared before the results are seen. root, size: where the images are and their
    side, as `load_data` takes them. hold_out: a share of the training images that takes the place
    of the test images, for making choices without looking at those. images: at most so many
    training and so many test images, for a look at a large network in little time. lrs: {regime:
    initial learning rate}, for those that are to have another than their rule gives. pruned_model:
    a registered network that stands for the pruned one, as it was published; it is trained from
    scratch, and method and target only say where it is from. preset: the row of the paper that the
    study repeats, if any. normalise: "own" for CIFAR by its own mean and standard deviation, as
    `load_data` takes it. batch_parts: in how many parts, 2 or more, batch normalisation takes a
    batch; `run` fills it in where several processes train one network, and needs as many.
    Raises ConfigError or PlanError for a name or value that cannot be used.
    """

    dataset: str | ImageData = "digits"
    model: str | Callable[..., nn.Module] | None = None
    method: str | type[Pruner] | Pruner = "l1"
    target: Any = None
    regimes: Sequence[str] | None = None
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
    hold_out: float | None = None
    images: int | None = None
    lrs: Mapping[str, float] = field(default_factory=dict)
    pruned_model: str | None = None
    preset: str = ""
    normalise: str | None = None
    batch_parts: int | None = None
    epochs: InitVar[int | None] = None
    lr: InitVar[float | None] = None
    batch_size: InitVar[int | None] = None

    def __post_init__(self, epochs: int | None, lr: float | None,
                      batch_size: int | None) -> None:
        self._name_things()
        settle(self, **{name: plain(getattr(self, name)) for name in (
            "target", "size", "hold_out", "model_options", "method_options")})
        check_normalise(self.normalise, self.images_from)
        defaults = self.scale_defaults
        model, target, options, acting = self._settle_method(defaults)
        regimes = defaults.regimes(acting.regimes) if self.regimes is None else self.regimes
        if isinstance(regimes, str):
            raise ConfigError(f"regimes {regimes!r} must be a list of names.")
        regimes = tuple(dict.fromkeys(map(settle_regime, regimes)))
        self._check_pruned_model(regimes)
        if acting.before_training and not self.pruned_model:
            check_from_the_start(acting.name, regimes)
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision {self.precision!r} must be one of "
                              f"{', '.join(PRECISIONS)}.")
        usual = defaults.usual(self.model)
        usual_width = usual.width if model in MODELS else 1.0
        seeds = usual.seeds if self.seeds is None else self.seeds
        numbers = tuple(map(check_seed, listed(seeds) or range(whole(
            "seeds", seeds, 1, rule="1 or more, or a list of one whole number or more"))))
        if len(set(numbers)) != len(numbers):
            raise ConfigError(f"seeds {list(numbers)} must be distinct.")
        for name, high in (("width", 16), ("margin", 100)):
            if (value := getattr(self, name)) is not None:
                settle(self, **{name: number(name, value, above=0, most=high)})
        if self.images is not None:
            settle(self, images=whole("images", self.images, 1))
        if self.batch_parts is not None:
            settle(self, batch_parts=whole("batch_parts", self.batch_parts, 2))
        if "num_classes" in self.model_options or "width" in self.model_options:
            raise ConfigError("model_options cannot hold num_classes, which the data tells, nor "
                              "width, which is an option of its own.")
        recipe = self._settle_recipe(usual.recipe, epochs=epochs, lr=lr, batch_size=batch_size)
        for regime, rate in self.lrs.items():
            if settle_regime(regime) not in regimes:
                raise ConfigError(f"lrs names {regime!r}, which is not among the study's regimes: "
                                  f"{', '.join(regimes)}.")
            number("lr", rate, above=0, below=LARGEST, of=regime, rule="a number above 0")
        rewind = getattr(acting, "rewind", 0)
        if rewind >= recipe.epochs:
            raise ConfigError(f"rewind {rewind} must be before the end of the {recipe.epochs} "
                              "epochs of training.")
        settled = {
            "model": model, "target": target, "method_options": options,
            "regimes": regimes,
            "lrs": {settle_regime(name): float(rate) for name, rate in plain(self.lrs).items()},
            "seeds": numbers,
            "width": float(usual_width if self.width is None else self.width),
            "recipe": recipe,
            "margin": defaults.margin if self.margin is None else self.margin,
        }
        settle(self, **settled)

    def _name_things(self) -> None:
        """Put the names of data, network and method in the place of the things themselves."""
        settle(self, dataset=dataset_name(self.dataset))
        if self.model is not None:
            settle(self, model=model_name(self.model))
        method = self.method
        if isinstance(method, Pruner):
            if self.target is not None or self.method_options:
                raise ConfigError(f"method {method!r} has its target and hyper-parameters in it; "
                                  "leave out target and method_options, or give its class.")
            options = hyperparameters(method)
            if isinstance(method, Control):
                options["options"] = hyperparameters(method.base)
            settle(self, target=method.target, method_options=options)
            method = type(method)
        if inspect.isclass(method) and issubclass(method, Pruner):
            method = method_name(method)
        if not isinstance(method, str):
            raise ConfigError(f"method must be a name, a class derived from rl.pruners.Pruner or "
                              f"a pruner such as rl.pruners.L1Norm(0.4), not {method!r}.")
        settle(self, method=method)

    def _settle_recipe(self, usual: Recipe, **changes: Any) -> Recipe:
        """The recipe that is given, or the scale's, with the changes that are not None."""
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise ConfigError(f"recipe {self.recipe!r} must be an rl.Recipe; epochs, lr and "
                              "batch_size change that of the scale.")
        return (self.recipe or usual).changed(
            **{name: value for name, value in changes.items() if value is not None})

    def _check_pruned_model(self, regimes: Sequence[str]) -> None:
        if self.pruned_model is None:
            return
        if self.pruned_model not in MODELS:
            raise unknown_name("pruned_model", self.pruned_model, MODELS)
        for regime in regimes:
            if prunes(regime) and find_regime(regime).start != "new":
                raise ConfigError(f"regime {regime!r} needs weights of the large network, and "
                                  f"pruned_model {self.pruned_model!r} has none to inherit; choose "
                                  "among regimes that start anew, such as scratch-e.")

    def _settle_method(self, defaults: Scale) -> tuple[str, Any, dict[str, Any], Pruner]:
        """(network, target, hyper-parameters, the method that acts: of a control its base)."""
        base, settings = find_method(self.method_name), dict(self.method_options)
        if self.method in CONTROLS:
            base = find_method(settings.get("of", "l1"))
            settings["options"] = {**defaults.options.get(base.name, {}),
                                   **settings.get("options", {})}
        model, target = base.example
        if self.model is not None and self.model != model:
            model, target = self.network, None
        only = fields(base)[0].default  # of a method that takes a single target
        target = self.target if self.target is not None else (
            target if only is MISSING else only)
        if target is None:
            raise ConfigError(f"say how much to prune of {model}: target={base.usual!r}, for "
                              f"example (--target {base.usual}).")
        pruner = make_pruner(self.method_name, target,
                             **{**defaults.options.get(self.method_name, {}), **settings})
        acting = pruner.base if isinstance(pruner, Control) else pruner
        options = {**settings, **hyperparameters(pruner)}
        if isinstance(pruner, Control):
            options["options"] = {**settings["options"], **hyperparameters(acting)}
        return model, target, options, acting

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
        dataset = self.images_from.rstrip("/").split("/")[-1].removeprefix("folder:")
        dataset = dataset.removeprefix(MEMORY).partition("#")[0]
        parts: tuple[str, ...] = (
            self.method_name.split(":")[-1], self.network.split(":")[-1], dataset,
            str(self.target), self.scale)
        if self.hold_out:
            parts = ("tuning", *parts)
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-")
        return f"{slug[:60]}-{digest(self._identity())[:6]}"

    @property
    def regime_names(self) -> tuple[str, ...]:
        """The regimes, each once."""
        return tuple(self.regimes or ())

    @property
    def network(self) -> str:
        """The name of the network."""
        assert isinstance(self.model, str)  # settled on construction
        return self.model

    @property
    def images_from(self) -> str:
        """The name of the data."""
        assert isinstance(self.dataset, str)  # settled on construction
        return self.dataset

    @property
    def method_name(self) -> str:
        """The name of the method."""
        assert isinstance(self.method, str)  # settled on construction
        return self.method

    @property
    def pruner(self) -> Pruner:
        """The method with its target and hyper-parameters."""
        return make_pruner(self.method_name, self.target, **self.method_options)

    @property
    def acting(self) -> Pruner:
        """The method that acts: of a control the one behind it."""
        pruner = self.pruner
        return pruner.base if isinstance(pruner, Control) else pruner

    def _identity(self) -> dict[str, Any]:
        """All that makes it another study: younger fields only where they are used, so that a
        name given before they existed stays what it was."""
        content = asdict(self)
        for name in ("hold_out", "images", "lrs", "preset", "pruned_model", "normalise",
                     "batch_parts"):
            if not content[name]:
                content.pop(name)
        return {**content, "recipe": self.large_recipe.identity()}

    def load(self, progress: bool = True) -> ImageData:
        """The study's images. progress: as for `load_data`."""
        return load_data(**self.source, progress=progress)

    @property
    def source(self) -> dict[str, Any]:
        """The arguments of `load_data`."""
        return {"name": self.images_from, "root": self.root, "size": self.size,
                **({"hold_out": self.hold_out} if self.hold_out else {}),
                **({"images": self.images} if self.images else {}),
                **({"normalise": self.normalise} if self.normalise else {})}

    def trials(self, data: ImageData) -> list[Trial]:
        """All cells: for each seed the unpruned network, then each regime."""
        options = dict(self.model_options)
        if self.network in MODELS or self.width != 1:
            options["width"] = self.width
        shared = {"source": self.source, "fingerprint": data.fingerprint,
                  "num_classes": data.num_classes, "model": self.network, "model_options": options,
                  "method": self.method_name, "method_options": dict(self.method_options),
                  "target": self.target, "recipe": self.large_recipe,
                  "precision": self.precision, "model_source": source_digest(self.network),
                  "method_source": method_digest(type(self.acting)),
                  "during": self._during(), "untrained": self.acting.before_training,
                  "pruned_model": self.pruned_model or "", "batch_parts": self.batch_parts or 1}
        return [Trial(regime=regime, seed=seed, lr=self.lrs.get(regime), **shared)
                for seed in self.seed_numbers for regime in (UNPRUNED, *self.regime_names)]

    def _during(self) -> dict[str, Any]:
        """What acts while the large network trains, by the name under which stages find it."""
        spec, acting = self.pruner.training_spec(), self.acting
        if not spec:
            return {}
        own = method_digest(type(acting))
        return {**spec, "method": method_name(type(acting)), **({"source": own} if own else {})}

    def rehearse(self, data: ImageData) -> float:
        """Build and prune the untrained network, so that what cannot work fails before any
        training. The ratio of FLOPs to expect, large over pruned."""
        trial = self.trials(data)[0]
        model = build_model(self.network, num_classes=data.num_classes, **trial.model_options)
        check_fit(model, data, self.large_recipe.batch_size, self.precision)
        if self.pruned_model:
            large = trial.stages[0].spec
            small, ratio = published_start({"large": large, "pruned_model": self.pruned_model},
                                           data)
            check_fit(small, data, self.large_recipe.batch_size, self.precision)
            return ratio
        plan = self.pruner.rehearse(model, data)
        if any(find_regime(regime).start == "new" for regime in self.regime_names):
            plan.scratch(model)
            odd = initialisation_differs(model)
            if odd:
                warnings.warn(
                    f"training from scratch draws weights by other rules than {self.network} "
                    f"itself does (by layer type; {odd[0]}, for one), which blurs the comparison "
                    "with the unpruned network. Give the model a method initialise() that draws "
                    "its weights anew.", stacklevel=2)
        return plan.flops_ratio

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `Study.from_dict` makes an equal study."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Study:
        values = dict(content)
        if isinstance(values.get("recipe"), Mapping):
            values["recipe"] = Recipe(**values["recipe"])
        return cls(**values)


def check_from_the_start(method: str, regimes: Sequence[str]) -> None:
    """Raises ConfigError for a regime that inherits trained weights of a method that prunes
    before there are any."""
    for regime in regimes:
        if find_regime(regime).start == "inherited":
            raise ConfigError(f"regime {regime!r} inherits weights of a trained network, and "
                              f"method {method} prunes before training; choose among "
                              f"{', '.join(FROM_THE_START)} and other regimes that do not.")


def hyperparameters(pruner: Pruner) -> dict[str, Any]:
    """All hyper-parameters of a method, defaults included, so that a later default is another
    study; but for the seed, which is the trial's own."""
    return {f.name: plain(getattr(pruner, f.name)) for f in fields(pruner)
            if f.name not in ("target", "seed")}
