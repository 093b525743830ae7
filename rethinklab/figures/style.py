"""The style sheet: paper size by construction, fonts that embed, colours that everyone can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from rethinklab.trainers.regimes import REGIMES, UNPRUNED, settle_regime

TEXT_WIDTH = 5.5  # inches: ICLR's text block

RC: dict[str, Any] = {
    "font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 9,
    "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.fontsize": 8, "legend.frameon": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "lines.markersize": 4.5, "savefig.dpi": 300, "figure.dpi": 150, "pdf.fonttype": 42,
    "ps.fonttype": 42, "svg.hashsalt": "rethinklab", "svg.fonttype": "none",
}


class PaperFigure(Figure):
    """A matplotlib figure that carries what it shows.

    numbers: the values plotted, for the CSV beside it. caption: one sentence, also the
    alternative text. note: where the numbers are from, printed small under the axes.
    """

    numbers: pd.DataFrame
    caption: str
    note: str


@contextmanager
def paper_style() -> Iterator[None]:
    """The style sheet, inside the block only."""
    with rc_context(RC):  # type: ignore[arg-type]
        yield


def paper_figure(width: float = TEXT_WIDTH, height: float = 2.4) -> PaperFigure:
    """An empty figure of that size in inches. Use inside `paper_style()`."""
    return PaperFigure(figsize=(width, height), layout="constrained")


def palette() -> list[tuple[float, float, float]]:
    """Colours that readers with any colour vision tell apart (seaborn's "colorblind")."""
    import seaborn

    return list(seaborn.color_palette("colorblind"))


MARKERS = "os^Dv<>pPX*hd8H"


def regime_looks() -> dict[str, dict[str, Any]]:
    """Colour and marker of each regime: the same in every figure."""
    colours = palette()
    fixed = {UNPRUNED: 7, "finetune": 0, "scratch-e": 1, "scratch-b": 2, "scratch-b-capped": 4}
    spare = iter(place for place in (3, 5, 6, 8, 9) * len(REGIMES))
    places = fixed | {name: next(spare) for name in REGIMES if name not in fixed}
    return {name: {"color": colours[place], "marker": marker}
            for (name, place), marker in zip(places.items(), MARKERS, strict=False)}


def regime_look(name: str) -> dict[str, Any]:
    """Colour and marker of a regime, whatever its share."""
    return regime_looks()[name if name == UNPRUNED else settle_regime(name).partition(":")[0]]
