"""The style sheet: paper size by construction, fonts that embed, colours that everyone can tell."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, cast

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rethinklab.errors import ConfigError
from rethinklab.trainers.regimes import REGIMES, UNPRUNED, prunes, settle_regime

TEXT_WIDTH = 5.5  # inches: ICLR's text block
VENUES = {"iclr": 5.5, "neurips": 5.5, "icml": 6.75, "icml-column": 3.25, "cvpr": 6.875,
          "cvpr-column": 3.25}  # inches, of the text block or of one of its columns

NARROWEST, WIDEST = 2.0, 20.0  # inches
Width: TypeAlias = float | str  # inches, or the name of a venue
OnAxes: TypeAlias = Axes | None  # the caller's own, for a figure of one panel
OnFigure: TypeAlias = SubFigure | Figure | None  # the caller's own, for one of several panels

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
    footed: bool = True


class RoundedLayout(ConstrainedLayoutEngine):
    """Constrained layout whose panels lie on rounded places: its solver may end in other last bits
    when a figure is drawn again, and names in an SVG are hashes of these."""

    def execute(self, fig: Any) -> Any:
        done = super().execute(fig)
        for axes in fig.axes:
            left, bottom, width, height = axes.get_position(original=True).bounds
            axes._set_position((round(left, PLACES), round(bottom, PLACES), round(width, PLACES),
                                round(height, PLACES)), which="original")
        return done


class Part:
    """Axes or a sub-figure of somebody else's figure, to be drawn on as if it were a figure of its
    own. What it shows it carries as a `PaperFigure` does; its size, and where its numbers are from,
    are for the caller to settle."""

    def __init__(self, on: Axes | SubFigure | Figure) -> None:
        self.on = on

    def add_subplot(self) -> Axes:
        return self.on if isinstance(self.on, Axes) else self.on.add_subplot()

    def get_size_inches(self) -> tuple[float, float]:
        box = self.on.bbox
        dpi = self.on.get_figure(root=True).dpi  # type: ignore[union-attr]
        return box.width / dpi, box.height / dpi

    def set_size_inches(self, width: float, height: float) -> None:
        """Nothing: there is no room to be made."""

    def legend(self, *what: Any, loc: str, **how: Any) -> None:
        """Over the axes, or where a figure has it."""
        if isinstance(self.on, Axes):
            self.on.legend(*what, loc="lower center", bbox_to_anchor=(0.5, 1.0), **how)
        else:
            self.on.legend(*what, loc=loc, **how)  # type: ignore[call-overload]

    def colorbar(self, *what: Any, **how: Any) -> Any:
        return self.on.get_figure(root=True).colorbar(*what, **how)  # type: ignore[union-attr]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.on, name)  # subplots, supxlabel, ... of a sub-figure


@contextmanager
def paper_style() -> Iterator[None]:
    """The style sheet, inside the block only."""
    with rc_context(RC):  # type: ignore[arg-type]
        yield


def inches(width: Width, on: Axes | SubFigure | Figure | None = None) -> float:
    """The width of a figure: in inches, by the name of a venue, or of what it is drawn on. Raises
    ConfigError for anything else."""
    if on is not None:
        return Part(on).get_size_inches()[0]
    found = VENUES.get(width.lower(), width) if isinstance(width, str) else width
    try:
        found = float(found)
    except ValueError:
        found = 0.0
    if not NARROWEST <= found <= WIDEST:
        raise ConfigError(f"width {width!r} must be one of {', '.join(VENUES)}, or a number of "
                          f"inches from {NARROWEST:g} to {WIDEST:g}.")
    return found


def paper_figure(width: float = TEXT_WIDTH, height: float = 2.4,
                 on: Axes | SubFigure | Figure | None = None, note: bool = True) -> PaperFigure:
    """An empty figure of that size in inches, or what stands for one where a figure is drawn `on`
    the caller's axes or sub-figure. Use inside `paper_style()`.

    note: whether `finish` prints at the foot where the numbers are from.
    """
    if on is not None:
        return cast(PaperFigure, Part(on))
    figure = PaperFigure(figsize=(width, height), layout=RoundedLayout())
    figure.footed = note
    return figure


def palette() -> list[tuple[float, float, float]]:
    """Colours that readers with any colour vision tell apart (seaborn's "colorblind")."""
    import seaborn

    return list(seaborn.color_palette("colorblind"))


MARKERS = (*"os^Dv<>pPX*hd8H", (4, 1, 0))  # the last: a star of four points
PLAIN = (5, 3, 9)  # places in the palette that stand out from white, for regimes beyond the study's


def regime_looks() -> dict[str, dict[str, Any]]:
    """Colour and marker of each regime: the same in every figure."""
    colours = palette()
    fixed = {UNPRUNED: 7, "finetune": 0, "scratch-e": 1, "scratch-b": 2, "scratch-b-capped": 4,
             "ticket": 9, "lr-rewind": 3}
    spare = iter(PLAIN * len(REGIMES))
    places = fixed | {name: next(spare) if prunes(name) else fixed[UNPRUNED]
                      for name in REGIMES if name not in fixed}
    return {name: {"color": colours[place], "marker": marker}
            for (name, place), marker in zip(places.items(), itertools.cycle(MARKERS),
                                             strict=False)}


def regime_look(name: str) -> dict[str, Any]:
    """Colour and marker of a regime, whatever its share."""
    return regime_looks()[name if name == UNPRUNED else settle_regime(name).partition(":")[0]]


DESIGNS = {"found": 0, "uniform": 3, "guided": 2, "transferred": 9}  # places in the palette
PALE = (6, 8)  # places in the palette that hardly show on white
SERIES_LINES = ("-", "--", ":", "-.")
NOTE_SIZE = 7  # points
NOTE_CHARACTERS = 20  # of that size in an inch
INCH = 72  # points
PLACES = 6  # decimals of a panel's place, as shares of the figure


def design_look(design: str) -> dict[str, Any]:
    """Colour, marker and line style of a design: the architecture that pruning found, uniform,
    guided or transferred. The same in every figure."""
    place = list(DESIGNS).index(design)
    return {"color": palette()[DESIGNS[design]], "marker": MARKERS[place],
            "linestyle": SERIES_LINES[place]}


def series_look(place: int) -> dict[str, Any]:
    """Colour, marker and line style of the n-th (from 0) of a few series without a fixed look.

    The first ten colours differ for readers of any colour vision only together with markers.
    """
    colours = [colour for place, colour in enumerate(palette()) if place not in PALE]
    return {"color": colours[place % len(colours)], "marker": MARKERS[place % len(MARKERS)],
            "linestyle": SERIES_LINES[place % len(SERIES_LINES)]}


def light_grid(axes: Axes, axis: Literal["both", "x", "y"] = "y") -> None:
    """Thin lines behind the data."""
    axes.grid(axis=axis, linewidth=0.3, color="0.85")
    axes.set_axisbelow(True)


_around = {"scale": ""}  # a fact of the process, as a style sheet is


def say_scale(words: str) -> None:
    """What every later figure of this process adds to a label that does not name a scale, as
    notebooks have it; "" for nothing."""
    _around["scale"] = words


def finish(figure: PaperFigure, numbers: pd.DataFrame, caption: str, label: str | pd.DataFrame,
           remark: str = "") -> PaperFigure:
    """Give a figure what it carries, and print the remark on how to read it and the label of
    where its numbers are from at its foot, for which room is made. label: it, or the table that
    has it in its `attrs`.

    Call it last, inside `paper_style()`. Legends outside the axes belong above or to the right:
    below is the foot.
    """
    if isinstance(label, pd.DataFrame):
        label = str(label.attrs.get("label", ""))
    if _around["scale"] and not re.search(r"\bscale\b", label):
        label = " ".join(part for part in (f"{label.rstrip('.')}." if label else "",
                                           _around["scale"]) if part)
    figure.numbers = numbers.reset_index(drop=True)
    figure.caption, figure.note = caption, label
    if isinstance(figure, Part) or not figure.footed:
        return figure
    width, height = figure.get_size_inches()
    text = " ".join(part for part in (remark, label) if part)
    lines = textwrap.wrap(text, max(20, int(width * NOTE_CHARACTERS)))
    if lines:
        foot = (len(lines) * NOTE_SIZE * 1.25 + 4) / INCH
        figure.set_size_inches(width, height + foot)
        share = foot / (height + foot)
        engine = figure.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(rect=(0, share, 1, 1 - share))
        figure.text(0.01, 2 / INCH / (height + foot), "\n".join(lines), fontsize=NOTE_SIZE,
                    color="0.35", va="bottom", ha="left", linespacing=1.2)
    return figure
