"""How long the cells of each notebook take in a fresh kernel, at the scales cached and quick.

    python -m benchmarks.notebooks [--write]

`--write` puts the table into notebooks/INSTRUCTOR.md, between its marks.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median

import nbformat
import torch
from nbclient import NotebookClient

from rethinklab.devices import pick_device

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
START, END = "<!-- run times: made by `python -m benchmarks.notebooks --write` -->", \
    "<!-- end of run times -->"
SCALES = ("cached", "quick")


def seconds(path: Path, scale: str, store: str) -> tuple[float, float]:
    """Wall-clock seconds of one run in a fresh kernel, outputs thrown away: of its cells, imports
    included, and of all, with the start and the end of the kernel."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3",
                            resources={"metadata": {"path": str(FOLDER)}})
    begun = time.perf_counter()
    client.execute(env={**os.environ, "RETHINKLAB_SCALE": scale, "RETHINKLAB_STORE": store})
    whole = time.perf_counter() - begun
    times = [cell.metadata["execution"] for cell in notebook.cells
             if "execution" in cell.metadata]
    return sum(_moment(spent["shell.execute_reply"]) - _moment(spent["iopub.execute_input"])
               for spent in times), whole


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def where() -> str:
    """The device and the versions, in one line."""
    device = pick_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return (f"{device.type} ({name}), {os.cpu_count()} cores, "
            f"{os.environ.get('OMP_NUM_THREADS', 'default')} thread(s), torch {torch.__version__}, "
            f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")


def table() -> str:
    """The table as Markdown, printed line by line while it grows."""
    lines = [f"Seconds that the cells take in a fresh kernel, imports included, one notebook after "
             f"the other, on {where()}.", "", "| notebook | cached | quick |", "|---|---|---|"]
    totals, around = [0.0, 0.0], []
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as store:
            taken = [seconds(path, scale, store) for scale in SCALES]
        totals = [total + cells for total, (cells, _) in zip(totals, taken, strict=True)]
        around += [whole - cells for cells, whole in taken]
        lines.append(f"| {path.stem} | {taken[0][0]:.0f} | {taken[1][0]:.0f} |")
        print(lines[-1], flush=True)
    lines += [f"| all | {totals[0]:.0f} | {totals[1]:.0f} |", "",
              f"The start and the end of a kernel add {median(around):.0f} seconds to each."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    text = table()
    print(text)
    if write:
        page = FOLDER / "INSTRUCTOR.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
