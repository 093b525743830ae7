"""All figures and tables that studies allow, written to a folder, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethinklab.errors import RethinkError, unknown_name
from rethinklab.figures.catalogue import FIGURES, Studies
from rethinklab.figures.export import check_formats, export
from rethinklab.figures.style import TEXT_WIDTH
from rethinklab.results.paper_tables import TABLES, export_table


@dataclass(frozen=True)
class Drawn:
    """One figure or table. paths: of its files; none where it could not be drawn, for `reason`."""

    kind: str
    name: str
    paths: tuple[Path, ...] = ()
    reason: str = ""


def stem(kind: str, name: str) -> str:
    """What the files of a figure are called."""
    return f"{kind}-{name}" if name else kind


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is neither a figure nor a table."""
    for name in names:
        if name not in FIGURES and name not in TABLES:
            raise unknown_name("figure or table", name, [*FIGURES, *TABLES])


def make(studies: Studies, names: Sequence[str] = (), out: str | Path = "figures",
         formats: Sequence[str] = ("pdf", "png"), width: float = TEXT_WIDTH) -> Iterator[Drawn]:
    """Draw the figures and tables called `names` (all where there is none) from everything that
    the studies hold for them, one after the other. What cannot be drawn is given with its reason.

    Raises ConfigError for an unknown name or format.
    """
    check_names(names)
    check_formats(formats)
    for name in names or [*FIGURES, *TABLES]:
        if name in TABLES:
            yield Drawn(name, "", tuple(export_table(name, studies.values(), out)))
        else:
            yield from _drawn(studies, name, out, formats, width)


def _drawn(studies: Studies, kind: str, out: str | Path, formats: Sequence[str],
           width: float) -> Iterator[Drawn]:
    figure_kind = FIGURES[kind]
    available = figure_kind.collect(studies)
    for name, given in available.inputs.items():
        try:
            figure = figure_kind.draw(given, width=width)
        except RethinkError as error:
            yield Drawn(kind, name, reason=str(error))
            continue
        origin = {"figure": kind, "paper": figure_kind.paper,
                  "results": _used(studies, name, given)}
        yield Drawn(kind, name, tuple(export(figure, stem(kind, name), out, formats, origin)))
    for sentence in available.missing:
        name, _, reason = sentence.partition(": ")
        yield Drawn(kind, name, reason=reason)
    if not available.inputs and not available.missing:
        yield Drawn(kind, "", reason=f"it needs {figure_kind.needs}.")


def _used(studies: Studies, name: str, given: Any) -> list[str]:
    """What the results are that a figure was drawn from: of the study that it is called by, or of
    those that its table was made from."""
    made_from = getattr(given, "attrs", {}).get("studies", ())
    names = [key for key, results in studies.items()
             if key == name or results.name in made_from]
    return [line for key in names for line in studies[key].origin()]


def overview(studies: Studies, cheap: bool = False
             ) -> list[tuple[str, str, list[str], list[str]]]:
    """(figure, meaning, names that can be drawn, what is missing) for each kind of figure.
    cheap: compute nothing from networks."""
    rows = []
    for name, kind in FIGURES.items():
        available = kind.collect(studies, cheap)
        lacking = list(available.missing)
        if not available.inputs and not lacking:
            lacking = [f"it needs {kind.needs}."]
        place = f"{kind.meaning} ({kind.paper})" if kind.paper else kind.meaning
        rows.append((name, place, list(available.inputs), lacking))
    return rows
