"""Results by their name or place: of a store, or as they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.experiments import runner
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.home import home
from rethinklab.results.files import STUDY, RecordedStudy
from rethinklab.results.results import Results
from rethinklab.results.stored import StoredStudy

P = ParamSpec("P")


def _with_results(work: Callable[P, tuple[Study, Store, list[str]]]) -> Callable[P, Results]:
    @wraps(work)
    def run(*args: P.args, **options: P.kwargs) -> Results:
        return Results.of(StoredStudy(*work(*args, **options)))

    run.__annotations__["return"] = "Results"
    return run


run = _with_results(runner.run)


def load_results(name: str | Path, store: str | Path | Store = "runs") -> Results:
    """The results of one study.

    name: of a recorded study, or its folder; else of a study in `store`, or how it begins; else
    how the name of a recorded study begins. Raises ConfigError where none or several match.
    """
    place = Path(name).expanduser()
    if (place / STUDY).is_file():
        return Results.of(RecordedStudy(place))
    recorded = _folders(recorded_folder())
    if str(name) in recorded:
        return Results.of(RecordedStudy(recorded[str(name)]))
    if place.is_dir():
        raise ConfigError(f"{name} is a folder of several studies, or of none; rl.load_studies "
                          "reads all of them.")
    if isinstance(store, Store) or (Path(store) / "store.json").is_file():
        there = store if isinstance(store, Store) else Store(store, create=False)
        if any(known.startswith(str(name)) for known in there.studies()) or not recorded:
            return Results.of(StoredStudy.named(str(name), there))
        recorded |= dict.fromkeys(there.studies(), Path())  # to be named
    matches = [known for known in recorded if known.startswith(str(name))]
    if len(matches) != 1:
        raise unknown_name("study", str(name), matches or recorded)
    return Results.of(RecordedStudy(recorded[matches[0]]))


def load_studies(place: str | Path | Store | None = None, names: Sequence[str] = ()
                 ) -> dict[str, Results]:
    """The results of many studies, by name.

    place: a store, a folder of recorded studies, or that of one; by default the records that come
    with the kit. names: of the studies, or in a
    store how they begin; all that have results by default.
    Raises ConfigError for a name that there is not, and where the place holds no study.
    """
    if place is None and (place := recorded_folder()) is None:
        raise ConfigError("no records lie in data/results here or beside the package; name a "
                          "folder of recorded studies, or a store.")
    if isinstance(place, Store) or (Path(place) / "store.json").is_file():
        return _stored(place if isinstance(place, Store) else Store(place, create=False), names)
    folder = Path(place).expanduser()
    found = {folder.name: folder} if (folder / STUDY).is_file() else _folders(folder)
    if not found:
        raise ConfigError(f"{place} holds no results: it is no store, no recorded study and no "
                          "folder of such; `rethinklab record STUDY` writes one.")
    for name in names:
        if name not in found:
            raise unknown_name("recorded study", name, found)
    return {name: Results.of(RecordedStudy(found[name])) for name in names or found}


def _stored(store: Store, names: Sequence[str]) -> dict[str, Results]:
    chosen = [store.find_study(name) for name in names] or [
        name for name, content in store.studies().items()
        if any(map(store.read_address, content.get("addresses", {}).values()))]
    return {name: Results.of(StoredStudy.named(name, store)) for name in chosen}


def _folders(place: Path | None) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(place.glob(f"*/{STUDY}"))
            } if place else {}


def recorded_folder() -> Path | None:
    """data/results of the working folder, or else those that come with the kit."""
    for root in (Path.cwd(), home()):
        if (root / "data" / "results").is_dir():
            return root / "data" / "results"
    return None
