"""Small real tasks that tests share. One torch thread: workers of pytest-xdist share the cores."""

from __future__ import annotations

import tempfile

import hypothesis
import pytest
import torch
from small_networks import RECIPE, Chain, slim

import rethinklab as rl

hypothesis.settings.register_profile("any machine", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("any machine")


LONG = 10.0  # seconds, on an idle machine


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter):
    """Names the tests that took long and are not marked slow. They do not fail: a machine may be
    busy."""
    long = {report.nodeid for report in terminalreporter.getreports("passed")
            if report.nodeid.startswith("tests/") and report.duration > LONG
            and "slow" not in report.keywords}
    if long:
        terminalreporter.section(f"took more than {LONG:g} seconds and are not marked slow")
        for name in sorted(long):
            terminalreporter.line(name)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def private_home(homes, monkeypatch):
    """No test reads or writes the user's caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", tempfile.mkdtemp(dir=homes))
    monkeypatch.delenv("RETHINKLAB_DATA", raising=False)


@pytest.fixture(scope="session")
def digits():
    return rl.load_data("digits")


@pytest.fixture(scope="session")
def small(digits):
    """198 training and 101 test images: both leave a ragged last batch."""
    return digits.subset(198, 101)


@pytest.fixture
def tiny_vgg():
    return rl.build_model("vgg11", width=0.0625, seed=3)


@pytest.fixture(scope="module")
def task(digits):
    return digits.subset(2500, 300)


@pytest.fixture(scope="module")
def trained(task):
    with rl.seeds.global_stream(0, "slim"):
        model = slim()
    result = rl.train(model, task, RECIPE, device="cpu", progress=False)
    assert result.test_accuracy > 0.5, "the network has learnt nothing worth keeping"
    return result.model


@pytest.fixture(scope="module")
def chain():
    with rl.seeds.global_stream(0, "chain"):
        return Chain()
