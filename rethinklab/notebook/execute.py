"""Make and execute notebooks: `python -m rethinklab.notebook.execute notebooks/source/*.py`.

A lesson's source becomes notebooks/NN_topic.ipynb; a notebook is executed in place.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rethinklab.notebook.session import VARIABLE
from rethinklab.notebook.source import make, read_lesson
from rethinklab.notebook.stamp import KEY, stamp

TIMEOUT = 600  # seconds for one cell
KEPT = ("tags", "slideshow", "nbgrader")
LIVE = "application/vnd.jupyter.widget-view+json"  # needs a kernel; the picture beside it does not


def execute(path: str | Path) -> float:
    """Run a notebook, or the one that a lesson's source makes, top to bottom at the scale
    "cached", and write it with outputs and stamp; the seconds it took. Where a cell fails nothing
    is written.

    Raises nbclient's CellExecutionError for a failing cell.
    """
    import nbformat
    from nbclient import NotebookClient

    path = Path(path)
    if path.suffix == ".py":
        notebook = make(read_lesson(path), "public", path.stem)
        path = path.parent.parent / f"{path.stem}.ipynb"
    else:
        notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3",
                            record_timing=False, coalesce_streams=True,
                            resources={"metadata": {"path": str(path.resolve().parent)}})
    start = time.perf_counter()
    client.execute(env={**os.environ, VARIABLE: "cached"})
    seconds = time.perf_counter() - start
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def clean(notebook: Any) -> None:
    """Keep of the metadata what opening the notebook needs, and add the stamp."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python",
                       "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py",
                          "mimetype": "text/x-python"},
        KEY: {"stamp": stamp(notebook)},
    }
    for cell in notebook.cells:
        kept = {name: cell.metadata[name] for name in KEPT if name in cell.metadata}
        cell.metadata = type(cell.metadata)(kept)
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(LIVE, None)


def main(paths: Sequence[str]) -> int:
    """Execute each notebook; 1 where one failed, 2 where none was given."""
    from nbclient.exceptions import CellExecutionError

    if not paths:
        print("usage: python -m rethinklab.notebook.execute NOTEBOOK ...", file=sys.stderr)
        return 2
    failed = 0
    for path in paths:
        try:
            print(f"{path}: {execute(path):.0f} s", flush=True)
        except CellExecutionError as error:
            failed = 1
            print(f"{path}: a cell failed, the file is left as it was.\n{error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
