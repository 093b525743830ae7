"""NVIDIA MPS, by which several processes compute on one GPU at the same time.

Without it the kernels of different processes take turns, and a small network leaves most of the
card idle during its turn. The daemon is private to a run, with pipes and logs in a folder of its
own, and ends with it; one that already runs is used as it is. No setting of the GPU is changed.
Source: NVIDIA Multi-Process Service, docs.nvidia.com/deploy/mps.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rethinklab.experiments.engines import mps_guard

PROGRAM = "nvidia-cuda-mps-control"
START_SECONDS, END_SECONDS = 15.0, 30.0
TURNS = "the workers take turns on the GPU"


@dataclass
class Mps:
    """How the workers of a run share a GPU. variables: of their environment. remark: one line
    that says so."""

    remark: str
    shared: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    guard: subprocess.Popen[str] | None = None

    @property
    def serves(self) -> bool:
        """Whether workers that start now compute at the same time."""
        return self.shared and (self.guard is None or self.guard.poll() is None)

    def environment(self) -> dict[str, str]:
        """What a worker needs that starts now; nothing once the daemon has died."""
        return dict(self.variables) if self.serves else {}

    def close(self) -> None:
        """End a daemon that was started for the run. Safe to repeat."""
        if self.guard is None:
            return
        guard, self.guard, self.shared = self.guard, None, False
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.close()
        try:
            guard.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        guard.stdout.close()


def serve() -> Mps:
    """Use the daemon that runs, or start one, where there is any."""
    program = shutil.which(PROGRAM)
    if program is None:
        return Mps(f"{PROGRAM} is not installed, so {TURNS}")
    if runs_already(program):
        return Mps("the workers share the GPU by the MPS daemon that runs here", True)
    short = "/tmp" if os.path.isdir("/tmp") else None  # names of sockets have 107 characters
    folder = Path(tempfile.mkdtemp(prefix="rethinklab-mps-", dir=short))
    guard = subprocess.Popen([sys.executable, "-I", "-S", mps_guard.__file__, program, str(folder)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    assert guard.stdout is not None
    found, _, _ = select.select([guard.stdout], [], [], START_SECONDS)
    served = Mps("the workers share the GPU by an MPS daemon of this run", True,
                 mps_guard.places(folder), guard)
    if not found or guard.stdout.readline() != "ready\n":
        served.close()
        shutil.rmtree(folder, ignore_errors=True)
        return Mps(f"{PROGRAM} did not start, so {TURNS}")
    return served


def runs_already(program: str) -> bool:
    """Whether CUDA would find a daemon as things are."""
    pipes = Path(os.environ.get(mps_guard.PIPES) or "/tmp/nvidia-mps")
    return (pipes / "control").exists() and mps_guard.answers(program, dict(os.environ))
