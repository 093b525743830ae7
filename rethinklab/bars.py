"""Progress bars, in a terminal or a notebook."""

from __future__ import annotations

import sys
from typing import Any


def make_bar(show: bool, **options: Any) -> Any:
    """A tqdm bar, drawn only where somebody can watch it: on a terminal or in a notebook."""
    from tqdm.auto import tqdm

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(disable=not (show and watched), dynamic_ncols=True, **options)
