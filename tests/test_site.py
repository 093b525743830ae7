"""The website: all names, methods, regimes, figures and studies are in it, no link is dead, and in
a real browser it can be read on a phone, in the dark, with the keyboard alone, without a server.

It is built once for all tests here. Without Chromium those of the browser are skipped, and say so;
their screenshots are kept in build/screenshots.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from test_browser import CHROMIUM, SHOTS

import rethinklab as rl
from rethinklab.figures.catalogue import FIGURES
from rethinklab.pruners import METHODS
from rethinklab.results.paper_tables import TABLES

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(path.parent.name for path in (ROOT / "data" / "results").glob("*/study.json"))
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

PAGES = ("index", "docs/budgets", "docs/paper", "notebooks/03_thinet", "gallery", "api/Study",
         "data/results/l1-vgg11-digits-half-classroom", "RESULTS")  # that are looked at

pytestmark = pytest.mark.slow
in_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed, so the website was not tried in a browser "
                             "(apt install chromium)")


@pytest.fixture(scope="module")
def site():
    """The folder of the website, built anew but for what is unchanged since the last time."""
    pytest.importorskip("myst_nb", reason="Sphinx is not installed: pip install rethinklab[docs]")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "site" / "build.py"), "--jobs", "1"], cwd=ROOT,
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return ROOT / "build" / "site" / "html"


class Page(HTMLParser):
    """What a page links to and shows, the anchors in it, and what it fetches to be drawn."""

    def __init__(self, text):
        super().__init__()
        self.links, self.pictures, self.anchors, self.fetched = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given["id"]} if "id" in given else set()
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.pictures.append(given)
        self.fetched += [value for name, value in attrs if name == "src"
                         or (tag == "link" and name == "href")]


@cache
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def test_every_public_name_has_a_page(site):
    for name in rl.__all__:
        if name.startswith("__"):
            assert f"rl.{name}" in (site / "api" / "index.html").read_text()
            continue
        found = page(site / "api" / f"{name}.html")
        offered = getattr(getattr(rl, name), "__all__", ())
        assert offered or any(a.startswith(f"rethinklab.{name}") for a in found.anchors), name
        links = "\n".join(found.links)
        for inner in offered:
            assert (f"rethinklab.{name}.{inner}" in found.anchors or f"{inner}.html" in links
                    or any(a.startswith("module-rethinklab") for a in found.anchors)), inner


def test_methods_regimes_figures_and_rows_are_there(site):
    for where, names in (("docs/methods", METHODS), ("docs/budgets", rl.REGIMES),
                         ("docs/paper", TABLES)):
        text = (site / f"{where}.html").read_text(encoding="utf-8")
        spans = set(re.findall(r'<span class="pre">([^<]+)</span>', text))
        assert set(names) <= spans, where
    gallery = (site / "gallery.html").read_text(encoding="utf-8")
    for kind in FIGURES:
        name = kind.replace("_", "-")
        section = gallery.split(f'<section id="{name}">')[1].split("</section>")[0]
        assert "<img" in section, kind
        assert "rethinklab" in section, kind


@pytest.mark.parametrize("name", STUDIES)
def test_every_recorded_study_has_its_page(name, site):
    text = (site / "data" / "results" / f"{name}.html").read_text(encoding="utf-8")
    results = rl.load_results(name)
    for address in results.frame["address"]:
        assert address in text
    for mean in results.summary()["mean"]:
        assert f"{mean:.2f}" in text
    assert f"data/results/{name}.html" in page(site / "RESULTS.html").links


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lessons_are_shown_with_their_outputs(path, site):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    drawn = sum("image/png" in output.get("data", {}) for cell in cells
                for output in cell.get("outputs", ()))
    shown = page(site / "notebooks" / f"{path.stem}.html").pictures
    assert len(shown) >= drawn > 0
    assert all((site / "notebooks" / picture["src"]).stat().st_size > 1000 for picture in shown)


def test_no_link_is_dead_and_nothing_comes_from_elsewhere(site):
    dead = []
    for path in site.rglob("*.html"):
        found = page(path)
        for link in {*found.links, *found.fetched}:
            if link.startswith(("http://", "https://", "data:", "mailto:")):
                if link in found.fetched and not link.startswith("data:"):
                    dead.append(f"{path.relative_to(site)} fetches {link}")
                continue
            target, anchor = urldefrag(unquote(link))
            target = target.partition("?")[0]
            place = (path.parent / target).resolve() if target else path
            if not place.is_file() or (anchor and place.suffix == ".html"
                                       and anchor not in page(place).anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead


def test_pictures_say_in_words_what_they_show(site):
    for name in ("index", "gallery", *(f"data/results/{name}" for name in STUDIES)):
        for picture in page(site / f"{name}.html").pictures:
            assert len(picture.get("alt", "")) > 20, name


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, site):
    """Opens a page of the site, and in the end says what scripts complained of."""
    opened, complaints = [], []

    def opener(name, width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(f"{name}: {error}"))
        page.goto(f"{(site / name).as_uri()}.html")
        opened.append(page)
        return page

    yield opener
    for page in opened:
        page.close()
    assert not complaints


@in_browser
def test_search_finds_scratch_b_offline(open_page):
    page = open_page("index")
    page.get_by_placeholder("Search").first.fill("Scratch-B")
    page.keyboard.press("Enter")
    for title in ("Glossary", "10 · Scratch or fine-tune", "Budgets and verdicts"):
        page.locator("#search-results li a", has_text=title).first.wait_for()


@in_browser
def test_a_lesson_shows_its_pictures_and_formulas(open_page):
    page = open_page("notebooks/03_thinet")
    sizes = page.evaluate("Array.from(document.querySelectorAll('article img'), "
                          "e => e.complete ? e.naturalWidth : 0)")
    assert sizes
    assert min(sizes) > 200
    assert page.evaluate("document.querySelector('math').getBoundingClientRect().width") > 5


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_can_be_read(width, scheme, open_page):
    for name in PAGES:
        page = open_page(name, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        text, ground = page.evaluate("""() => ['color', 'backgroundColor'].map(which =>
            getComputedStyle(which === 'color' ? document.querySelector('article p')
                             : document.body)[which].match(/[\\d.]+/g).slice(0, 3).map(Number))""")
        assert contrast(text, ground) > 7, name
        assert (sum(ground) < 200) == (scheme == "dark"), name
        page.screenshot(path=str(SHOTS / f"site-{name.replace('/', '-')}-{width}-{scheme}.png"))


def contrast(a, b):
    """The contrast ratio of two colours, by WCAG 2."""
    def luminance(colour):
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


FOCUS = "() => document.activeElement.getAttribute('href') || document.activeElement.name || ''"


def reach(page, wanted):
    """Press the tabulator until that link or field has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS).endswith(wanted):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


@in_browser
def test_the_keyboard_alone_leads_from_the_first_page_to_a_lesson_and_to_a_search(open_page):
    page = open_page("index")
    reach(page, "docs/lessons.html")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.wait_for_url("**/docs/lessons.html")
    reach(page, "notebooks/00_start_here.html")
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks/00_start_here.html")
    assert "00 · Start here" in page.locator("h1").inner_text()
    reach(page, "q")
    page.keyboard.type("slimming")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")


@in_browser
def test_the_answer_stands_on_the_first_screen(open_page):
    page = open_page("index")
    line = page.get_by_text("Against the fine-tuning of 2019").first
    box = line.bounding_box()
    assert box["y"] + box["height"] < 900
