"""A lesson of three exercises, and a small project around it, for the tests of handing out and
grading. Its copy of the package gives an answer less memory."""

import shutil
from pathlib import Path

import nbformat

import rethinklab
from rethinklab.notebook.grading.isolation import Project
from rethinklab.notebook.source import make, read_lesson

LESSON = '''\
# %% [markdown]
# # 00 · Tiny
#
# **How much is it?** See [01 · Next](01_next.ipynb).

# %%
import rethinklab
from rethinklab.notebook.checks import tiny as checks

lab, numbers = None, {"values": [1, 2, 3]}
start = lambda number, strict=False: None
start(0)

# %% [markdown]
# **Exercise 1.** *Easy, 1 minute.* The sum.

# %% exercise="sum_up" points=2
### BEGIN SOLUTION
total = sum(numbers["values"])
### END SOLUTION

# %% check="sum_up"
lab.check(checks.sum_up, total, numbers)

# %% [markdown] hint="sum_up"
# Add them up.

# %% exercise="twice" points=1
def twice(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% check="twice"
lab.check(checks.twice, twice)

# %% [markdown] hint="twice"
# Once more.

# %%
numbers["last"] = numbers["values"][-1]

# %% exercise="last" points=3
### BEGIN SOLUTION
last = numbers["last"]
### END SOLUTION

# %% check="last"
lab.check(checks.last, last, of=numbers)

# %% [markdown] hint="last"
# The one at the end.
'''
CHECKS = '''\
from rethinklab.notebook.checks.common import answered, demand


def sum_up(answer, numbers):
    answered(answer)
    demand(answer == sum(numbers["values"]), f"{answer} is not the sum.")
    return f"the sum is {answer}."


def twice(answer):
    answered(answer)
    demand(answer(2) == 4 and answer(5) == 10, "That is not twice as much.")
    return "twice as much."


def last(answer, of):
    answered(answer)
    demand(answer == of["values"][-1], f"{answer} is not the last.")
    return f"{answer} is the last."
'''
RIGHT = {"sum_up": "total = 6", "twice": "twice = lambda x: x + x", "last": "last = 3"}
STEM = "00_tiny"


def tiny_project(root):
    """A project that has this lesson alone, with a copy of the package, which may be attacked."""
    for name in ("data/results", "notebooks/source"):
        Path(root, name).mkdir(parents=True)
    Path(root, "notebooks", "source", f"{STEM}.py").write_text(LESSON)
    package = Path(root, "rethinklab")
    shutil.copytree(Path(rethinklab.__file__).parent, package)
    (package / "notebook" / "checks" / "tiny.py").write_text(CHECKS)
    inside = package / "notebook" / "grading" / "inside.py"
    inside.write_text(inside.read_text().replace("MEMORY = 3 * 2**30", "MEMORY = 2**28"))
    return Project(Path(root), package)


def handed_in(lesson, **answers):
    """The student version of a lesson with these answers in place of the stubs."""
    notebook = make(read_lesson(lesson), "student")
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = answers.get(name, cell.source)
    return notebook


def write_notebook(notebook, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def snapshot(*folders):
    """{path: bytes} of all files but compiled code."""
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts}
