"""The figures: each a pure function from results to a matplotlib figure, and the exporter."""

from __future__ import annotations

from collections.abc import Callable

from rethinklab.figures.export import export
from rethinklab.figures.regimes import regimes
from rethinklab.figures.style import PaperFigure

__all__ = ["FIGURES", "PaperFigure", "export", "regimes"]

FIGURES: dict[str, tuple[Callable[..., PaperFigure], str]] = {
    "regimes": (regimes, "test accuracy by regime, every seed a dot"),
}
