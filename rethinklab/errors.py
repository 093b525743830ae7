"""Errors that a user can act on: one sentence that names the culprit, the value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MANY = 20


class RethinkError(Exception):
    """Base class. The command line prints the text without a traceback and ends with
    `exit_code`: 1 where a run failed, 2 where the input was wrong, 3 where the store is at fault,
    4 where time was up.
    """

    exit_code = 1


class ConfigError(RethinkError):
    """A name or value that the caller gave is not one the kit can use."""

    exit_code = 2


class DataError(RethinkError):
    """Images could not be found or read, or do not form a classification task."""

    exit_code = 2


class PlanError(RethinkError):
    """A pruning plan cannot be made for, or honoured by, a model."""

    exit_code = 2


class DivergenceError(RethinkError):
    """Training produced a loss that is not a finite number."""


class Missing(ConfigError):
    """Something cannot be had from the results at hand; the text says what is missing and which
    command makes it."""


class OutOfTime(RethinkError):
    """A run was stopped before its end because its time was up; the same call goes on."""

    exit_code = 4


class StagesFailed(RethinkError):
    """Some stages of a study failed, for the causes given; the others are stored."""

    def __init__(self, causes: Sequence[RethinkError], text: str) -> None:
        super().__init__(text)
        self.causes = tuple(causes)


class StageHeld(RethinkError):
    """Another process works on a stage, or on the training at `address` that the stage shares."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return f"another process works on {self.address}; wait until it is done."


class StoreError(RethinkError):
    """A results store cannot be read or written."""

    exit_code = 3


def first_line(error: BaseException, otherwise: str = "") -> str:
    """The first line of an error's text; where it has none, its type or what else is given."""
    return (str(error).strip().splitlines() or [otherwise or type(error).__name__])[0]


def unknown_name(kind: str, name: object, allowed: Iterable[str],
                 error: type[RethinkError] = ConfigError) -> RethinkError:
    """The error for a `name` that is not in `allowed`, with the nearest match suggested."""
    names = sorted(allowed)
    close = get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    shown = names if len(names) <= MANY else [*names[:MANY], "..."]
    return error(f"unknown {kind} {name!r}.{hint} Known: {', '.join(shown)}.")
