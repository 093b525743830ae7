"""A process that keeps an NVIDIA MPS daemon for a run and ends it with the run, however that ends.

Called by `mps.serve` as a script, with the daemon's program and a folder for its pipes and logs;
needs nothing but Python. Says "ready" on standard output when the daemon answers. The daemon is
told to quit when standard input ends, which the system sees to even where the run was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
ANSWER_SECONDS, QUIT_SECONDS = 5.0, 5.0


def places(folder: str | Path) -> dict[str, str]:
    """The variables by which the daemon, its program and CUDA find a folder."""
    return {PIPES: str(Path(folder) / "pipe"), LOGS: str(Path(folder) / "log")}


def answers(program: str, environment: dict[str, str], command: str = "get_server_list",
            seconds: float = ANSWER_SECONDS) -> bool:
    """Whether a daemon is there and takes a command."""
    try:
        done = subprocess.run([program], input=command + "\n", text=True, env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def keep(program: str, folder: Path) -> int:
    """Start the daemon, wait until standard input ends or the daemon does, and clear up."""
    variables = places(folder)
    for place in variables.values():
        Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {**os.environ, **variables}
    daemon = subprocess.Popen([program, "-f"], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    over = threading.Event()

    def announce(wait: Callable[[], object]) -> None:
        wait()
        over.set()

    for wait in (sys.stdin.read, daemon.wait):
        threading.Thread(target=announce, args=(wait,), daemon=True).start()
    try:
        while not over.is_set() and not answers(program, environment):
            time.sleep(0.05)
        if not over.is_set():
            print("ready", flush=True)
            over.wait()
    finally:
        end(daemon, program, environment)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def end(daemon: subprocess.Popen[bytes], program: str, environment: dict[str, str]) -> None:
    """Have the daemon quit, its servers with it; kill what does not."""
    if daemon.poll() is None:
        answers(program, environment, f"quit -t {QUIT_SECONDS:g}", 2 * QUIT_SECONDS)
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(QUIT_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(daemon.pid, signal.SIGKILL)  # its servers are of its session


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(keep(sys.argv[1], Path(sys.argv[2])))
