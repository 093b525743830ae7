"""How the kit's figures and results appear in a notebook, as pictures and as text."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from rethinklab.figures.style import PaperFigure, paper_style
from rethinklab.results import Results

PIXELS = 96  # of the screen, in an inch


def show_figures() -> bool:
    """Make a figure that ends a cell appear under it, with its caption as alternative text, and
    results as a table; False where there is no notebook.

    The kit's figures do not pass through pyplot, so matplotlib's inline backend, which becomes
    active with pyplot only, cannot be relied on to show them.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    if shell is None:
        return False
    formatters = shell.display_formatter.formatters
    formatters["image/png"].for_type(PaperFigure, picture)
    formatters["text/plain"].for_type(PaperFigure, _write_caption)
    formatters["text/plain"].for_type(Results, _write_table)
    return True


def picture(figure: PaperFigure) -> tuple[bytes, dict[str, Any]]:
    """The figure as PNG with two pixels for each that it is shown in, for screens that have them;
    and as the metadata of the output its width, its caption, as alternative text, and its note."""
    buffer = BytesIO()
    with paper_style():
        figure.savefig(buffer, format="png", dpi=2 * PIXELS, metadata={"Software": None})
    return buffer.getvalue(), {"width": round(PIXELS * figure.get_figwidth()),
                               "alt": getattr(figure, "caption", ""),
                               "note": getattr(figure, "note", "")}


def _write_caption(figure: PaperFigure, printer: Any, cycle: bool) -> None:
    printer.text(getattr(figure, "caption", repr(figure)))


def _write_table(results: Results, printer: Any, cycle: bool) -> None:
    printer.text(str(results))
