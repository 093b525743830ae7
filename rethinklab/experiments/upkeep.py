"""Looking after a store: find damage, move it aside, clear away what killed runs left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rethinklab.errors import StoreError
from rethinklab.experiments.store import Store, names_in, read_json, read_schema, reason
from rethinklab.experiments.trial import SCHEMA, digest
from rethinklab.experiments.verify import ADDRESS, fault_in_store, study_fault
from rethinklab.files import write_atomically

DAMAGE = ("store", "stage", "study")
LAST = "regime-"  # how addresses begin of stages that no other rests on


@dataclass(frozen=True)
class Finding:
    """One thing to know about a store.

    kind: "store", "stage" or "study" for damage to store.json, a stage or a study; "waiting" for
    a study without all its results; "leftover" for what a run left behind. text: in words.
    mendable: whether `repair` (damage) or `gc` (leftovers) puts it right.
    """

    kind: str
    path: Path
    text: str
    mendable: bool = True

    @property
    def is_damage(self) -> bool:
        return self.kind in DAMAGE

    def __str__(self) -> str:
        return f"{'damaged ' * self.is_damage}{self.kind}: {self.path}: {self.text}"


@dataclass
class Cleared:
    """What `gc` did. removed: paths. in_use: addresses that another process works on. freed: bytes.
    kept: why stages stayed that no study uses, empty where none did."""

    removed: list[Path] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    freed: int = 0
    kept: str = ""

    def remove(self, path: Path) -> None:
        """Delete a file or a folder and count its bytes; what is gone already is passed over."""
        size = size_of(path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            return
        self.removed.append(path)
        self.freed += size


@dataclass(frozen=True)
class Overview:
    """What a store holds. studies: {name: (results there, results in all)}. stages: how many are
    stored. bytes: of all files."""

    studies: dict[str, tuple[int, int]]
    stages: int
    bytes: int

    def __str__(self) -> str:
        wide = max(map(len, self.studies), default=0)
        lines = [f"{name:{wide}}  {done} of {count} results"
                 for name, (done, count) in self.studies.items()]
        return "\n".join([*lines, f"studies: {len(self.studies)}, stored stages: {self.stages}, "
                          f"{self.bytes / 1e6:,.1f} MB"])


def overview(store: Store) -> Overview:
    """What there is. Raises StoreError for a damaged study."""
    stored = set(store.addresses())
    studies = {name: (len(wanted & stored), len(wanted))
               for name, wanted in _wanted(store).items()}
    return Overview(studies, len(stored), size_of(store.root))


def check(store: Store | str | Path) -> list[Finding]:
    """All that is damaged, waited for or left over, by reading alone; empty for a store in order.

    Every file is hashed. Raises StoreError where there is no store, or one of a newer version.
    """
    root = find_root(store)
    found = [] if (text := _marker_fault(root)) is None else [
        Finding("store", root / "store.json", text)]
    found += [*_stage_findings(root), *_study_findings(root)]
    found += [Finding("leftover", path, text) for path, text in _leftovers(root)]
    return found


def repair(store: Store | str | Path) -> list[str]:
    """Move damaged stages and studies into STORE/quarantine and write a lost store.json anew; what
    was done, in words. Nothing is deleted, and the next run makes anew what is missing.

    A stage that another process works on is left alone. Raises StoreError where the store cannot
    be written.
    """
    root = find_root(store)
    try:
        return list(_repairs(root))
    except OSError as error:
        raise StoreError(f"the store {root} could not be repaired ({reason(error)}); make it "
                         "writable, with some space left, and repair it again.") from error


def _repairs(root: Path) -> Iterator[str]:
    found = [finding for finding in check(root) if finding.is_damage and finding.mendable]
    for finding in found:
        if finding.kind == "store":
            write_atomically(finding.path, json.dumps({"schema": _newest_schema(root)}))
            yield f"{finding.path} is written anew."
    place = Store(root)
    for finding in found:
        if finding.kind == "study":
            yield f"{finding.path} is now {place.set_aside(finding.path)}: {finding.text}."
        if finding.kind == "stage":
            yield _quarantine(place, finding)


def _quarantine(place: Store, finding: Finding) -> str:
    with place.hold(finding.path.name, wait=False) as held:
        if not held:
            return f"{finding.path} is left alone, because a run works on it."
        if not (place.root / "work" / finding.path.name).exists():
            place.drop_lock(finding.path.name)
        if not fault_in_store(finding.path.parent, finding.path.name):
            return f"{finding.path} is in order again."
        return f"{finding.path} is now {place.set_aside(finding.path)}: {finding.text}."


def gc(store: Store | str | Path, checkpoints: bool = False, unreferenced: bool = False) -> Cleared:
    """Remove what runs left behind that are over: drafts, temporary files, locks, and the work of
    stages that are stored. What another process works on stays.

    checkpoints: also those of unfinished stages, which then begin anew. unreferenced: also stored
    stages that no remembered study uses; not while a study is being started. Raises StoreError
    where something cannot be removed, or damage hides what is needed.
    """
    place = store if isinstance(store, Store) else Store(store, create=False)
    cleared = Cleared()
    try:
        with place.hold("studies", wait=False) as held:
            for path, _ in _left_of_nobody(place.root):
                if held or path.parent.name != "studies":
                    cleared.remove(path)
            if held:
                place.drop_lock("studies")
        for address in _worked_on(place.root):
            _clear_work(place, address, checkpoints, cleared)
        if unreferenced:
            unused, cleared.kept = _unreferenced(place)
            for address in unused:
                _clear_stage(place, address, cleared)
    except OSError as error:
        raise StoreError(f"not all leftovers in {place.root} could be removed ({reason(error)}); "
                         "make the store writable and try again.") from error
    return cleared


def _clear_work(place: Store, address: str, checkpoints: bool, cleared: Cleared) -> None:
    lock, work = _lock_of(place.root, address), place.root / "work" / address
    locked = lock.exists()
    with place.hold(address, wait=False) as held:
        if not held:
            cleared.in_use.append(address)
            return
        if checkpoints and work.exists():
            cleared.remove(work)
        for path, _ in list(_left_of(place.root, address)):
            if path != lock:
                cleared.remove(path)
        if locked and not work.exists():
            cleared.removed.append(lock)
        place.drop_lock(address)


def _clear_stage(place: Store, address: str, cleared: Cleared) -> None:
    with place.hold(address, wait=False) as held:
        if not held:
            cleared.in_use.append(address)
            return
        folder, work = place.root / "stages" / address, place.root / "work" / address
        size = size_of(folder)
        work.mkdir(exist_ok=True)
        os.rename(folder, work / "draft-removed")  # at once, so that nobody reads half of it
        cleared.removed.append(folder)
        cleared.freed += size
        shutil.rmtree(work)
        place.drop_lock(address)


def needed(store: Store, addresses: Iterable[str]) -> set[str]:
    """The stored stages among `addresses` and all stored ones that those rest on: those that a
    result names, and those whose specification a specification holds within it. Raises StoreError
    where one of them is damaged."""
    stored = store.addresses()
    by_digest: dict[str, list[str]] = {}
    for address in stored:
        by_digest.setdefault(address.rpartition("-")[2], []).append(address)
    found: set[str] = set()
    waiting = list(set(addresses).intersection(stored))
    while waiting:
        address = waiting.pop()
        if address in found:
            continue
        found.add(address)
        folder = store.root / "stages" / address
        try:
            spec, result = read_json(folder / "spec.json"), read_json(folder / "result.json")
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder} is damaged ({reason(error)}); `rethinklab store repair "
                             f"--store {store.root}` moves it aside.") from error
        waiting += set(result.get("needs", ())).intersection(stored)
        for inner in _dicts_within(spec):
            waiting += by_digest.get(digest({"schema": spec.get("schema"), **inner}), [])
    return found


def _dicts_within(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for value in content.values():
        if isinstance(value, dict):
            yield value
            yield from _dicts_within(value)


def _unreferenced(place: Store) -> tuple[list[str], str]:
    """Stored stages that no study uses, and why others stay that no study uses so far."""
    studies, stored = _wanted(place), place.addresses()
    unused = set(stored) - needed(place, set().union(*studies.values()))
    unfinished = sorted(name for name, wanted in studies.items() if not wanted <= set(stored))
    last = {address for address in unused if address.startswith(LAST)}
    if not unfinished or last == unused:
        return sorted(unused), ""
    return sorted(last), (f"{len(unused - last)} stages that others may rest on stay, though no "
                          f"study uses them, because {', '.join(unfinished)} may still need "
                          "them; finish it first.")


def _wanted(place: Store) -> dict[str, set[str]]:
    """The addresses of each study's results. Raises StoreError for a damaged study."""
    found = {}
    for name, content in place.studies().items():
        if text := study_fault(content):
            raise StoreError(f"the study {name} is damaged ({text}); `rethinklab store repair "
                             f"--store {place.root}` moves it aside.")
        found[name] = set(content["addresses"].values())
    return found


def find_root(store: Store | str | Path) -> Path:
    """The folder of a store, which may have lost its store.json. Raises StoreError where there is
    no store, or one of a newer version."""
    if isinstance(store, Store):
        return store.root
    root = Path(store).expanduser()
    if _marker_fault(root) is None or not (root / "stages").is_dir():
        return Store(root, create=False).root
    return root


def _marker_fault(root: Path) -> str | None:
    try:
        read_schema(root / "store.json")
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError) as error:
        return f"it cannot be read ({reason(error)})"
    return None


def _newest_schema(root: Path) -> int:
    """The newest version that a stage was written with, so that an older kit keeps off."""
    found = [SCHEMA]
    for name in names_in(root / "stages"):
        with suppress(OSError, ValueError):
            schema = read_json(root / "stages" / name / "spec.json").get("schema")
            found += [schema] if isinstance(schema, int) else []
    return max(found)


def _stage_findings(root: Path) -> Iterator[Finding]:
    known: dict[str, str | None] = {}
    for name in names_in(root / "stages"):
        folder = root / "stages" / name
        try:
            text = fault_in_store(root / "stages", name, known)
        except PermissionError as error:
            yield Finding("stage", folder, f"it cannot be read ({reason(error)}); ask its owner",
                          mendable=False)
            continue
        if text and os.path.lexists(folder):  # else it was moved away meanwhile
            yield Finding("stage", folder, text)


def _study_findings(root: Path) -> Iterator[Finding]:
    for path in sorted((root / "studies").glob("*.json")):
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            yield Finding("study", path, f"it cannot be read ({reason(error)})",
                          mendable=not isinstance(error, PermissionError))
            continue
        if text := study_fault(content):
            yield Finding("study", path, text)
            continue
        wanted = set(content["addresses"].values())
        lacking = [a for a in wanted if not (root / "stages" / a / "result.json").is_file()]
        if lacking:
            yield Finding("waiting", path, f"{len(lacking)} of {len(wanted)} results are not there "
                          "yet; running the study again goes on", mendable=False)


def _leftovers(root: Path) -> Iterator[tuple[Path, str]]:
    yield from _left_of_nobody(root)
    for address in _worked_on(root):
        yield from _left_of(root, address)


def _left_of_nobody(root: Path) -> Iterator[tuple[Path, str]]:
    """What belongs to no stage: it is in use for an instant, and whoever loses it writes it again.
    Drafts there are of versions that did not yet keep them with their stage."""
    for folder, pattern in ((root, "store.json-*.tmp"), (root / "studies", "*.tmp"),
                            (root / "work", "*.tmp"), (root / "work", "probe-*"),
                            (root / "work", "draft-*")):
        for path in sorted(folder.glob(pattern)):
            yield path, "of a run that was killed"


def _worked_on(root: Path) -> list[str]:
    """The addresses that have a lock or a folder in work/."""
    names = {name.removesuffix(".lock") for name in names_in(root / "work")}
    return sorted(name for name in names if ADDRESS.fullmatch(name))


def _left_of(root: Path, address: str) -> Iterator[tuple[Path, str]]:
    """What a stage left in work/ and needs no more, unless a process is at work on it."""
    stored = (root / "stages" / address / "result.json").is_file()
    work, lock = root / "work" / address, _lock_of(root, address)
    names = names_in(work)
    if work.exists() and (stored or not names):
        yield work, "work of a stage that is stored" if stored else "it is empty"
    else:
        for name in names:
            if name.startswith("draft-") or name.endswith(".tmp"):
                yield work / name, "of a run that was killed, or goes on now"
    if lock.exists() and (stored or not work.exists()):
        yield lock, "a lock without work"


def _lock_of(root: Path, address: str) -> Path:
    return root / "work" / f"{address}.lock"


def size_of(path: Path) -> int:
    """The bytes of a file or of all files below a folder."""
    total = 0
    for found in (path, *path.rglob("*")):
        with suppress(OSError):
            total += found.lstat().st_size if not found.is_dir() else 0
    return total
