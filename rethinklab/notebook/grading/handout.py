"""Lessons as notebooks to hand out to students, or with their solutions to mark by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.notebook.session import find_root
from rethinklab.notebook.source import make, read_lesson

LESSON = "[0-9][0-9]_*.py"


def write_handout(lessons: Sequence[str], out: str | Path, kind: str = "student",
                  force: bool = False, sources: Path | None = None) -> list[Path]:
    """Write NN_topic.ipynb of the lessons into the folder `out`, not executed; their paths.

    lessons: numbers or names; none for all. kind: "student" or "solutions", as for `make`. force:
    replace files that exist. sources: the folder of the lessons. [default: the project's]
    Raises ConfigError for an unknown lesson, a file that exists, or where there are no lessons;
    then nothing is written.
    """
    chosen = choose_lessons(lessons, sources or find_sources())
    paths = [Path(out, f"{path.stem}.ipynb") for path in chosen]
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise ConfigError(f"{', '.join(there)} exists; --force replaces it, --out names another "
                          "folder.")
    notebooks = [make(read_lesson(path), kind) for path in chosen]
    for notebook in notebooks:
        nbformat.validate(notebook)
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        for notebook, path in zip(notebooks, paths, strict=True):
            nbformat.write(notebook, path)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written to ({error.strerror}); name another --out."
                          ) from error
    return paths


def find_sources() -> Path:
    """The folder notebooks/source of the project. Raises ConfigError where it is not found."""
    folder = find_root() / "notebooks" / "source"
    if not any(folder.glob(LESSON)):
        raise ConfigError(f"there are no lessons in {folder}; call this inside the project, or "
                          "outside of every folder that has notebooks and data/results.")
    return folder


def choose_lessons(names: Sequence[str], sources: Path) -> list[Path]:
    """The sources of the lessons with these numbers or names, in order; all for none."""
    there = {path.stem: path for path in sorted(sources.glob(LESSON))}
    chosen = set()
    for name in names:
        found = {stem for stem in there if name == stem
                 or (name.isdigit() and int(name) == int(stem[:2]))}
        if not found:
            raise unknown_name("lesson", name, there)
        chosen |= found
    return [path for stem, path in there.items() if not names or stem in chosen]
