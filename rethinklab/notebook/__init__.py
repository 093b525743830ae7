"""What a notebook imports: `start()`, which sets it up, the checks of its exercises and widgets."""

from __future__ import annotations

from rethinklab.notebook.session import SCALES, Session, start

__all__ = ["SCALES", "Session", "start"]
