"""Lessons as text, and the notebooks that are made from them: to read, to hand in, to mark by.

A lesson is `notebooks/source/NN_topic.py`, in jupytext's percent format. An exercise is an answer
cell, whose solution stands between nbgrader's markers, a check and a hint:

    # %% exercise="half_the_macs" points=2
    ### BEGIN SOLUTION
    half = rl.pruners.L1Norm(0.3).fit(vgg16, data)
    ### END SOLUTION

    # %% check="half_the_macs"
    lab.check(checks.half_the_macs, half)

    # %% [markdown] hint="half_the_macs"
    # Try a ratio and read the diagnosis.

A markdown cell with more="half_the_macs" is folded away with the solution, below it.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from rethinklab.errors import ConfigError
from rethinklab.home import home

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # as nbgrader has them
KINDS = ("public", "student", "solutions")
COLAB = """import importlib.util
if importlib.util.find_spec("rethinklab") is None:  # in Colab: fetch the kit, once
    get_ipython().system("git clone -q {home} && pip install -q ./{name}")
    get_ipython().run_line_magic("cd", "-q {name}/notebooks")"""
NBGRADER = {"schema_version": 3, "task": False}


def read_lesson(path: str | Path) -> NotebookNode:
    """A lesson's source as a notebook, exercises as written.

    Raises ConfigError, naming the file and the exercise, where one has no check or no hint, two
    have one name, or a solution is not between its markers.
    """
    import jupytext

    path = Path(path)
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    notebook = nbformat.from_dict({**notebook, "nbformat": 4, "nbformat_minor": 5})
    try:
        _examine(notebook)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return notebook


def exercises(notebook: NotebookNode) -> list[str]:
    """The names of a lesson's exercises, in order."""
    return [cell.metadata["exercise"] for cell in notebook.cells if "exercise" in cell.metadata]


def make(lesson: NotebookNode, kind: str, stem: str = "") -> NotebookNode:
    """The notebook that is made of a lesson.

    kind: "public", with stubs and folded hints and solutions; "student", the same without the
    solutions, to hand in; "solutions", with nbgrader's markers and checks that raise, which is
    also what nbgrader takes as an assignment's source. stem: NN_topic, for the link to Colab, where
    the project has an address.
    Code cells have no outputs; cells have nbgrader's metadata in all kinds.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} of notebook must be one of {', '.join(KINDS)}.")
    cells = [made for cell in lesson.cells for made in _cells(cell, lesson, kind)]
    address = _home()
    if stem and address:
        cells[0].source += f"\n\n[Open in Colab]({_colab_link(address, stem)})"
        place = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
        cells.insert(place, _code(COLAB.format(home=address, name=address.rsplit("/", 1)[-1]),
                                  {"tags": ["colab"]}))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata["slideshow"] = {"slide_type": _slide(cell)}
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python",
                       "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py",
                          "mimetype": "text/x-python"}})
    return made


def stub(source: str) -> str:
    """An answer cell with dots in place of its solution: `name = ...` for what the last statement
    of a solution assigns, and dots alone in the body of a function or a class."""
    lines: list[str] = []
    for part in _regions(source):
        if isinstance(part, str):
            lines.append(part)
            continue
        indent, solution = part
        names = [] if indent else _assigned(solution)
        lines += [f"{name} = ..." for name in names] or [indent + "..."]
    return "\n".join(lines)


def solution(source: str) -> str:
    """An answer cell with its solution and without the markers."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def _cells(cell: NotebookNode, lesson: NotebookNode, kind: str) -> Iterator[NotebookNode]:
    about = cell.metadata
    if cell.cell_type == "markdown":
        if "more" in about:
            return
        if "hint" in about:
            yield _text(_folded(about["hint"], cell.source, lesson, kind))
        else:
            yield _text(cell.source)
    elif "exercise" in about:
        source = cell.source if kind == "solutions" else stub(cell.source)
        yield _code(source, {"nbgrader": {**NBGRADER, "grade_id": about["exercise"],
                                          "grade": False, "locked": False, "solution": True}})
    elif "check" in about:
        name = about["check"]
        points = next(c.metadata.get("points", 1) for c in lesson.cells
                      if c.metadata.get("exercise") == name)
        yield _code(cell.source, {"nbgrader": {**NBGRADER, "grade_id": f"check-{name}",
                                               "grade": True, "locked": True, "solution": False,
                                               "points": int(points)}})
    else:
        source = cell.source
        if kind == "solutions":
            source = re.sub(r"\bstart\((\d+)\)", r"start(\1, strict=True)", source)
        kept = {"tags": list(about["tags"])} if "tags" in about else {}
        yield _code(source, kept)


def _folded(name: str, hint: str, lesson: NotebookNode, kind: str) -> str:
    def fold(title: str, text: str) -> str:
        return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"

    if kind != "public":
        return fold("Hint", hint)
    answer = next(c.source for c in lesson.cells if c.metadata.get("exercise") == name)
    more = [c.source for c in lesson.cells if c.metadata.get("more") == name]
    shown = "\n\n".join([f"```python\n{solution(answer)}\n```", *more])
    return f"{fold('Hint', hint)}\n{fold('Solution', shown)}"


def _regions(source: str) -> Iterator[str | tuple[str, str]]:
    """The lines of an answer cell, and (indentation, text) for each solution in it."""
    inside: list[str] | None = None
    indent = ""
    for line in source.splitlines():
        if line.strip() == BEGIN:
            inside, indent = [], line[: len(line) - len(line.lstrip())]
        elif line.strip() == END and inside is not None:
            yield indent, textwrap.dedent("\n".join(inside))
            inside = None
        elif inside is not None:
            inside.append(line)
        else:
            yield line


def _assigned(solution: str) -> list[str]:
    statement = ast.parse(solution).body[-1]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [node.id for target in targets for node in ast.walk(target)
            if isinstance(node, ast.Name)]


def _examine(notebook: NotebookNode) -> None:
    names = exercises(notebook)
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two exercises are called {name!r}.")
        for part in ("check", "hint"):
            if sum(cell.metadata.get(part) == name for cell in notebook.cells) != 1:
                raise ConfigError(f"exercise {name!r} must have one {part}.")
        source = next(c.source for c in notebook.cells if c.metadata.get("exercise") == name)
        lines = [line.strip() for line in source.splitlines() if line.strip() in (BEGIN, END)]
        if not lines or lines != [BEGIN, END] * (len(lines) // 2):
            raise ConfigError(f"exercise {name!r} must have its solution between {BEGIN!r} and "
                              f"{END!r}.")


def _slide(cell: NotebookNode) -> str:
    """How a slide show treats the cell: sections are slides, exercises are left out."""
    if cell.cell_type == "code":
        hidden = "nbgrader" in cell.metadata or "tags" in cell.metadata
        return "skip" if hidden else "fragment"
    if cell.source.startswith("#"):
        return "slide"
    return "skip" if cell.source.startswith(("<details>", "**Exercise")) else "subslide"


def _home() -> str:
    """Where the project can be cloned from: [project.urls] of pyproject.toml, the one place that
    says so; "" where it is published nowhere, so that nothing is fetched from a stranger's."""
    project = home() / "pyproject.toml"
    if project.is_file():  # in a clone, whose installed metadata may be older
        urls = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("urls", {})
    else:
        urls = dict(link.split(", ", 1) for link in
                    metadata("rethinklab").get_all("Project-URL", []))
    return str(urls.get("Repository", ""))


def _colab_link(address: str, stem: str) -> str:
    place = address.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{stem}.ipynb"


def _code(source: str, about: dict[str, Any] | None = None) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata=nbformat.from_dict(about or {}))


def _text(source: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(source)
