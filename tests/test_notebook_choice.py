"""Which of many studies a lesson looks at, by scale."""

from pathlib import Path

import pytest

from rethinklab.errors import ConfigError
from rethinklab.notebook.session import SCALES, Session

NAMES = ("a", "b", "c", "d")


@pytest.mark.parametrize("scale", [scale for scale in SCALES if scale != "quick"])
def test_all_studies_are_looked_at(scale):
    assert Session(10, scale, Path()).choose(NAMES) == list(NAMES)


def test_at_scale_quick_the_first_few_are_run():
    session = Session(10, "quick", Path())
    assert session.choose(NAMES) == ["a", "b"]
    assert session.choose(NAMES, quick=3) == ["a", "b", "c"]
    assert session.choose(NAMES, quick=9) == list(NAMES)


def test_none_at_all_is_refused():
    with pytest.raises(ConfigError, match="quick 0 must be a number of studies"):
        Session(10, "cached", Path()).choose(NAMES, quick=0)
