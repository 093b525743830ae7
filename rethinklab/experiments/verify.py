"""What is wrong with a stage or a study in a store, found by reading it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rethinklab.experiments.store import file_names, read_json, reason, sha256
from rethinklab.experiments.trial import digest

ADDRESS = re.compile(r"[a-z]+-[0-9a-f]{16}")


def stage_fault(folder: Path, address: str | None = None) -> str | None:
    """The first thing that is wrong with a stored stage, in words; None where all is well.

    address: where it belongs, by default the folder's name. Its specification must hash to that,
    and its files must be those of its manifest, by size and SHA-256. A result from before there
    were manifests has its files read instead. Raises PermissionError where that cannot be told.
    """
    try:
        return next(_stage_faults(folder, address or folder.name), None)
    except PermissionError:
        raise
    except OSError as error:  # of a failing disk
        return f"it cannot be read ({reason(error)})"


def fault_in_store(stages: Path, address: str, known: dict[str, str | None] | None = None
                   ) -> str | None:
    """What is wrong with a stage in the folder of all stages, or with the training that it shares.
    known: what was found of some by themselves, and is added to. Raises PermissionError."""
    known = {} if known is None else known
    if address not in known:
        known[address] = stage_fault(stages / address)
    if known[address]:
        return known[address]
    training = read_json(stages / address / "result.json").get("trained_at", address)
    if training == address:
        return None
    fault = fault_in_store(stages, training, known)
    return fault and f"the training that it shares, {training}, is damaged or missing ({fault})"


def _stage_faults(folder: Path, address: str) -> Iterator[str]:
    if not folder.is_dir():
        yield "it is not a folder"
        return
    parts = {}
    for name in ("result.json", "spec.json"):
        try:
            parts[name] = read_json(folder / name)
        except (FileNotFoundError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            yield f"{name} is missing" if missing else f"{name} cannot be read ({error})"
            return
    result, spec = parts["result.json"], parts["spec.json"]
    for name, found in (("result.json", result.get("address", address)),
                        ("spec.json", described_address(spec))):
        if found != address:
            yield f"{name} is of another stage ({found})"
    needs = result.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        yield "result.json does not say what it needs"
    if not ADDRESS.fullmatch(str(result.get("trained_at", address))):
        yield "result.json does not say where its training is"
    if "files" in result:
        yield from _unlike(folder, result["files"])
    else:
        yield from _unreadable(folder)


def described_address(spec: dict[str, Any]) -> str:
    """The address that a stored specification hashes to."""
    described = {name: value for name, value in spec.items() if name not in ("kind", "source")}
    try:
        return f"{spec.get('kind')}-{digest(described)}"
    except (ValueError, RecursionError):  # a number that is not finite; nested too deep
        return "none"


def _unlike(folder: Path, files: Any) -> Iterator[str]:
    """How the files differ from their manifest."""
    if not is_manifest(files):
        yield "result.json has a manifest of another form"
        return
    there = set(file_names(folder))
    for name, (size, digits) in files.items():
        if name not in there:
            yield f"{name} is missing"
        elif (found := (folder / name).stat().st_size) != size:
            yield f"{name} has {found:,} bytes and was written with {size:,}"
        elif sha256(folder / name) != digits:
            yield f"{name} is not what was written (its SHA-256 differs)"


def is_manifest(files: Any) -> bool:
    """Whether it has the form {name: [bytes, SHA-256]}."""
    return isinstance(files, dict) and all(
        isinstance(entry, list) and [type(part) for part in entry] == [int, str]
        for entry in files.values())


def _unreadable(folder: Path) -> Iterator[str]:
    """Which files cannot be read as what their names say they are."""
    readers = {".safetensors": _read_tensors, ".json": read_json, ".csv": _read_table}
    for name in file_names(folder):
        read = readers.get(Path(name).suffix)
        if read is None:
            continue
        try:
            read(folder / name)
        except PermissionError:
            raise
        except Exception as error:  # safetensors raises a kind of its own
            yield f"{name} is cut short or damaged ({reason(error)})"


def _read_tensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="np"):  # compares the header with the length of the file
        pass


def _read_table(path: Path) -> None:
    text = path.read_text()
    if not text.endswith("\n") or len({len(row) for row in csv.reader(text.splitlines())}) != 1:
        raise ValueError("its rows are not whole")


def study_fault(content: dict[str, Any]) -> str | None:
    """What is wrong with a remembered study, in words; None where all is well."""
    if not isinstance(content.get("study"), dict):
        return "it does not say what was asked"
    addresses = content.get("addresses")
    if not isinstance(addresses, dict) or not all(
            isinstance(a, str) and ADDRESS.fullmatch(a) for a in addresses.values()):
        return "it does not say where its results are"
    return None
