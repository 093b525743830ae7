"""What a store does not hold, said with the remedy."""

from __future__ import annotations

from rethinklab.errors import ConfigError


class Missing(ConfigError):
    """A table cannot be made from the studies at hand; the text says what is missing and which
    command makes it."""
