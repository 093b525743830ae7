"""What a notebook imports: `start()`, which sets it up, the checks of its exercises and widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rethinklab.lazy import attributes
from rethinklab.notebook.session import SCALES, Session, start

if TYPE_CHECKING:
    from rethinklab.notebook import widgets

__all__ = ["SCALES", "Session", "start", "widgets"]

# On first use: the front end's machinery takes a while to import.
__getattr__ = attributes(__name__, {}, ("widgets",))
