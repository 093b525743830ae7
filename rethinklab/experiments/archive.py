"""Studies and their stages as one file, to take to another machine or to hand to a reader."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import tarfile
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rethinklab.errors import ConfigError, StoreError
from rethinklab.experiments.store import Store, file_names, parse_json, read_json, reason
from rethinklab.experiments.trial import SCHEMA
from rethinklab.experiments.upkeep import LAST, needed
from rethinklab.experiments.verify import ADDRESS, fault_in_store, stage_fault, study_fault

CONTENTS = "contents.json"  # first in an archive: what must be in it
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LARGEST_TEXT = 1 << 26  # bytes of a table of contents or of a study
COMPRESSION = 1  # weights hardly compress, and more would only take longer
UNREADABLE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)


@dataclass
class Imported:
    """What `import_` did with each stage and study: took it, skipped it with a reason, or refused
    it with a reason."""

    took: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def export(store: Store | str | Path, file: str | Path, studies: Sequence[str] | None = None
           ) -> list[str]:
    """Write studies, by default all, and every stored stage that they rest on to a .tar.gz or .tar
    file; the names of the studies.

    studies: names, or how they begin. The same stages give the same bytes, wherever and whenever.
    Raises ConfigError for a study or a file name that cannot be used, StoreError where a stage is
    damaged or the file cannot be written.
    """
    place = store if isinstance(store, Store) else Store(store, create=False)
    path = Path(file).expanduser()
    if not path.name.endswith((".tar.gz", ".tgz", ".tar")):
        raise ConfigError(f"the archive {path} must be called something.tar.gz or something.tar.")
    names = sorted(place.studies() if studies is None else set(map(place.find_study, studies)))
    if not names:
        raise ConfigError(f"no study is stored in {place.root} to export.")
    addresses = _addresses(place, names)
    draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("wb") as raw, _compressed(raw, path) as stream, tarfile.open(
                fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, CONTENTS, json.dumps(
                {"schema": SCHEMA, "stages": addresses, "studies": names}, indent=1).encode())
            for address in addresses:
                for name in _stage_files(place.root / "stages" / address):
                    _add(archive, f"stages/{address}/{name}",
                         place.root / "stages" / address / name)
            for name in names:
                _add(archive, f"studies/{name}.json", place.root / "studies" / f"{name}.json")
        os.replace(draft, path)
    except OSError as error:
        raise StoreError(f"the archive {path} could not be written ({reason(error)}); choose "
                         "another place, with space, and export again.") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return names


def _addresses(place: Store, names: Sequence[str]) -> list[str]:
    """The stages of studies, all of them in order."""
    wanted: set[str] = set()
    for name in names:
        path = place.root / "studies" / f"{name}.json"
        content = read_json(path)
        if fault := study_fault(content):
            raise _damaged(place, path, fault)
        wanted |= set(content["addresses"].values())
    addresses = sorted(needed(place, wanted))
    for address in addresses:
        folder = place.root / "stages" / address
        if fault := fault_in_store(place.root / "stages", address):
            raise _damaged(place, folder, fault)
    return addresses


def _damaged(place: Store, path: Path, fault: str) -> StoreError:
    return StoreError(f"{path} is damaged ({fault}); `rethinklab store repair --store "
                      f"{place.root}` moves it aside, and the next run makes it anew.")


def _stage_files(folder: Path) -> list[str]:
    """The files of a stage: those of its manifest, or all where it has none."""
    files = read_json(folder / "result.json").get("files")
    return file_names(folder) if files is None else sorted({*files, "result.json"})


@contextmanager
def _compressed(raw: BinaryIO, path: Path) -> Iterator[Any]:
    if path.suffix == ".tar":
        yield raw
        return
    with gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as stream:
        yield stream


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    """A member without owner or date, so that equal stores give equal archives."""
    entry = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, file)


def import_(store: Store | str | Path, file: str | Path) -> Imported:
    """Take the stages and studies of an archive that are not in the store yet.

    Each stage is checked against its address and manifest before it is renamed into place. What
    would leave its folder is refused: absolute paths, "..", links, devices. Raises StoreError for
    an archive that is cut short or none of the kit's, before anything is taken, and where the
    store cannot be written.
    """
    path = Path(file).expanduser()
    report = Imported()
    try:
        with _opened(path) as archive:
            stages, studies = _survey(archive, path, report)
            place = store if isinstance(store, Store) else Store(store)
            for address, files in sorted(stages.items(), key=lambda one: (
                    one[0].startswith(LAST), one[0])):  # last those that may share a training
                _take_stage(place, archive, address, files, report)
            for name, text in sorted(studies.items()):
                _take_study(place, name, text, report)
    except UNREADABLE as error:
        raise StoreError(f"the archive {path} cannot be used ({reason(error)}): it is missing, cut "
                         "short or not one that `rethinklab store export` wrote; export or copy it "
                         "again.") from error
    return report


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with tarfile.open(fileobj=raw, mode="r:gz" if packed else "r:") as archive:
            yield archive


def _survey(archive: tarfile.TarFile, path: Path, report: Imported) -> tuple[
        dict[str, dict[str, tarfile.TarInfo]], dict[str, bytes]]:
    """Read the archive to its end: {address: {file: member}} and {study: text}."""
    first, *members = archive.getmembers() or [tarfile.TarInfo()]
    if first.name != CONTENTS:
        raise ValueError(f"it does not begin with {CONTENTS}")
    listed = _listed(parse_json(_text(archive, first)), path)
    stages: dict[str, dict[str, tarfile.TarInfo]] = {}
    studies: dict[str, bytes] = {}
    for member in members:
        if fault := _member_fault(member):
            report.refused.append(f"{member.name}: {fault}")
            continue
        top, *rest = member.name.split("/")
        if top == "studies":
            studies.setdefault(rest[0].removesuffix(".json"), _text(archive, member))
        elif rest[1] in stages.setdefault(rest[0], {}):
            report.refused.append(f"{member.name}: it is there twice")
        else:
            stages[rest[0]][rest[1]] = member
    lacking = listed - {*stages, *studies}
    if lacking and not report.refused:
        raise ValueError(f"{len(lacking)} of its stages and studies are not in it")
    return stages, studies


def _listed(contents: dict[str, Any], path: Path) -> set[str]:
    """The addresses and names that a table of contents promises."""
    schema, *lists = (contents.get(part) for part in ("schema", "stages", "studies"))
    if not isinstance(schema, int) or not all(
            isinstance(names, list) and all(isinstance(name, str) for name in names)
            for names in lists):
        raise ValueError(f"its {CONTENTS} is of another form")
    if schema > SCHEMA:
        raise StoreError(f"the archive {path} was written by a newer rethinklab (schema {schema}, "
                         f"this version knows {SCHEMA}); update.")
    return {name for names in lists for name in names or ()}


def _member_fault(member: tarfile.TarInfo) -> str | None:
    """Why a member is not taken: anything but plain files where an export has them."""
    if not member.isreg() or member.issparse():
        return "it is not a plain file"
    top, *rest = member.name.split("/")
    if top == "stages" and len(rest) == 2 and ADDRESS.fullmatch(rest[0]) and (
            NAME.fullmatch(rest[1])):
        return None
    if top == "studies" and len(rest) == 1 and NAME.fullmatch(rest[0]) and (
            rest[0].endswith(".json")):
        return None if member.size <= LARGEST_TEXT else "it is too large for a study"
    return "it would lie where no file of a stage or study belongs"


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > LARGEST_TEXT:
        raise ValueError(f"{member.name} is too large")
    file = archive.extractfile(member)
    assert file is not None  # of a plain file
    return file.read()


def _take_stage(place: Store, archive: tarfile.TarFile, address: str,
                files: dict[str, tarfile.TarInfo], report: Imported) -> None:
    work = place.root / "work" / address
    draft = work / f"draft-{uuid.uuid4().hex}"
    with place.hold(address, wait=False) as held:
        if not held:
            report.skipped.append(f"{address}: a run works on it")
            return
        try:
            if (place.root / "stages" / address / "result.json").is_file():
                report.skipped.append(f"{address}: it is there already")
                return
            draft.mkdir(parents=True)
            for name, member in files.items():
                _unpack(archive, member, draft / name)
            if fault := (stage_fault(draft, address) or _unnamed_file(draft)
                         or _without_training(place, draft, address)):
                report.refused.append(f"{address}: {fault}")
                return
            place.place(draft, address)
            shutil.rmtree(work)  # a checkpoint of it has no use any more
            report.took.append(address)
        except OSError as error:
            raise StoreError(f"{address} could not be stored in {place.root} ({reason(error)}); "
                             "what was taken before is safe. Free some space, and import again."
                             ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(OSError):
                work.rmdir()  # unless a checkpoint is there
            place.drop_lock(address)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None  # of a plain file
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def _unnamed_file(folder: Path) -> str | None:
    more = set(file_names(folder)) - set(_stage_files(folder))
    return f"its manifest does not name {min(more)}" if more else None


def _without_training(place: Store, folder: Path, address: str) -> str | None:
    training = read_json(folder / "result.json").get("trained_at", address)
    there = training == address or (place.root / "stages" / training / "result.json").is_file()
    return None if there else f"the training that it shares, {training}, is not there"


def _take_study(place: Store, name: str, text: bytes, report: Imported) -> None:
    path = place.root / "studies" / f"{name}.json"
    try:
        fault = study_fault(parse_json(text))
    except ValueError as error:
        fault = str(error)
    if fault:
        report.refused.append(f"{name}: {fault}")
    elif path.exists():
        same = path.read_bytes() == text
        report.skipped.append(f"{name}: " + ("it is there already" if same else
                                             "another study of that name is there"))
    else:
        place.save_study(name, json.loads(text))
        report.took.append(name)
