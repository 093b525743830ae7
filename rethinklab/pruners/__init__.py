"""The pruning methods, one file each, and their registry.

A method is `Method(target, ...).fit(model, data) -> Plan`.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.own import code_digest, import_named, name_of
from rethinklab.pruners.activations import APoZ, MeanActivation
from rethinklab.pruners.base import ChannelPruner, Origin, Pruner
from rethinklab.pruners.bn_scale import BatchNormScale
from rethinklab.pruners.context import Context
from rethinklab.pruners.controls import (
    Control,
    Guided,
    Inverted,
    RandomChoice,
    RandomWidths,
    Shuffled,
    Transferred,
    Uniform,
)
from rethinklab.pruners.fpgm import FPGM
from rethinklab.pruners.gradual import Gradual
from rethinklab.pruners.grasp import GraSP
from rethinklab.pruners.group_norm import GroupNorm
from rethinklab.pruners.hrank import HRank
from rethinklab.pruners.l1 import L1Norm
from rethinklab.pruners.l2 import L2Norm
from rethinklab.pruners.lamp import LAMP
from rethinklab.pruners.layer_magnitude import LayerMagnitude
from rethinklab.pruners.lottery import Lottery
from rethinklab.pruners.plan import Plan
from rethinklab.pruners.random_mask import RandomMask
from rethinklab.pruners.regression import Regression
from rethinklab.pruners.saliency import Saliency
from rethinklab.pruners.shares import mean_shares, stage_shares
from rethinklab.pruners.slimming import Slimming
from rethinklab.pruners.snip import SNIP
from rethinklab.pruners.soft_filter import SoftFilter
from rethinklab.pruners.sss import SparseSelection
from rethinklab.pruners.synflow import SynFlow
from rethinklab.pruners.taylor import Taylor
from rethinklab.pruners.thinet import ThiNet
from rethinklab.pruners.weight_level import WeightLevel
from rethinklab.pruners.weight_pruner import WeightPruner

__all__ = ["CONTROLS", "FPGM", "LAMP", "METHODS", "SNIP", "APoZ", "BatchNormScale",
           "ChannelPruner", "Context", "Control", "GraSP", "Gradual", "GroupNorm", "Guided",
           "HRank", "Inverted", "L1Norm", "L2Norm", "LayerMagnitude", "Lottery", "MeanActivation",
           "Origin", "Plan", "Pruner", "RandomChoice", "RandomMask", "RandomWidths", "Regression",
           "Saliency", "Shuffled", "Slimming", "SoftFilter", "SparseSelection", "SynFlow",
           "Taylor", "ThiNet", "Transferred", "Uniform", "WeightLevel", "WeightPruner",
           "find_method", "make_pruner", "mean_shares", "method_digest", "method_name",
           "stage_shares"]

CONTROLS: dict[str, type[Pruner]] = {
    control.name: control
    for control in (RandomChoice, Shuffled, Inverted, Uniform, RandomWidths, Guided)}
METHODS: dict[str, type[Pruner]] = {
    method.name: method
    for method in (L1Norm, L2Norm, FPGM, GroupNorm, BatchNormScale, Taylor, MeanActivation, APoZ,
                   HRank, ThiNet, Regression, Slimming, SparseSelection, SoftFilter, WeightLevel,
                   LayerMagnitude, LAMP, Saliency, Lottery, Gradual, RandomMask, SNIP, GraSP,
                   SynFlow, Transferred)} | CONTROLS


OWN_METHOD = "or your own as package.module:Name"


def find_method(method: str) -> type[Pruner]:
    """The class of the pruner called `method`, of the kit or "package.module:Name".

    Raises ConfigError with the nearest match, or with what is there in place of a class.
    """
    if method in METHODS:
        return METHODS[method]
    if ":" not in str(method):
        raise unknown_name("method", method, [*METHODS, OWN_METHOD])
    found = import_named("method", method)
    if not (inspect.isclass(found) and issubclass(found, Pruner)):
        kind = "another class" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise ConfigError(f"method {method!r} is {kind}, and must be a class derived from "
                          "rl.pruners.Pruner or ChannelPruner; give \"package.module:Name\" of "
                          "such a class.")
    found.name = found.name or found.__name__  # which plans and errors call it by
    return found


def method_name(method: type[Pruner]) -> str:
    """What a study calls a pruner's class: its name in `METHODS`, else "package.module:Name".

    Raises ConfigError for a class that no name leads to.
    """
    known = [name for name, pruner in METHODS.items() if pruner is method]
    return known[0] if known else name_of("method", method)


def method_digest(method: type[Pruner]) -> str:
    """A hash of the code of a method that is not the kit's, so that an edited one is a new one;
    empty for the kit's. What the class inherits or calls is not looked at."""
    return "" if method.__module__.startswith(f"{__name__}.") else code_digest(method)


def make_pruner(method: str, target: Any, **options: Any) -> Pruner:
    """The pruner called `method`. Raises ConfigError for a name or option it does not have."""
    known = find_method(method)
    taken = [f.name for f in fields(known) if f.name != "target"]
    for option in options:
        if option not in taken:
            raise (unknown_name(f"option of {method}", option, taken) if taken else
                   ConfigError(f"method {method} takes no options, but {option} was given."))
    return known(target, **options)
