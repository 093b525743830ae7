"""The freshness stamp: whether a notebook's outputs were made by the code it now holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "rethinklab"


def stamp(notebook: Mapping[str, Any]) -> str:
    """A hash of the sources of all code cells, in order: 16 hexadecimal digits."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"]
               if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16]


def stored_stamp(notebook: Mapping[str, Any]) -> str:
    """The stamp written when the notebook was last executed; empty where there is none."""
    return str(notebook["metadata"].get(KEY, {}).get("stamp", ""))
