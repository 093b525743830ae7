"""Docstrings of the house, as the fields that Sphinx lays out as lists.

They are plain sentences: "seed: of data order. device: "auto" takes a GPU. Raises ConfigError for
an option out of range. Source: section 4 of the paper." Here each becomes a field.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

NAMES = re.compile(r"(?:(?<=^)|(?<=[.;)] ))((?:[a-z_]\w*, )*(?:[a-z_]\w*)): ")
RAISES = re.compile(r"(?:(?<=^)|(?<=[.;)] ))Raises (?=[A-Z])")
ANOTHER = re.compile(r", (?:and )?(?=[A-Z]\w*Error\b|Missing\b|OutOfTime\b)")
SOURCE = re.compile(r"(?:(?<=^)|(?<=[.;)] ))Sources?: ")


def fields(lines: list[str], known: set[str]) -> list[str]:
    """The docstring of something with these parameters or attributes, in reStructuredText."""
    found: list[str] = []
    listed: list[str] = []
    for paragraph in paragraphs(lines):
        if paragraph[0].startswith((" ", "- ", "* ", ">>>")):
            found += ["::", "", *("    " + line for line in paragraph), ""]
            continue
        text = " ".join(line.strip() for line in paragraph)
        lead, more = split(text, known)
        found += [escape(lead), ""] if lead else []
        listed += more
    return [*found, *listed, ""]


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Lines between empty ones; what is indented stays together."""
    parts: list[list[str]] = []
    for line in lines:
        if not line.strip():
            parts.append([])
        else:
            if not parts:
                parts.append([])
            parts[-1].append(line)
    return [part for part in parts if part]


def split(text: str, known: set[str]) -> tuple[str, list[str]]:
    """A paragraph's sentences before the first field, and its fields."""
    marks = [(m.start(), m.end(), m) for m in NAMES.finditer(text)
             if set(m.group(1).split(", ")) <= known]
    marks += [(m.start(), m.end(), m) for m in (*RAISES.finditer(text), *SOURCE.finditer(text))]
    if not marks:
        return text, []
    marks.sort(key=lambda mark: mark[0])
    ends = [start for start, _, _ in marks[1:]] + [len(text)]
    made = [line for (_, end, match), stop in zip(marks, ends, strict=True)
            for line in field(match, text[end:stop].strip())]
    return text[:marks[0][0]].strip(), made


def field(match: re.Match[str], said: str) -> list[str]:
    """One list entry, or one for each name or error that it is about."""
    if match.re is NAMES:
        first, *others = match.group(1).split(", ")
        return [f":param {first}: {escape(said)}",
                *(f":param {name}: as `{first}`." for name in others)]
    if match.re is SOURCE:
        return [f":source: {escape(said)}"]
    raised = []
    for part in ANOTHER.split(said):
        error, _, reason = part.partition(" ")
        raised.append(f":raises {error.rstrip('.,;')}: {escape(reason.strip())}")
    return raised


def escape(text: str) -> str:
    """A sentence in which nothing but what stands between backticks is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(f"``{part.strip('`')}``" + ("\\ " if follows(parts, place) else "")
                   if place % 2 else re.sub(r"([*|\\_])", r"\\\1", part)
                   for place, part in enumerate(parts))


def follows(parts: list[str], place: int) -> bool:
    """Whether a letter comes directly after the code at that place."""
    return bool(parts[place + 1][:1].isalnum())


def names_of(thing: Any) -> set[str]:
    """Parameters of a function, or of the constructor and the attributes of a class."""
    try:
        known = set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        known = set()
    return known | set(getattr(thing, "__annotations__", ()))


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's hook: change the lines of a docstring in place."""
    lines[:] = fields(list(lines), names_of(thing))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
