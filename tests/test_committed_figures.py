"""The pictures in figures/ show the results in data/results, and their list is up to date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rethinklab.errors import ConfigError
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.gallery import stem
from rethinklab.figures.paper_items import readme
from rethinklab.figures.paper_tables import TABLES, paper_table_of
from rethinklab.figures.sources import RecordedSource

ROOT = Path(__file__).resolve().parent.parent
PICTURES, RESULTS = ROOT / "figures", ROOT / "data" / "results"
AGAIN = "`make figures` draws them anew"


@pytest.fixture(scope="module")
def source():
    return RecordedSource(RESULTS)


@pytest.mark.parametrize("kind", FIGURES)
def test_pictures_show_the_recorded_results(kind, source):
    for name, given in FIGURES[kind].collect(source).inputs.items():
        path = PICTURES / f"{stem(kind, name)}.csv"
        try:
            figure = FIGURES[kind].draw(given, width=5.5)
        except ConfigError:
            assert not path.exists(), f"{path} cannot be drawn any more"
            continue
        assert path.is_file(), f"{path} is missing; {AGAIN}"
        for form in ("pdf", "png", "json"):
            assert path.with_suffix(f".{form}").is_file(), f"{path.stem}.{form} is missing; {AGAIN}"
        drawn = pd.read_csv(path)
        assert list(drawn.columns) == list(figure.numbers.columns), f"{path} is old; {AGAIN}"
        for column in figure.numbers.select_dtypes("number"):
            np.testing.assert_allclose(drawn[column], figure.numbers[column], rtol=1e-8,
                                       err_msg=f"{path} is old; {AGAIN}")


def test_no_picture_is_left_of_something_else(source):
    expected = {stem(kind, name) for kind in FIGURES
                for name in FIGURES[kind].collect(source).inputs} | set(TABLES) | {"README"}
    found = {path.stem for path in PICTURES.iterdir()}
    assert found <= expected, f"{found - expected} show nothing that is recorded"


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_the_recorded_results(name, source):
    table = paper_table_of(name, source.studies().values())
    assert (PICTURES / f"{name}.txt").read_text(encoding="utf-8") == f"{table}\n", AGAIN
    assert (PICTURES / f"{name}.csv").read_text(encoding="utf-8") == table.csv
    assert (PICTURES / f"{name}.tex").read_text(encoding="utf-8") == f"{table.latex}\n"


def test_the_list_of_figures_is_up_to_date(source):
    files = sorted(path.name for path in PICTURES.iterdir())
    assert (PICTURES / "README.md").read_text(encoding="utf-8") == readme(files, source), AGAIN


def test_every_place_of_the_paper_has_a_picture_or_a_reason():
    lines = (PICTURES / "README.md").read_text(encoding="utf-8").split("## Beyond it")[0]
    rows = [line for line in lines.splitlines() if line.startswith(("| Fig", "| Tab", "| App"))]
    assert len(rows) >= 20
    for row in rows:
        last = row.split("|")[-2].strip()
        assert last.startswith(("[", "none: ")), row
