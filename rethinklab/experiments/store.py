"""The store: one directory a stage, written once, whole or not at all.

    STORE/store.json            the layout's version
    STORE/studies/NAME.json     what was asked
    STORE/stages/ADDRESS/       spec.json, result.json and the stage's own files
    STORE/work/ADDRESS/         checkpoint and progress of a stage under way
    STORE/work/ADDRESS.lock     held by the process that works on it

A stage is prepared in a draft directory and renamed into place, so that many writers, a killed
process or a full disk lose nothing finished and leave nothing half-written where readers look.
Tables are always derived by scanning; there is no index that could disagree.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from rethinklab.errors import StoreError
from rethinklab.experiments.trial import SCHEMA, Stage

PARTS = ("stages", "work", "studies")
OWN = ("store.json", *PARTS)  # what a store that another process is just making may hold


class Store:
    """The results under `root`, made on first use. Raises StoreError where that cannot be."""

    def __init__(self, root: str | Path, create: bool = True) -> None:
        try:
            self._open(Path(root).expanduser(), create)
        except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreError(f"the store {root} cannot be used ({reason}); choose another place "
                             "with --store.") from error

    def _open(self, root: Path, create: bool) -> None:
        self.root = root
        marker = self.root / "store.json"
        if not create and not marker.is_file():
            raise StoreError(f"there is no results store at {self.root}; "
                             "run a study first, or name another with --store.")
        if self.root.is_dir() and any(not p.name.startswith(OWN) for p in self.root.iterdir()
                                      ) and not marker.is_file():
            raise StoreError(f"{self.root} is a folder with other things in it, not a results "
                             "store; name a new or empty one.")
        if marker.is_file():
            self._check_schema(marker)
        if create:
            self._prepare(marker)

    def _check_schema(self, marker: Path) -> None:
        try:
            found = int(json.loads(marker.read_text())["schema"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{marker} cannot be read ({error}); restore it with "
                             f'{{"schema": {SCHEMA}}}, or use another store.') from error
        if found > SCHEMA:
            raise StoreError(f"the store {self.root} was written by a newer rethinklab (schema "
                             f"{found}, this version knows {SCHEMA}); update, or use another.")

    def _prepare(self, marker: Path) -> None:
        try:
            for part in PARTS:
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = self.root / "work" / f"probe-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
            if not marker.is_file():
                write_atomically(marker, json.dumps({"schema": SCHEMA}))
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be written ({error.strerror}); choose "
                             "a writable place with --store.") from error

    def folder(self, stage: Stage) -> Path:
        """Where the stage's files are once it is done."""
        return self.root / "stages" / stage.address

    def has(self, stage: Stage) -> bool:
        return (self.folder(stage) / "result.json").is_file()

    def result(self, stage: Stage) -> dict[str, Any]:
        """The stored result. Raises StoreError where it is missing or damaged."""
        return self._read_result(self.folder(stage))

    def read_address(self, address: str) -> dict[str, Any] | None:
        """The result at an address, None where there is none yet."""
        folder = self.root / "stages" / address
        return self._read_result(folder) if (folder / "result.json").is_file() else None

    def _read_result(self, folder: Path) -> dict[str, Any]:
        try:
            result = json.loads((folder / "result.json").read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder} is damaged ({error}); delete that folder and run the "
                             "study again to make it anew.") from error
        return dict(result)

    def scan(self) -> Iterator[dict[str, Any]]:
        """All stored results, by address."""
        for folder in sorted((self.root / "stages").iterdir()):
            if (folder / "result.json").is_file():
                yield self._read_result(folder)

    def work(self, stage: Stage) -> Path:
        """Where a stage under way keeps its checkpoint and progress."""
        return self.root / "work" / stage.address

    @contextmanager
    def claim(self, stage: Stage) -> Iterator[bool]:
        """Hold the stage; yields whether it is still to do.

        Waits while another process holds it. The operating system frees the lock of a killed
        process, so there is nothing to clean up and no clock to trust.
        """
        lock = self.root / "work" / f"{stage.address}.lock"
        with FileLock(lock):
            yield not self.has(stage)
            if self.has(stage):
                shutil.rmtree(self.work(stage), ignore_errors=True)
        if self.has(stage):  # whoever still waits for the lock will find the result
            with suppress(OSError):
                lock.unlink()

    def write(self, stage: Stage, result: dict[str, Any],
              fill: Callable[[Path], None] = lambda folder: None) -> None:
        """Store a finished stage: `fill` writes its files into a folder, then all appears at
        once. Where another process was first, its equal result stays."""
        draft = self.root / "work" / f"draft-{uuid.uuid4().hex}"
        try:
            draft.mkdir(parents=True)
            fill(draft)
            (draft / "spec.json").write_text(json.dumps(
                {"schema": SCHEMA, "kind": stage.kind, "source": stage.source, **stage.spec},
                indent=1))
            (draft / "result.json").write_text(json.dumps(result, indent=1))
            try:
                os.rename(draft, self.folder(stage))
            except OSError:
                if not self.has(stage):
                    raise
        except OSError as error:
            raise StoreError(f"{stage.label} could not be stored in {self.root} "
                             f"({error.strerror or error}); what was finished before is safe. Free "
                             "some space or choose another --store, and run again.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def save_study(self, name: str, content: dict[str, Any]) -> None:
        """Remember what was asked, so that its results can be found by name."""
        write_atomically(self.root / "studies" / f"{name}.json", json.dumps(content, indent=1))

    def studies(self) -> dict[str, dict[str, Any]]:
        """All remembered studies, by name."""
        found = {}
        for path in sorted((self.root / "studies").glob("*.json")):
            try:
                found[path.stem] = json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise StoreError(f"{path} is damaged ({error}); delete it.") from error
        return found


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old content or the new, never a part."""
    draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}.tmp")
    try:
        draft.write_text(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
