"""Names of a package that are imported on first use (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def attributes(package: str, where: Mapping[str, str],
               modules: Collection[str] = ()) -> Callable[[str], Any]:
    """The `__getattr__` of a package. where: in which of its modules a name is; modules: those
    that are attributes themselves. Raises AttributeError for any other name, as modules do."""
    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in where:
            return getattr(importlib.import_module(f"{package}.{where[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
