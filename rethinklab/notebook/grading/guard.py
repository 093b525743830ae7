"""What a check relies on, kept safe from the answer that it judges: the kit's functions, those of
the libraries that checks call, and the values that the lesson hands to the check."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

KIT = "rethinklab"
LIBRARIES = ("builtins", "math", "operator", "pickle", "json", "os", "posixpath", "dis", "inspect",
             "torch", "torch.nn.functional", "numpy", "pandas")
CLASSES = (("torch", "Tensor"), ("pandas", "DataFrame"), ("pandas", "Series"))
OF_CODE = ("__code__", "__defaults__", "__kwdefaults__")
NEVER = ("__dict__", "__weakref__", "__builtins__", "__abstractmethods__", "__annotations__")


class Snapshot:
    """Functions, classes and modules as they were when this was made; `restore` puts them back."""

    def __init__(self) -> None:
        self._modules = {name: module for name, module in sys.modules.items()
                         if name.split(".")[0] == KIT}
        self._kept = list(_all(self._modules.values()))
        self._set = setattr

    def restore(self) -> None:
        """Undo what was put in the place of any of them."""
        sys.modules.update(self._modules)
        for owner, name, value in self._kept:
            try:
                if owner.__dict__.get(name) is not value if not isinstance(
                        owner, FunctionType) else getattr(owner, name) is not value:
                    self._set(owner, name, value)
            except (AttributeError, TypeError):  # what cannot be set was not replaced either
                continue


class Values:
    """Values of a namespace as they were, where they can be pickled; others are left as they
    are."""

    def __init__(self, namespace: dict[str, Any], names: Iterable[str]) -> None:
        self._kept = {name: found for name in names if name in namespace
                      and (found := _pickled(namespace[name])) is not None}

    def current(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """{name: value}, as the namespace has it or, where that was changed, as it was."""
        return {name: namespace[name] if _pickled(namespace[name]) == kept
                else pickle.loads(kept) for name, kept in self._kept.items()}


def _all(modules: Iterable[ModuleType]) -> Iterator[tuple[Any, str, Any]]:
    """(owner, name, value) of all that is kept."""
    libraries = [sys.modules[name] for name in LIBRARIES if name in sys.modules]
    for module in modules:
        for name, value in _parts(module):
            yield module, name, value
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, type):
                for part, inside in _parts(value):
                    yield value, part, inside
                    yield from _code(inside)
            yield from _code(value)
    for library in libraries:
        yield from ((library, name, value) for name, value in _parts(library))
    for library_name, name in CLASSES:
        if library_name in sys.modules:
            found = getattr(sys.modules[library_name], name)
            yield from ((found, part, value) for part, value in _parts(found))


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(owner).items()):
        if name not in NEVER and (callable(value) or isinstance(
                value, (ModuleType, property, classmethod, staticmethod))):
            yield name, value


def _code(value: Any) -> Iterator[tuple[Any, str, Any]]:
    value = getattr(value, "__func__", getattr(value, "fget", value))
    if isinstance(value, FunctionType):
        for name in OF_CODE:
            yield value, name, getattr(value, name)


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return None
