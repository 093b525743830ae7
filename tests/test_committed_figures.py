"""Every figure and table can be drawn from data/results; the one that is committed shows them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.forest import forest
from rethinklab.figures.paper_items import ITEMS, SHOWN, row
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


def test_the_picture_of_readme_shows_the_recorded_results(studies):
    (table,) = FIGURES["forest"].collect(studies).inputs.values()
    committed = pd.read_csv(PICTURES / "forest.csv")
    pd.testing.assert_frame_equal(committed, forest(table).numbers, check_dtype=False, rtol=1e-6,
                                  obj=AGAIN)
    assert {path.name for path in PICTURES.iterdir()} == {
        f"forest.{form}" for form in ("csv", "json", "png")}


def test_what_the_gallery_prefers_is_there(studies):
    for kind, name in SHOWN.items():
        assert name in FIGURES[kind].collect(studies).inputs


def test_every_place_of_the_paper_has_a_picture_or_a_reason(studies):
    assert len(ITEMS) >= 20
    for item in ITEMS:
        last = row(item, studies).split("|")[-2].strip()
        assert last.startswith("none: ") or "picture" in last or last == "a table", last
