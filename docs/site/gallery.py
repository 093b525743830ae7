"""The gallery: every kind of figure with its picture, the lines that make it and what it says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from records import picture

import rethinklab as rl
from rethinklab.errors import RethinkError
from rethinklab.figures.catalogue import FIGURES, FigureKind, each_study, no_numbers
from rethinklab.figures.gallery import stem
from rethinklab.figures.paper_items import ITEMS, SHOWN, row

HEAD = """# Gallery

Every figure is drawn from recorded results by the three lines below it, as this page was made. A
figure is a page of its own, sized for a paper, or stands on your own axes (`ax=`);
[figures for a paper](docs/figures.md) says how it is exported. At its foot stands what its numbers
are from."""


def page(studies: Mapping[str, rl.Results], source: Path) -> str:
    """The text of the gallery; its pictures are saved under `source`."""
    rl.load_studies = functools.cache(rl.load_studies)  # type: ignore[attr-defined]
    shown = [part for name, kind in FIGURES.items()
             for part in (f"## {name}", *entry(name, kind, studies, source))]
    others = [f"- {link(name)}: {said(getattr(rl.figures, name))}"
              for name in others_of(rl.figures.__all__)]
    paper = ["| place | what it shows | drawn by | from recorded results |", "|---|---|---|---|",
             *(row(item, studies) for item in ITEMS)]
    return "\n\n".join([
        HEAD, *shown, "## Drawn from networks", "The lessons draw these from networks at hand.",
        "\n".join(others), "## Of the paper", "What each place of the paper shows is told from "
        "memory and was not checked against its text.", "\n".join(paper)]) + "\n"


def entry(name: str, kind: FigureKind, studies: Mapping[str, rl.Results], source: Path
          ) -> list[str]:
    """Meaning, picture and code of one kind, of the first input that can be drawn."""
    place = f", {kind.paper} of the paper" if kind.paper else ""
    found = kind.collect(studies).inputs
    for given in sorted(found, key=lambda one: one != SHOWN.get(name)):
        code = lines(name, kind, given)
        space: dict = {}
        try:
            exec(code, space)
        except RethinkError:  # of one regime, say
            continue
        return [f"{kind.meaning[0].upper()}{kind.meaning[1:]}{place}. See {link(name)}.",
                picture(space["figure"], source, stem(name, given)), f"```python\n{code}\n```"]
    return [f"{kind.meaning}{place}: nothing is recorded yet to draw it from; it needs "
            f"{kind.needs}."]


def lines(name: str, kind: FigureKind, given: str) -> str:
    """The code that draws a figure of that kind from what is recorded as `given`."""
    first = "import rethinklab as rl"
    if kind.source is no_numbers:
        return f"{first}\nfigure = rl.figures.{name}()"
    if isinstance(kind.source, str):
        return (f'{first}\ntable = rl.load_results("{given}").table("{kind.source}")\n'
                f"figure = rl.figures.{name}(table)")
    if kind.source is each_study:
        return f'{first}\nresults = rl.load_results("{given}")\nfigure = rl.figures.{name}(results)'
    return (f"{first}\nfound = rl.figures.FIGURES[\"{name}\"].collect(rl.load_studies())\n"
            f'figure = rl.figures.{name}(found.inputs["{given}"])')


def others_of(names: list[str]) -> list[str]:
    """The figures that are not in the catalogue."""
    return [name for name in names if name.islower() and name not in FIGURES
            and name not in ("export", "find_figure", "paper_style")]


def link(name: str) -> str:
    """To the function's page."""
    return f"{{py:obj}}`rl.figures.{name} <rethinklab.figures.{name}>`"


def said(function: object) -> str:
    """The first sentence of a docstring."""
    return " ".join((function.__doc__ or "").split("\n\n")[0].split())
