"""Make and execute notebooks: `python -m rethinklab.notebook.execute notebooks/source/*.py`.

A lesson's source becomes notebooks/NN_topic.ipynb; a notebook is executed in place. With --prose
the text of lessons whose code is unchanged is renewed, and nothing runs.
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
from rethinklab.notebook.stamp import KEY, stamp, stored_stamp

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


def renew_prose(path: str | Path) -> bool:
    """Put a lesson's text into its notebook, outputs kept; False, and nothing is written, where
    the code is not that which made the outputs."""
    import nbformat

    path = Path(path)
    place = path.parent.parent / f"{path.stem}.ipynb"
    made, old = make(read_lesson(path), "public", path.stem), nbformat.read(place, as_version=4)
    if stamp(made) != stored_stamp(old):
        return False
    ran = iter([cell for cell in old.cells if cell.cell_type == "code"])
    for cell in made.cells:
        if cell.cell_type == "code":
            last = next(ran)
            cell.outputs, cell.execution_count = last.outputs, last.execution_count
    clean(made)
    nbformat.write(made, place)
    return True


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
        print("usage: python -m rethinklab.notebook.execute [--prose] NOTEBOOK ...",
              file=sys.stderr)
        return 2
    if paths[0] == "--prose":
        stale = [path for path in paths[1:] if not renew_prose(path)]
        for path in stale:
            print(f"{path}: its code has changed; execute it", file=sys.stderr)
        return int(bool(stale))
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
