"""The house in order: one dependency list, imports that point one way, commands that exist."""

from __future__ import annotations

import ast
import graphlib
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
import yaml

import conftest
from rethinklab import __version__
from rethinklab.cli import app
from rethinklab.home import INSIDE

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rethinklab"
LAYERS = [("errors", "values", "files", "seeds", "commit", "own", "devices", "lazy", "bars",
           "home"),
          ("data", "models"), ("analysis",), ("trainers",), ("pruners",), ("experiments",),
          ("results",), ("figures",), ("notebook",), ("cli",)]
MOST_IN_A_FUNCTION, MOST_IN_A_FILE = 60, 400
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for folder in ("", "docs", "data", "notebooks")
                   for path in (ROOT / folder).glob("*.md"))
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules():
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imports(path):
    """The modules that a file names in import statements, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_point_one_way():
    against = []
    for path in modules():
        own = LEVEL[path.relative_to(PACKAGE).parts[0].removesuffix(".py")]
        parts = (name.split(".") for name in imports(path))
        against += [f"{path.relative_to(PACKAGE)} imports {'.'.join(name)}" for name in parts
                    if name[0] == "rethinklab" and len(name) > 1 and LEVEL[name[1]] > own]
    assert not against


def rooms():
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("room", rooms())
def test_no_module_of_a_room_needs_itself(room):
    names = {path: ".".join(("rethinklab", *path.relative_to(PACKAGE).with_suffix("").parts))
             for path in modules() if path.relative_to(PACKAGE).parts[0] == room}
    known = set(names.values())
    needs = {name: {found for found in imports_of_names(path) if found in known}
             for path, name in names.items()}
    list(graphlib.TopologicalSorter(needs).static_order())  # raises CycleError


def imports_of_names(path):
    """The modules that a file imports from, and those that it imports as names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_function_and_no_file_is_long():
    long = []
    for path in [*modules(), *sorted((ROOT / "tests").glob("*.py"))]:
        text = path.read_text()
        if len(text.splitlines()) > MOST_IN_A_FILE:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                if node.end_lineno - first >= MOST_IN_A_FUNCTION:
                    long.append(f"{path.name}: {node.name}")
    assert not long


def test_environment_yml_is_a_door_to_the_one_dependency_list():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["-e .[dev]"]
    assert conda == [f"python{project['requires-python']}", "pip"]
    assert {"dev", "docs", "ray", "slurm", "tensorboard"} == set(project["optional-dependencies"])
    required = {re.split(r"[<>=\[ ]", line)[0] for line in
                project["dependencies"] + project["optional-dependencies"]["dev"]}
    assert required >= {"torch", "torchvision", "jupyterlab", "matplotlib", "seaborn", "pandas",
                        "ipywidgets", "nbval", "pytest"}


def test_the_release_has_one_version_and_the_package_carries_lessons_and_records():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    newest = re.search(r"^## \[([^]]+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(),
                       flags=re.MULTILINE)
    assert newest.group(1) == __version__
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {"notebooks", "data"} == set(carried)
    assert all(place == f"rethinklab/{INSIDE}/{name}" for name, place in carried.items())


def test_forms_and_workflow_of_the_forge_are_whole():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form)
        assert all(field["attributes"]["label"] for field in form["body"])
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())[
        "jobs"].values()
    assert any(".ci/run" in step.get("run", "") for step in job["steps"])


def test_every_third_party_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = {re.split(r"[<>=\[ ]", line)[0].replace("-", "_") for line in
                project["dependencies"] + optional["ray"] + optional["slurm"]}
    renamed = {"pillow": "PIL", "scikit_learn": "sklearn"}
    allowed = {renamed.get(name, name) for name in declared} | {"rethinklab", "IPython",
                                                               "nbformat", "nbclient"}
    for path in PACKAGE.rglob("*.py"):
        for name in imports(path):
            top = name.split(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{path.name}: {top}"


def documented_commands():
    text = "\n".join((ROOT / name).read_text() for name in DOCUMENTS)
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("rethinklab ")}
                  - {"rethinklab --help"})


@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_exist_with_their_options(line):
    group = typer.main.get_command(app)
    arguments = shlex.split(line)[1:]
    context = group.make_context("rethinklab", arguments)
    name, command, rest = group.resolve_command(context, arguments)
    parsed = command.make_context(name, rest, parent=context)  # an unknown option raises
    assert parsed.info_name == arguments[0]


def test_documented_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make (\w+)", "\n".join(
        (ROOT / name).read_text() for name in DOCUMENTS),
        flags=re.MULTILINE))
    assert named <= targets
    assert {"demo", "test", "lab", "check", "notebooks", "figures", "docs"} <= targets


def test_long_tests_without_the_marker_are_named():
    reports = [SimpleNamespace(nodeid=name, duration=seconds, keywords=keywords)
               for name, seconds, keywords in (
                   ("tests/a.py::quick", 9.9, {}), ("tests/a.py::known", 60.0, {"slow": 1}),
                   ("tests/b.py::new", 10.1, {}), ("notebooks/a.ipynb::Cell 3", 60.0, {}))]
    lines = []
    conftest.pytest_terminal_summary(SimpleNamespace(
        getreports=lambda kind: reports, section=lines.append, line=lines.append))
    assert lines == ["took more than 10 seconds and are not marked slow", "tests/b.py::new"]


def test_links_in_the_documents_lead_somewhere():
    for name in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text()):
            if not link.startswith("http"):
                assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"


def test_the_readme_is_short_and_answers_first():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 8192
    assert text.index("**Against the fine-tuning of 2019") < 1500
    assert {"docs/lessons.md", "docs/start.md", "notebooks/INSTRUCTOR.md", "RESULTS.md"} <= set(
        re.findall(r"\]\(([^)#\s]+)", text[:1000]))
