"""Notebooks are tested at the scale "quick"; what they train is kept in a folder of the run."""

from __future__ import annotations

import os
import tempfile

import pytest

STORE, SCALE = "RETHINKLAB_STORE", "RETHINKLAB_SCALE"
os.environ.setdefault(STORE, tempfile.mkdtemp(prefix="rethinklab-notebooks-"))  # workers inherit it
GIVEN = os.environ.get(SCALE)  # a person may ask for another scale


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the scale before the kernel of a notebook starts, and back for all other tests."""
    scale = (GIVEN or "quick") if item.path.suffix == ".ipynb" else GIVEN
    if scale is None:
        os.environ.pop(SCALE, None)
    else:
        os.environ[SCALE] = scale
