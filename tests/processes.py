"""Other processes, as tests start them and look at them."""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from pathlib import Path

WARM = get_context("forkserver")
WARM.set_forkserver_preload(["torch._dynamo", "pandas", "rethinklab.experiments.runner"])


def start(code, *arguments):
    """A process that runs `code` in this folder and environment, in a session of its own. It is
    forked from a server that has torch in memory, so that it begins at once: only the first one
    waits for imports."""
    process = WARM.Process(target=_run, args=(code, arguments, os.getcwd(), dict(os.environ)))
    process.start()
    return process


def _run(code, arguments, folder, environment):
    import sys

    import torch

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<a process of a test>", "exec"), {"__name__": "__main__"})


def lives(pid):
    """Whether a process runs and is not only waited for by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_until(fact, seconds=60):
    """Ends when `fact()` is true, and fails where that takes too long."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
