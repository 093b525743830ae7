"""Numbers as people give them, Python's, numpy's or tensors of one value, made Python's own.

A check gives back the plain value, and that is what is kept: hashes, JSON and equality then do
not know where a number came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from rethinklab.errors import ConfigError, RethinkError

KINDS = ("bool", "int", "uint", "float", "bfloat")  # how types of numbers are called, bits behind
BITS = {"float32": 24, "float16": 11, "bfloat16": 8}  # of precision


def plain(value: Any) -> Any:
    """`value` with each number of numpy and torch in it as Python's: what has no dimension becomes
    a number, an array or tensor a list, in lists, tuples and mappings too; the rest stays.

    A number of less than double precision becomes the shortest decimal that names it there:
    np.float32(0.1) is 0.1.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "tolist"):
        return [plain(entry) for entry in value] if shape else _scalar(value)
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _scalar(value: Any) -> Any:
    kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(KINDS) or str(getattr(value, "device", "")) == "meta":
        return value
    found = value.item()
    if "float" not in kind:
        return found
    return _shortest(float(found), BITS[kind]) if kind in BITS else float(found)


def _shortest(number: float, bits: int) -> float:
    """The decimal of fewest digits that rounds to `number` at that precision."""
    for digits in range(1, 17 if math.isfinite(number) else 0):
        found = float(f"{number:.{digits}g}")
        part, power = math.frexp(found)
        if math.ldexp(round(math.ldexp(part, bits)), power - bits) == number:
            return found
    return number


def listed(value: Any) -> list[Any] | None:
    """The entries of a list, tuple, range, array or tensor, plain; None for anything else."""
    found = plain(value)
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)):
        return None
    return [plain(entry) for entry in found]


def whole(name: str, value: Any, least: int | None = None, most: int | None = None, *,
          floats: bool = False, of: str = "", rule: str = "",
          error: type[RethinkError] = ConfigError) -> int:
    """`value` as an int. Raises `error` unless it is a whole number (True is none) from `least` to
    `most`. floats: whether 3.0 is one. of, rule: for the sentence, whose value it is, and what it
    must be where more is to be said."""
    found = plain(value)
    if floats and isinstance(found, float) and found.is_integer():
        found = int(found)
    if type(found) is int and (least is None or found >= least) and (most is None or found <= most):
        return found
    limits = "" if least is None else f", {least} or more" if most is None else \
        f" from {least} to {most}"
    raise error(_sentence(name, found, of, rule or f"a whole number{limits}"))


def number(name: str, value: Any, least: float | None = None, most: float | None = None, *,
           above: float | None = None, below: float | None = None, of: str = "", rule: str = "",
           error: type[RethinkError] = ConfigError) -> float:
    """`value` as a float, or an int where it is one. Raises `error` unless it is a finite number
    (True is none) within the limits, of which `above` and `below` are themselves left out. of,
    rule: as for `whole`."""
    found = plain(value)
    if (type(found) is int or (isinstance(found, float) and math.isfinite(found))) \
            and (least is None or found >= least) and (most is None or found <= most) \
            and (above is None or found > above) and (below is None or found < below):
        return found
    if least is not None:
        limits = f" from {least:g} to {most:g}" if most is not None else f" of {least:g} or more"
    else:
        limits = " and".join(f" {words} {limit:g}" for words, limit in
                             (("above", above), ("at most", most), ("below", below))
                             if limit is not None)
    raise error(_sentence(name, found, of, rule or f"a number{limits}"))


def flag(name: str, value: Any) -> bool:
    """`value` as a bool. Raises ConfigError unless it is true or false."""
    found = plain(value)
    if not isinstance(found, bool):
        raise ConfigError(_sentence(name, found, "", "true or false"))
    return found


def settle(thing: Any, **values: Any) -> None:
    """Give a frozen dataclass, while it is being made, the values that its checks gave back."""
    for name, value in values.items():
        object.__setattr__(thing, name, value)


def _sentence(name: str, value: Any, of: str, rule: str) -> str:
    shown = " ".join(repr(value).split())  # of several lines, perhaps
    return f"{name} {shown}{of and f' of {of}'} must be {rule}."
