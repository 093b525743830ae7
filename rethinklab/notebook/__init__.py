"""What a notebook imports: `start()`, which sets it up, the checks of its exercises and widgets."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rethinklab.notebook.session import SCALES, Session, start

if TYPE_CHECKING:
    from rethinklab.notebook import widgets

__all__ = ["SCALES", "Session", "start", "widgets"]


def __getattr__(name: str) -> Any:
    if name == "widgets":  # on first use: the front end's machinery takes a while to import
        return importlib.import_module(f"{__name__}.widgets")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
