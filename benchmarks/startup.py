"""Start-up times of the package and the command line: `python -m benchmarks.startup`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

GOALS = {"import rethinklab": 0.3, "rethinklab --help": 0.5}


def seconds(command: list[str], runs: int = 7) -> float:
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - start)
    return median(spent)


def main() -> None:
    commands = {
        "import rethinklab": [sys.executable, "-c", "import rethinklab"],
        "rethinklab --help": [str(Path(sys.executable).parent / "rethinklab"), "--help"],
    }
    for name, command in commands.items():
        print(f"{name:20} {seconds(command):.2f} s (goal: {GOALS[name]} s or less)")


if __name__ == "__main__":
    main()
