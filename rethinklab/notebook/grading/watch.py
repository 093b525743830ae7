"""Files that no submission may change: their content is kept, and put back where it changed."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

LARGEST = 50 * 2**20  # of larger files only size and time are compared
PASSING = ("__pycache__", ".ipynb_checkpoints", ".git")


class Watched:
    """Files as they were when this was made. folders: folders and files. aside: where a version
    is moved that is put right, so that nothing is lost which somebody else wrote meanwhile."""

    def __init__(self, folders: Iterable[Path], aside: Path) -> None:
        self._folders = tuple(folders)
        self._aside = aside
        self._lock = threading.Lock()
        self._kept = {path: _content(path) for path in self._files()}
        self._inside = {folder for path in self._kept for folder in path.parents
                        if any(folder.is_relative_to(place) for place in self._folders)}
        self._new: set[Path] = set()

    def restore(self) -> list[str]:
        """Put back what changed or is gone; what was done, in words. A new file is left where it
        is, and named once."""
        with self._lock:
            remarks = []
            there = set(self._files())
            for path, kept in self._kept.items():
                now = _content(path) if path in there else None
                if now == kept:
                    continue
                if not isinstance(kept, bytes):
                    remarks.append(f"{path} changed and is too large to be put back")
                    continue
                self._put_back(path, kept)
                remarks.append(f"{path} was {'changed' if now is not None else 'deleted'} "
                               "meanwhile and is put back")
            for path in sorted(there - set(self._kept) - self._new):
                self._new.add(path)
                remarks.append(f"{path} is new since the grading began")
            return remarks

    def _put_back(self, path: Path, content: bytes) -> None:
        if os.path.lexists(path):
            self._aside.mkdir(parents=True, exist_ok=True)
            number = len(list(self._aside.iterdir()))
            shutil.move(path, self._aside / f"{number:03d}-{path.name}")
        for folder in reversed(path.parents):  # a file or a link in the place of a folder
            if folder in self._inside and (folder.is_symlink() or folder.is_file()):
                folder.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(content)
        os.replace(draft, path)

    def _files(self) -> Iterator[Path]:
        for place in self._folders:
            if place.is_file() and not place.is_symlink():
                yield place
            for folder, names, files in os.walk(place):
                names[:] = sorted(name for name in names if name not in PASSING)
                yield from (Path(folder, name) for name in sorted(files))


def _content(path: Path) -> bytes | tuple[int, ...] | None:
    """A file's bytes; something else that tells a change where it is no file, or a large one."""
    with suppress(OSError):
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ino)
        return path.read_bytes()
    return None
