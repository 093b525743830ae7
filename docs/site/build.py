"""Builds the website: `python docs/site/build.py`, or `make docs`.

The pages are gathered under build/site/source in the layout of the repository, so that a link
between two documents leads to the same place here and there; what the records, the catalogue of
figures and the docstrings say is written beside them. Sphinx makes build/site/html of it, and a
warning is an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import gallery
import records
import reference

import rethinklab as rl

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOME = "README.md"  # the landing page
COPIED = (  # every page that is in the repository, with the caption of its place in the menu
    ("Learn", ("docs/start.md", "docs/lessons.md", "notebooks/GLOSSARY.md")),
    ("Guides", ("docs/own_data.md", "docs/own_network.md", "docs/own_criterion.md",
                "docs/budgets.md", "docs/figures.md", "docs/clusters.md",
                "notebooks/INSTRUCTOR.md")),
    ("Results", ("RESULTS.md", "docs/paper.md", "gallery.md", "docs/benchmarks.md",
                 "data/README.md")),
    ("Reference", ("docs/methods.md", "api/index.md")),
    ("Project", ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")))


def toctree(pages: list[str], caption: str = "") -> str:
    """A place in the menu, and none in the text, for pages by their path from the top."""
    title = [f":caption: {caption}"] if caption else []
    names = ["/" + page.rpartition(".")[0] for page in pages]
    return "\n".join(["", "```{toctree}", ":hidden:", ":maxdepth: 1", *title, "", *names, "```",
                      ""])


def pages(source: Path) -> dict[str, str]:
    """The text of every page that is not a notebook, by its path."""
    studies = rl.load_studies(ROOT / "data" / "results")
    found = {page: (ROOT / page).read_text(encoding="utf-8") for _, group in COPIED
             for page in group if (ROOT / page).is_file()}
    made = {**records.study_pages(studies, source), **reference.api_pages()}
    found["gallery.md"] = gallery.page(studies, source)
    found["docs/paper.md"] += records.rows_of_the_paper(studies)
    found["docs/budgets.md"] += records.every_regime()
    found["docs/benchmarks.md"] += records.benchmarks(ROOT / "benchmarks" / "results", source)
    lessons = sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb"))
    found["docs/lessons.md"] += toctree(lessons)
    found["RESULTS.md"] += toctree([page for page in made if page.startswith("data/")])
    found["api/index.md"] = made.pop("api/index.md") + toctree(
        [page for page in made if page.startswith("api/")])
    for page in found:
        found[page] = found[page].replace(f"](../{HOME}", "](../index.md")
    home = (ROOT / HOME).read_text(encoding="utf-8")
    menu = [toctree([page for page in group if page in found], caption)
            for caption, group in COPIED]
    return {**found, **made, "index.md": home + "".join(menu)}


def put(path: Path, text: str) -> None:
    """Write a page where it is not so already: what is unchanged is not read by Sphinx again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def assemble(source: Path) -> None:
    """Gather everything that Sphinx reads."""
    source.mkdir(parents=True, exist_ok=True)
    for pattern in ("notebooks/*.ipynb", "figures/*.*", "LICENSE", "CITATION.cff"):
        for path in ROOT.glob(pattern):
            place = source / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
    written = pages(source)
    for name, text in written.items():
        put(source / name, text)
    for path in source.rglob("*.md"):
        if path.relative_to(source).as_posix() not in written:
            path.unlink()  # of an earlier build


def build(out: Path, jobs: str) -> int:
    """Make the site in `out`/html; the exit code of Sphinx."""
    from sphinx.cmd.build import main

    source = out / "source"
    assemble(source)
    return main(["-q", "-W", "--keep-going", "-j", jobs, "-c", str(HERE), "-d",
                 str(out / "doctrees"), str(source), str(out / "html")])


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--jobs", default="auto")
    given = parser.parse_args()
    code = build(given.out, given.jobs)
    if not code:
        print(f"The website is in {given.out / 'html' / 'index.html'}.")
    sys.exit(code)
