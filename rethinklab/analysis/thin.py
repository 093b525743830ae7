"""A few of many: items evenly spread over a list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def thin(items: Sequence[str], most: int) -> list[str]:
    """At most so many of the items (1 or more), first and last among them, evenly spread."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]
