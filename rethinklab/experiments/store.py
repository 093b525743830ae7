"""The store: one directory a stage, written once, whole or not at all.

    STORE/store.json            the layout's version
    STORE/studies/NAME.json     what was asked
    STORE/stages/ADDRESS/       spec.json, result.json and the stage's own files
    STORE/work/ADDRESS/         checkpoint, progress, attempts and drafts of a stage under way
    STORE/work/ADDRESS.lock     held by the process that works on it
    STORE/quarantine/           what was found damaged, moved aside

A stage is prepared in a draft directory and renamed into place, so that many writers, a killed
process or a full disk lose nothing finished and leave nothing half-written where readers look.
Tables are always derived by scanning; there is no index that could disagree. Nothing here looks at
a clock: the operating system's locks alone say who is at work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from rethinklab.errors import ConfigError, StageHeld, StoreError, unknown_name
from rethinklab.experiments.trial import SCHEMA, Stage
from rethinklab.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("stages", "work", "studies")
OWN = ("store.json", "quarantine", *PARTS)  # what a store may hold that is just being made
CHUNK = 1 << 20


class Store:
    """The results under `root`, made on first use. Raises StoreError where that cannot be."""

    def __init__(self, root: str | Path, create: bool = True) -> None:
        try:
            self._open(Path(root).expanduser(), create)
        except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
            raise StoreError(f"the store {root} cannot be used ({reason(error)}); choose another "
                             "place with --store.") from error

    def _open(self, root: Path, create: bool) -> None:
        self.root = root
        marker = self.root / "store.json"
        filled = bool(names_in(self.root / "stages"))  # before the marker, which is written first
        if filled and not marker.is_file():
            raise StoreError(f"{marker} is lost; `rethinklab store repair --store {self.root}` "
                             "writes it anew.")
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
            found = read_schema(marker)
        except (OSError, ValueError) as error:
            raise StoreError(f"{marker} cannot be read ({reason(error)}); `rethinklab store repair "
                             f"--store {self.root}` writes it anew.") from error
        if found > SCHEMA:
            raise StoreError(f"the store {self.root} was written by a newer rethinklab (schema "
                             f"{found}, this version knows {SCHEMA}); update, or use another.")

    def _prepare(self, marker: Path) -> None:
        try:
            for part in PARTS:
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = self.root / "work" / f"probe-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink(missing_ok=True)  # a clean-up elsewhere may have been faster
            if not marker.is_file() or read_schema(marker) < SCHEMA:
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
            return read_json(folder / "result.json")
        except (OSError, ValueError) as error:
            raise self._damaged(folder, error) from error

    def _damaged(self, path: object, error: Exception) -> StoreError:
        return StoreError(f"{path} is damaged ({reason(error)}); `rethinklab store repair --store "
                          f"{self.root}` moves it aside, and the next run makes it anew.")

    def scan(self) -> Iterator[dict[str, Any]]:
        """All stored results, by address; what vanishes meanwhile is passed over. Raises
        StoreError for a damaged one."""
        stages = os.path.join(self.root, "stages")
        for address in names_in(stages):  # strings, not Paths: a table of thousands has to be quick
            path = os.path.join(stages, address, "result.json")
            try:
                result = read_json(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                raise self._damaged(os.path.dirname(path), error) from error
            yield result

    def frame(self) -> pd.DataFrame:
        """All stored results as a table, a row a stage, by address. Nested values (what a stage
        needs, its ledger, its files) are left out; `scan` has them."""
        import pandas as pd

        return pd.DataFrame([{name: value for name, value in result.items()
                              if not isinstance(value, (dict, list))} for result in self.scan()])

    def addresses(self) -> list[str]:
        """Where there is a result, sorted."""
        stages = os.path.join(self.root, "stages")
        return [address for address in names_in(stages)
                if os.path.isfile(os.path.join(stages, address, "result.json"))]

    def trained(self, address: str) -> Path:
        """The folder with the weights, history and right answers of a result, which may be those
        of a training that it shares. Raises StoreError where the result is damaged."""
        result = self.read_address(address) or {}
        return self.root / "stages" / str(result.get("trained_at", address))

    def work(self, stage: Stage) -> Path:
        """Where a stage under way keeps its checkpoint and progress."""
        return self.root / "work" / stage.address

    @contextmanager
    def hold(self, address: str, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of an address; yields whether it is held, which it always is after a wait.

        The operating system frees the lock of a killed process. Raises StoreError where there can
        be no lock.
        """
        lock = FileLock(self.root / "work" / f"{address}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
            held = True
        except Timeout:
            held = False
        except (OSError, NotImplementedError) as error:
            raise StoreError(f"{address} cannot be locked in {self.root} ({reason(error)}); choose "
                             "a writable place whose file system has locks, with --store."
                             ) from error
        try:
            yield held
        finally:
            if held:
                lock.release()

    def is_held(self, address: str) -> bool:
        """Whether a process works on an address; False where that cannot be told, in a store that
        this user may only read."""
        if not (self.root / "work" / f"{address}.lock").is_file():
            return False
        try:
            with self.hold(address, wait=False) as free:
                if free and not (self.root / "work" / address).exists():
                    self.drop_lock(address)  # its holder has just finished
                return not free
        except StoreError:
            return False

    def drop_lock(self, address: str) -> None:
        """Remove the lock's file, for its holder: whoever waits for it takes a new one."""
        with suppress(OSError):
            (self.root / "work" / f"{address}.lock").unlink()

    @contextmanager
    def claim(self, stage: Stage, wait: bool = True) -> Iterator[bool | None]:
        """Hold the stage; yields whether it is still to do, which counts as an attempt (but for
        one that ends with StageHeld).

        While another process holds it, waits, or yields None where `wait` is false. The operating
        system frees the lock of a killed process, so there is nothing to clean up and no clock to
        trust.
        """
        with self.hold(stage.address, wait) as held:
            if not held:
                yield None
                return
            to_do = not self.has(stage)
            if to_do:
                self._count_attempt(stage, 1)
            try:
                yield to_do
            except StageHeld:
                self._count_attempt(stage, -1)
                raise
            if self.has(stage):
                shutil.rmtree(self.work(stage), ignore_errors=True)
                self.drop_lock(stage.address)

    def attempts(self, stage: Stage) -> int:
        """How often work on an unfinished stage began; 0 where that is not known."""
        try:
            return max(0, int((self.work(stage) / "attempts").read_text()))
        except (OSError, ValueError):
            return 0

    def _count_attempt(self, stage: Stage, more: int) -> None:
        with suppress(OSError):  # a count is not worth a run
            self.work(stage).mkdir(parents=True, exist_ok=True)
            write_atomically(self.work(stage) / "attempts", str(self.attempts(stage) + more))

    def write(self, stage: Stage, result: dict[str, Any],
              fill: Callable[[Path], None] = lambda folder: None) -> None:
        """Store a stage that is held: `fill` writes its files into a folder, then all appears at
        once. Where another process was first, its equal result stays.

        The result is stored with "attempts", how often work on it began, and "files": {name:
        [bytes, SHA-256]}.
        """
        draft = self.work(stage) / f"draft-{uuid.uuid4().hex}"
        try:
            draft.mkdir(parents=True)
            fill(draft)
            (draft / "spec.json").write_text(json.dumps(
                {"schema": SCHEMA, "kind": stage.kind, "source": stage.source, **stage.spec},
                indent=1))
            content = {**result, "attempts": self.attempts(stage), "files": manifest(draft)}
            (draft / "result.json").write_text(json.dumps(content, indent=1))
            self.place(draft, stage.address)
        except OSError as error:
            if not self.has(stage):
                raise StoreError(f"{stage.label} could not be stored in {self.root} "
                                 f"({reason(error)}); what was finished before is safe. Free some "
                                 "space or choose another --store, and run again.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(OSError):
                self.work(stage).rmdir()  # unless something else is there

    def place(self, draft: Path, address: str) -> None:
        """Rename a complete draft into place. Raises OSError where there is a result already."""
        folder = self.root / "stages" / address
        if os.path.lexists(folder) and not (folder / "result.json").is_file():
            self.set_aside(folder)  # a ruin must not cost the work that is just done
        os.rename(draft, folder)

    def set_aside(self, path: Path) -> Path:
        """Move something damaged into the quarantine; where it is now."""
        place = self.root / "quarantine" / f"{path.name}-{uuid.uuid4().hex[:8]}"
        place.parent.mkdir(exist_ok=True)
        os.rename(path, place)
        return place

    def save_study(self, name: str, content: dict[str, Any]) -> None:
        """Remember what was asked, so that its results can be found by name."""
        path = self.root / "studies" / f"{name}.json"
        try:
            with self.hold("studies"):  # or a clean-up could take the draft for a leftover
                write_atomically(path, json.dumps(content, indent=1))
                self.drop_lock("studies")
        except OSError as error:
            raise StoreError(f"the study {name} could not be stored in {self.root} "
                             f"({reason(error)}); free some space or choose another --store, and "
                             "run again.") from error

    def studies(self) -> dict[str, dict[str, Any]]:
        """All remembered studies, by name."""
        found = {}
        for path in sorted((self.root / "studies").glob("*.json"), key=lambda path: path.stem):
            try:
                found[path.stem] = read_json(path)
            except (OSError, ValueError) as error:
                raise self._damaged(path, error) from error
        return found

    def find_study(self, name: str) -> str:
        """The remembered study whose name is or begins with `name`. Raises ConfigError where none
        or several match."""
        names = self.studies()
        matches = [name] if name in names else [n for n in names if n.startswith(name)]
        if len(matches) > 1:
            raise ConfigError(f"several studies begin with {name!r}: {', '.join(matches)}. Write "
                              "more of the name.")
        if not matches:
            raise unknown_name("study", name, names)
        return matches[0]


def names_in(folder: str | Path) -> list[str]:
    """What is in a folder, sorted; nothing where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError, or ValueError where it is something else."""
    with open(path, "rb") as file:
        return parse_json(file.read())


def parse_json(text: bytes) -> dict[str, Any]:
    """The JSON object that a text is. Raises ValueError where it is something else."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return content


def read_schema(marker: Path) -> int:
    """The version in a store.json. Raises OSError, or ValueError where it has none."""
    schema = read_json(marker).get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise ValueError("it has no schema number")
    return schema


def manifest(folder: Path) -> dict[str, list[Any]]:
    """{name: [bytes, SHA-256]} of a stage's files, but for its result."""
    return {name: [(folder / name).stat().st_size, sha256(folder / name)]
            for name in file_names(folder) if name != "result.json"}


def file_names(folder: Path) -> list[str]:
    """The files below a folder, as sorted paths with slashes."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file())


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """What the operating system or a parser says is wrong, in a few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
