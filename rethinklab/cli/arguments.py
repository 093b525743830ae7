"""What a user types on the command line, read into the values that the kit takes."""

from __future__ import annotations

import json
from typing import Any

from rethinklab.errors import ConfigError


def parse_seeds(text: str | None) -> int | list[int] | None:
    """A count ("5") or a list ("0,3,7")."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"seeds {text!r} must be a count such as 5 or a list such as 0,3,7."
                          ) from error
    return numbers if "," in text else numbers[0]


def parse_target(text: str) -> Any:
    """A ratio, JSON with layers, or a published name."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"target {text!r} is not valid JSON ({error}).") from error
    if text.isdigit() and text not in ("0", "1"):
        return text  # the name of a published target, such as ThiNet's 30
    try:
        return float(text)
    except ValueError:
        return text


def parse_options(texts: list[str]) -> dict[str, Any]:
    """{"NAME": value} from "NAME=VALUE", the value read as JSON where it is such."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"option {text!r} must have the form NAME=VALUE, for example "
                              "strength=0.001.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def parse_factors(text: str) -> list[float]:
    """The multiples of a learning-rate grid ("0.3,1,3")."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"learning-rate grid {text!r} must be multiples by commas, such as "
                          "0.3,1,3.") from error
