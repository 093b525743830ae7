"""The pruning methods, one file each, and their registry.

A method is `Method(target, ...).fit(model, data) -> Plan`.
"""

from __future__ import annotations

from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.pruners.base import ChannelPruner
from rethinklab.pruners.l1 import L1Norm
from rethinklab.pruners.plan import Plan

__all__ = ["METHODS", "ChannelPruner", "L1Norm", "Plan", "make_pruner"]

METHODS: dict[str, type[ChannelPruner]] = {L1Norm.name: L1Norm}


def make_pruner(method: str, target: Any, **options: Any) -> ChannelPruner:
    """The pruner called `method`. Raises ConfigError with the nearest match for a wrong name."""
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    try:
        return METHODS[method](target, **options)
    except TypeError as error:
        raise ConfigError(f"method {method} does not take {', '.join(sorted(options))} "
                          f"({error}).") from error
