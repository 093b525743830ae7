"""The figures: each a pure function from results to a matplotlib figure, and the exporter."""

from __future__ import annotations

from collections.abc import Callable

from rethinklab.figures.export import export
from rethinklab.figures.regimes import regimes
from rethinklab.figures.samples import samples
from rethinklab.figures.scores import scores
from rethinklab.figures.sensitivity import sensitivity
from rethinklab.figures.style import PaperFigure
from rethinklab.figures.widths import widths

__all__ = ["FIGURES", "PaperFigure", "export", "regimes", "samples", "scores", "sensitivity",
           "widths"]

FIGURES: dict[str, tuple[Callable[..., PaperFigure], str]] = {
    "regimes": (regimes, "test accuracy by regime, every seed a dot"),
}
