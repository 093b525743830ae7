"""What a notebook imports: `start()`, which sets it up, the checks of its exercises and widgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rethinklab.lazy import attributes

if TYPE_CHECKING:
    from rethinklab.notebook import widgets
    from rethinklab.notebook.session import SCALES, Session, start

__all__ = ["SCALES", "Session", "start", "widgets"]

# On first use: checks and marking need neither a session nor the front end's machinery.
__getattr__ = attributes(__name__, dict.fromkeys(("SCALES", "Session", "start"), "session"),
                         ("widgets",))
