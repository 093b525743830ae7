"""The kinds of evidence that a stored study can give, and `record`, which writes them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rethinklab.errors import ConfigError, RethinkError, unknown_name
from rethinklab.evidence.architectures import gather_widths
from rethinklab.evidence.missing import Missing
from rethinklab.evidence.runs import (
    gather_barrier,
    gather_histories,
    gather_latency,
    gather_sensitivity,
)
from rethinklab.evidence.stored import StoredStudy
from rethinklab.evidence.tables import save_table
from rethinklab.evidence.weights import (
    gather_kernels,
    gather_movement,
    gather_overlap,
    gather_scales,
    gather_weights,
)
from rethinklab.experiments.results import Results


@dataclass(frozen=True)
class Evidence:
    """gather: the table from a stored study; raises Missing. meaning: what it holds. computed:
    whether networks have to be read or run for it, which takes a while."""

    gather: Callable[[StoredStudy], pd.DataFrame]
    meaning: str
    computed: bool = False


EVIDENCE: dict[str, Evidence] = {
    "histories": Evidence(gather_histories, "loss and accuracy after each epoch"),
    "widths": Evidence(gather_widths, "widths of layers before and after pruning"),
    "weights": Evidence(gather_weights, "histograms of weights", True),
    "scales": Evidence(gather_scales, "histograms of the scales of batch normalisation", True),
    "movement": Evidence(gather_movement, "how far training moved the weights", True),
    "overlap": Evidence(gather_overlap, "what two seeds keep in common"),
    "kernels": Evidence(gather_kernels, "positions of kernels that are kept"),
    "sensitivity": Evidence(gather_sensitivity, "accuracy with one layer pruned", True),
    "barrier": Evidence(gather_barrier, "error between two networks", True),
    "latency": Evidence(gather_latency, "measured latency", True),
}


def find_evidence(kind: str) -> Evidence:
    """The kind of evidence called `kind`. Raises ConfigError with the nearest match."""
    if kind not in EVIDENCE:
        raise unknown_name("kind of evidence", kind, EVIDENCE)
    return EVIDENCE[kind]


def record(stored: StoredStudy, out: str | Path, name: str | None = None,
           kinds: Sequence[str] | None = None) -> tuple[list[Path], list[str]]:
    """Write the study's results to `out/NAME.csv` and its evidence to `out/KIND/NAME.csv`; the
    paths written, and why the other kinds of evidence are missing.

    name: by default the study's own without the hash at its end. kinds: of evidence; all by
    default, and none for the results alone.
    Raises RethinkError where the folder cannot be written, ConfigError where results are recorded
    there by that name that the study does not have.
    """
    name = re.sub(r"-[0-9a-f]{6}$", "", stored.name) if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9._-]*", name):
        raise ConfigError(f"name {name!r} must consist of letters, digits, dots, dashes and "
                          "underscores: files are called by it.")
    folder, written, missing = Path(out).expanduser(), [], []
    check_nothing_lost(stored, folder / f"{name}.csv")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored.results.save(folder / f"{name}.csv")
        written.append(folder / f"{name}.csv")
        for kind in EVIDENCE if kinds is None else kinds:
            evidence = find_evidence(kind)
            path = folder / kind / f"{name}.csv"
            try:
                table = evidence.gather(stored)
            except Missing as reason:
                missing.append(f"{kind}: {reason}")
                path.unlink(missing_ok=True)  # of a study that was recorded by this name before
                continue
            path.parent.mkdir(exist_ok=True)
            save_table(table, path)
            written.append(path)
    except OSError as error:
        raise RethinkError(f"the tables of {stored.name} cannot be written to {folder} "
                           f"({error.strerror}); choose another place with --out.") from error
    return written, missing


def check_nothing_lost(stored: StoredStudy, path: Path) -> None:
    """Raises ConfigError where the recorded table `path` has trials that the study has not. A
    study by another name that has all of them may take its place: the name tells where a folder
    of images lies, the addresses of trials do not."""
    if not path.is_file():
        return
    there = Results.load(path)
    lost = set(there.frame["address"]) - set(stored.results.frame["address"])
    if there.name != stored.name and lost:
        raise ConfigError(f"{path} holds another study, {there.name}; record {stored.name} by "
                          "another name (--as), or remove that file first.")
