"""Which commit of the code is at work."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import rethinklab

SECONDS = 10


@lru_cache
def code_commit() -> str | None:
    """The commit of the repository that the package lies in, with "+" behind it where the package
    has been changed since; None for an installed package, or without git."""
    package = Path(rethinklab.__file__).resolve().parent

    def ask(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True,
                              check=True, timeout=SECONDS).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")) != package.parent:
            return None  # a repository of something else, in which an environment lies
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", ".")
        return ask("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
