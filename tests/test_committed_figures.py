"""Every figure and table can be drawn from data/results; the few that are committed show them."""

from __future__ import annotations

from pathlib import Path

import pytest

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.gallery import stem
from rethinklab.figures.paper_items import SHOWN, readme, shown
from rethinklab.results.paper_tables import TABLES, paper_table

ROOT = Path(__file__).resolve().parent.parent
PICTURES, RESULTS = ROOT / "figures", ROOT / "data" / "results"
AGAIN = "`make figures` draws them anew"


@pytest.fixture(scope="module")
def studies():
    return rl.load_studies(RESULTS)


@pytest.mark.parametrize("kind", FIGURES)
def test_what_is_recorded_can_be_drawn(kind, studies):
    found = FIGURES[kind].collect(studies).inputs
    drawn = 0
    for name, given in found.items():
        try:
            figure = FIGURES[kind].draw(given, width=5.5)
        except ConfigError:  # of one regime, say
            continue
        drawn += 1
        assert len(figure.numbers), name
        if name in studies:
            assert figure.note.startswith(studies[name].label), name
    assert drawn


def test_own_rows_of_a_table_hold_the_recorded_means(studies):
    repeated = {results.settings["preset"]: results for results in studies.values()
                if results.settings["preset"]}
    assert repeated
    tables = [paper_table(name, studies.values()) for name in TABLES]
    for results in repeated.values():
        (frame,) = [table.frame for table in tables
                    if any(results.name in source for source in table.sources)]
        for mean in results.summary()["mean"]:
            assert frame.apply(lambda column, mean=mean: column.str.startswith(f"{mean:.2f} ")
                               ).any(axis=None)


def test_the_pictures_are_those_that_are_shown_and_few():
    expected = {f"{stem(kind, name)}.png" for kind, name in SHOWN.items()} | {"README.md"}
    assert {path.name for path in PICTURES.iterdir()} == expected
    assert 10 <= len(SHOWN) <= 15
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 2_000_000


def test_the_overview_and_its_captions_are_of_the_recorded_results(studies):
    text = (PICTURES / "README.md").read_text(encoding="utf-8")
    assert text == readme(studies), AGAIN
    for kind, name in SHOWN.items():
        assert f"![{shown(kind, name, studies).caption}]({stem(kind, name)}.png)" in text


def test_a_picture_of_a_study_that_is_not_there_is_named(studies):
    with pytest.raises(ConfigError, match="unknown input of the figure regimes 'nothing'"):
        shown("regimes", "nothing", studies)


def test_every_place_of_the_paper_has_a_picture_or_a_reason():
    lines = (PICTURES / "README.md").read_text(encoding="utf-8").split("## Beyond it")[0]
    rows = [line for line in lines.splitlines() if line.startswith(("| Fig", "| Tab", "| App"))]
    assert len(rows) >= 20
    for row in rows:
        last = row.split("|")[-2].strip()
        assert last.startswith("none: ") or "picture" in last or last == "a table", row
