"""Where figures take their numbers from: a store, or a folder of recorded tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.evidence.catalogue import EVIDENCE, find_evidence
from rethinklab.evidence.stored import StoredStudy
from rethinklab.evidence.tables import load_table
from rethinklab.experiments.results import Results, stored_results
from rethinklab.experiments.store import Store


@dataclass
class Found:
    """What there is to draw from. inputs: by name. missing: what there is not, in sentences with
    the remedy."""

    inputs: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Source(Protocol):
    """Results and tables of evidence, by the name of a study."""

    def studies(self) -> Mapping[str, Results]:
        """The results of every study."""

    def tables(self, kind: str) -> Found:
        """The tables of that kind of evidence, and why others are missing."""

    def origin(self, name: str) -> list[str]:
        """What the numbers of a study rest on: addresses in the store, or files and their
        SHA-256."""


class StoreSource:
    """A store. names: of the studies to look at, or how they begin; all that have results where
    there are none. cheap: leave out what has to be computed from networks, for a quick look."""

    def __init__(self, store: Store, names: Sequence[str] = (), cheap: bool = False) -> None:
        self.store, self.cheap = store, cheap
        self.names = [store.find_study(name) for name in names] or list(store.studies())
        self._tables: dict[str, Found] = {}

    @cached_property
    def _results(self) -> dict[str, Results]:
        found = {}
        for name in self.names:
            content = self.store.studies()[name]
            if any(map(self.store.read_address, content.get("addresses", {}).values())):
                found[name] = stored_results(name, self.store)
        return found

    def studies(self) -> Mapping[str, Results]:
        return self._results

    @cached_property
    def _opened(self) -> dict[str, StoredStudy]:
        opened = {}
        for name in self._results:
            with suppress(RethinkError):  # said where its results are read
                opened[name] = StoredStudy(name, self.store)
        return opened

    def tables(self, kind: str) -> Found:
        evidence = find_evidence(kind)
        if kind not in self._tables:
            found = Found()
            for name, stored in self._opened.items():
                if self.cheap and evidence.computed:
                    found.missing.append(f"{name}: computed from its networks when it is drawn.")
                    continue
                try:
                    found.inputs[name] = evidence.gather(stored)
                except RethinkError as reason:  # Missing, or the images are gone, say
                    found.missing.append(f"{name}: {reason}")
            self._tables[kind] = found
        return self._tables[kind]

    def origin(self, name: str) -> list[str]:
        results = self._results.get(name)
        return sorted(results.frame["address"]) if results is not None else []


class RecordedSource:
    """Tables that `rethinklab record` wrote. place: their folder, or the CSV of one study."""

    def __init__(self, place: str | Path) -> None:
        self.place = Path(place)
        if not self.place.exists():
            raise ConfigError(f"{place} does not exist; name a folder of recorded results, or one "
                              "of its CSV files, with --from.")
        self.folder = self.place if self.place.is_dir() else self.place.parent

    @cached_property
    def _results(self) -> dict[str, Results]:
        if self.place.is_file():
            return {self.place.stem: Results.load(self.place)}
        found = {path.stem: Results.load(path) for path in sorted(self.place.glob("*.csv"))}
        if not found:
            raise ConfigError(f"{self.place} holds no CSV of results; `rethinklab record STUDY "
                              f"--out {self.place}` writes them.")
        return found

    def studies(self) -> Mapping[str, Results]:
        return self._results

    def tables(self, kind: str) -> Found:
        find_evidence(kind)
        found = Found()
        for name in self._results:
            path = self.folder / kind / f"{name}.csv"
            if path.is_file():
                try:
                    found.inputs[name] = load_table(path)
                except ConfigError as error:
                    found.missing.append(f"{name}: {error}")
            else:
                found.missing.append(f"{name}: no table {kind} is recorded; `rethinklab record` "
                                     "writes it where the study gives one.")
        return found

    def origin(self, name: str) -> list[str]:
        files = [self.folder / f"{name}.csv", *(self.folder / kind / f"{name}.csv"
                                                for kind in EVIDENCE)]
        return [f"{path.relative_to(self.folder)} sha256:"
                f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
                for path in files if path.is_file()]
