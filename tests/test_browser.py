"""A real browser opens JupyterLab, runs a notebook to its end and moves a widget.

Wants Chromium; without it the test is skipped, and says so. Screenshots are kept in
build/screenshots.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)
PATIENCE = 240  # seconds until something is taken to hang
NOTEBOOK = "02_l1_norm.ipynb"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so JupyterLab was not "
                                                "tried in a browser (apt install chromium)")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab over a copy of what notebooks need."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "data", project / "data")
    (project / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / NOTEBOOK, project / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home),
                   "JUPYTER_DATA_DIR": str(home), "OMP_NUM_THREADS": "1",
                   "RETHINKLAB_SCALE": "cached"}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={project}",
         "--LabApp.expose_app_in_browser=True", "--LabApp.news_url="],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5).read()
            break
        except OSError:
            assert server.poll() is None, "JupyterLab ended"
            assert time.monotonic() < end, "JupyterLab did not start"
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(timeout=60)


@pytest.fixture(scope="module")
def page(lab):
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{lab}/lab/tree/notebooks/{NOTEBOOK}?reset")
        page.wait_for_function("window.jupyterapp !== undefined")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        yield page
        browser.close()


@pytest.fixture(scope="module")
def executed(page):
    """The page after all cells have run."""
    page.wait_for_function("""() => window.jupyterapp.shell.currentWidget?.sessionContext
        ?.session?.kernel?.status === 'idle'""")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return page


COUNTS = """() => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
    return Array.from({length: cells.length}, (_, i) => cells.get(i))
        .filter(cell => cell.type === 'code').map(cell => cell.executionCount); }"""


def test_a_notebook_runs_to_its_end(executed):
    deadline = time.monotonic() + PATIENCE
    while True:
        counts = executed.evaluate(COUNTS)
        if counts == list(range(1, len(counts) + 1)) and executed.evaluate(
                "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
        ) == "idle":
            break
        assert time.monotonic() < deadline, counts
        time.sleep(0.5)
    errors = executed.evaluate("""() => { const cells =
        window.jupyterapp.shell.currentWidget.content.model.cells;
        return Array.from({length: cells.length}, (_, i) => cells.get(i))
            .filter(cell => cell.type === 'code')
            .flatMap(cell => cell.outputs.toJSON())
            .filter(output => output.output_type === 'error').map(output => output.evalue); }""")
    assert errors == []
    executed.screenshot(path=str(SHOTS / "notebook.png"))


def test_moving_a_widget_changes_its_picture(executed):
    picture = executed.locator(".jp-OutputArea .widget-image").first
    picture.scroll_into_view_if_needed()
    executed.wait_for_timeout(1000)
    executed.screenshot(path=str(SHOTS / "widget-before.png"))
    before = picture.get_attribute("src")
    first = picture.evaluate("async e => Array.from(new Uint8Array(await (await fetch(e.src))"
                             ".arrayBuffer())).length")
    handle = executed.locator(".jp-OutputArea .noUi-handle").first
    handle.focus()
    for _ in range(3):  # by the keyboard alone
        executed.keyboard.press("ArrowRight")
    executed.wait_for_function("([e, before]) => e.src !== before",
                               arg=[picture.element_handle(), before])
    executed.wait_for_timeout(1000)
    assert picture.evaluate("e => e.naturalWidth") > 300
    assert first > 1000
    executed.screenshot(path=str(SHOTS / "widget-after.png"))
    assert (SHOTS / "widget-after.png").read_bytes() != (SHOTS / "widget-before.png").read_bytes()
