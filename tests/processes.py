"""Other processes, as tests look at them."""

from __future__ import annotations

import time
from pathlib import Path


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
