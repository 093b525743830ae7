"""The kinds of tables that a study gives beside its results, each gathered from its networks, plans
or histories, and small enough to be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from rethinklab.errors import unknown_name
from rethinklab.results.runs import (
    gather_barrier,
    gather_histories,
    gather_latency,
    gather_sensitivity,
)
from rethinklab.results.stored import StoredStudy
from rethinklab.results.weights import (
    gather_kernels,
    gather_movement,
    gather_overlap,
    gather_scales,
    gather_weights,
)
from rethinklab.results.widths import gather_widths


@dataclass(frozen=True)
class Table:
    """gather: it from a stored study; raises Missing. meaning: what it holds. computed: whether
    networks have to be read or run for it, which takes a while."""

    gather: Callable[[StoredStudy], pd.DataFrame]
    meaning: str
    computed: bool = False


TABLES: dict[str, Table] = {
    "histories": Table(gather_histories, "loss and accuracy after each epoch"),
    "widths": Table(gather_widths, "widths of layers before and after pruning"),
    "weights": Table(gather_weights, "histograms of weights", True),
    "scales": Table(gather_scales, "histograms of the scales of batch normalisation", True),
    "movement": Table(gather_movement, "how far training moved the weights", True),
    "overlap": Table(gather_overlap, "what two seeds keep in common"),
    "kernels": Table(gather_kernels, "positions of kernels that are kept"),
    "sensitivity": Table(gather_sensitivity, "accuracy with one layer pruned", True),
    "barrier": Table(gather_barrier, "error between two networks", True),
    "latency": Table(gather_latency, "measured latency", True),
}


def find_table(kind: str) -> Table:
    """The kind of table called `kind`. Raises ConfigError with the nearest match."""
    if kind not in TABLES:
        raise unknown_name("kind of table", kind, TABLES)
    return TABLES[kind]
