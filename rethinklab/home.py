"""Where the lessons and records that come with the kit lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSIDE = "kit"  # where a wheel carries them, see pyproject.toml


def home() -> Path:
    """The folder that holds `notebooks` and `data/results`: the clone that the package lies in, or
    a folder of the installed package, which nobody writes to."""
    return PACKAGE / INSIDE if (PACKAGE / INSIDE).is_dir() else PACKAGE.parent


def installed() -> bool:
    """Whether the kit lies inside an installed package, and not in a clone."""
    return home() != PACKAGE.parent
