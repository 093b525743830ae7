"""A queue: studies in a file, run one after the other, each going on where it stopped."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments.settings import study_settings
from rethinklab.experiments.study import Study
from rethinklab.trainers.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OF_THE_RECIPE = tuple(field.name for field in fields(Recipe))
OF_THE_STUDY = tuple(field.name for field in fields(Study) if field.name not in ("recipe",))
OWN = ("name", "needs", "why", "tables", "like")
NEEDS = ("", "gpu")


@dataclass(frozen=True)
class Entry:
    """A study of a queue. name: what its results are called. settings: as the file has them.
    needs: "gpu" for one that wants such a device. why: what it is for. tables: which kinds
    are recorded beside its results (see `rethinklab.results.TABLES`); None for all."""

    name: str
    settings: Mapping[str, Any]
    needs: str = ""
    why: str = ""
    tables: tuple[str, ...] | None = None

    @property
    def unset(self) -> str:
        """The environment variable that the settings name and that is not set; empty where there
        is none."""
        found = re.search(r"\$\{?(\w+)", os.path.expandvars(str(self.settings.get("dataset", ""))))
        return found[1] if found else ""

    def obstacle(self, gpu: bool) -> str:
        """Why the study cannot be run here, with the remedy; empty where it can. gpu: whether
        there is one."""
        if self.needs == "gpu" and not gpu:
            return "it wants a GPU, and torch sees none here"
        if self.unset:
            return f"its images are where ${self.unset} says; set that variable to a folder"
        return ""

    def study(self) -> Study:
        """The study itself. Raises ConfigError, naming the entry, for settings that cannot be."""
        settings = dict(self.settings)
        if "dataset" in settings:
            settings["dataset"] = os.path.expandvars(settings["dataset"])
        recipe = {name: settings.pop(name) for name in OF_THE_RECIPE if name in settings}
        if recipe:
            settings["recipe"] = recipe
        preset, scale = settings.pop("preset", None), settings.pop("scale", "quick")
        try:
            return Study(**study_settings(preset, scale, settings))
        except ConfigError as error:
            raise ConfigError(f"study {self.name!r} of the queue: {error}") from error


def load_queue(path: str | Path) -> list[Entry]:
    """The studies of a TOML file, in order: tables `[[study]]` with a name, perhaps a preset, the
    arguments of `Study` and, without a table of their own, those of its `Recipe`; and `needs`,
    `why`, `tables` and `like`, the name of an earlier study, all of whose keys but its name and
    why hold for this one too, as far as it does not set them itself.

    Environment variables in `dataset` stand for their values. Raises ConfigError for a file that
    cannot be read, a key that is not known, or a name that is missing or there twice.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the queue {path} cannot be read ({error}).") from error
    entries = content.get("study")
    if set(content) != {"study"} or not isinstance(entries, list) or not entries:
        raise ConfigError(f"the queue {path} must consist of tables [[study]], one or more.")
    found = [_entry(number, entry) for number, entry in enumerate(_alike(entries), 1)]
    names = [entry.name for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two studies of the queue are called {name!r}; names must differ.")
    return found


def choose(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries with these names, or all where there is none. Raises ConfigError for a name
    that the queue does not have."""
    known = [entry.name for entry in entries]
    for name in names:
        if name not in known:
            raise unknown_name("study of the queue", name, known)
    return [entry for entry in entries if not names or entry.name in names]


def _alike(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries with what those have that they are like."""
    earlier: dict[str, dict[str, Any]] = {}
    found = []
    for entry in entries:
        model = entry.get("like")
        if model is not None and model not in earlier:
            raise unknown_name(f"earlier study that {entry.get('name')!r} is like", str(model),
                               earlier)
        base = {} if model is None else earlier[model]
        whole = {**{key: base[key] for key in base if key not in ("name", "why")}, **entry}
        found.append(whole)
        earlier[str(entry.get("name"))] = whole
    return found


def _entry(number: int, entry: Mapping[str, Any]) -> Entry:
    name = entry.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"study {number} of the queue has no name of letters, digits, dots, "
                          "dashes and underscores; its results are called by it.")
    for key in entry:
        if key not in (*OWN, *OF_THE_STUDY, *OF_THE_RECIPE):
            raise unknown_name(f"setting of study {name!r}", key,
                               [*OWN, *OF_THE_STUDY, *OF_THE_RECIPE])
    needs = entry.get("needs", "")
    if needs not in NEEDS:
        raise ConfigError(f"study {name!r} of the queue needs {needs!r}, which must be "
                          "\"gpu\" or be left out.")
    settings = {key: value for key, value in entry.items() if key not in OWN}
    tables = entry.get("tables")
    if tables is not None and not (isinstance(tables, list)
                                     and all(isinstance(kind, str) for kind in tables)):
        raise ConfigError(f"study {name!r} of the queue: tables must be a list of names, not "
                          f"{tables!r}.")
    return Entry(name, settings, needs, str(entry.get("why", "")),
                 None if tables is None else tuple(tables))
