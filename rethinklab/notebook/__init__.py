"""What a notebook imports: `start()`, which sets it up, and `checks`, which look at answers."""

from __future__ import annotations

from rethinklab.notebook import checks
from rethinklab.notebook.session import SCALES, Session, start

__all__ = ["SCALES", "Session", "checks", "start"]
