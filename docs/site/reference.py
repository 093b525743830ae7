"""The pages of the API reference: one for each public name, one for each room."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import rethinklab as rl

HEAD = """# API reference

`import rethinklab as rl`; every name below is an attribute of `rl`, imported on first use.
"""


def api_pages() -> dict[str, str]:
    """The text of every page, by its path."""
    names = [name for name in rl.__all__ if not name.startswith("_")]
    rooms = [name for name in names if inspect.ismodule(getattr(rl, name))]
    single = [name for name in names if name not in rooms]
    lines = [f"- [`rl.{name}`]({name}.md): {first(getattr(rl, name), name)}" for name in single]
    places = [f"- [`rl.{name}`]({name}.md): {first(getattr(rl, name), name)}" for name in rooms]
    index = "\n".join([HEAD, *lines, "- `rl.__version__`: the version of the package.", "",
                       "## Rooms", "", *places, ""])
    return {"api/index.md": index, **{f"api/{name}.md": one(name) for name in single},
            **{f"api/{name}.md": room(name) for name in rooms}}


def first(thing: Any, name: str = "") -> str:
    """The first sentence about a thing."""
    if not (callable(thing) or inspect.ismodule(thing)):
        return f"what there is of {name.lower()}, by name."
    said = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return said.partition(". ")[0].rstrip(".") + "."


def one(name: str) -> str:
    """The page of one public name."""
    thing = getattr(rl, name)
    return f"# rl.{name}\n\n" + (directive(f"rethinklab.{name}", thing) if callable(thing) else
                                 value(f"rethinklab.{name}", thing))


def room(name: str) -> str:
    """The page of a room: what it offers by name, or else what its modules hold."""
    module = getattr(rl, name)
    parts = [f"# rl.{name}", (module.__doc__ or "").strip()]
    offered = getattr(module, "__all__", None)
    if offered is None:
        parts += [text for child in children(module) for text in whole(child)]
    else:
        elsewhere = {id(getattr(rl, known)): known for known in rl.__all__}
        for each in offered:
            parts += [f"## {each}", offered_by(module, each, elsewhere)]
    return "\n\n".join(parts) + "\n"


def offered_by(module: ModuleType, name: str, elsewhere: dict[int, str]) -> str:
    """What a room's page has about one of its names."""
    thing = getattr(module, name)
    if id(thing) in elsewhere:
        return f"See [`rl.{elsewhere[id(thing)]}`]({elsewhere[id(thing)]}.md)."
    known = f"{module.__name__}.{name}"
    if inspect.ismodule(thing):
        return "\n\n".join(whole(thing)[1:])
    return directive(known, thing) if callable(thing) and inspect.getdoc(thing) else value(
        known, thing)


def whole(module: ModuleType) -> list[str]:
    """A module with everything public that is defined in it, but for what has a page of its own."""
    has_page = [name for name in rl.__all__ if hasattr(module, name)]
    return [f"## {module.__name__.rpartition('.')[2]}",
            block("automodule", module.__name__, ":members:",
                  *([f":exclude-members: {', '.join(has_page)}"] if has_page else []))]


def children(module: ModuleType) -> list[ModuleType]:
    """The modules of a room, without those of its inner rooms."""
    return [importlib.import_module(f"{module.__name__}.{found.name}")
            for found in pkgutil.iter_modules(module.__path__) if not found.ispkg]


def directive(name: str, thing: Any) -> str:
    """The docstring of a class with its methods, or of a function."""
    if inspect.isclass(thing):
        return block("autoclass", name, ":members:")
    return block("autofunction", name)


def value(name: str, thing: Any) -> str:
    """A name that stands for data: what it holds."""
    held = ", ".join(f"`{key}`" for key in thing) if isinstance(thing, (dict, list, tuple)) else (
        f"`{thing}`")
    return f"```{{eval-rst}}\n.. py:data:: {name}\n```\n\n{held or 'Empty.'}"


def block(kind: str, name: str, *options: str) -> str:
    """A directive of Sphinx's autodoc in a page of Markdown."""
    lines = [f".. {kind}:: {name}", *(f"   {option}" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])
