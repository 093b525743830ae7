"""From a store, or from what was recorded of it, to figures, tables and a report."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from small_studies import run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.evidence.catalogue import EVIDENCE, record
from rethinklab.evidence.groups import grouped
from rethinklab.evidence.missing import Missing
from rethinklab.evidence.stored import StoredStudy
from rethinklab.evidence.tables import labelled, load_table, save_table
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.gallery import make, overview
from rethinklab.figures.paper_items import ITEMS, readme
from rethinklab.figures.paper_tables import TABLES
from rethinklab.figures.sources import RecordedSource, StoreSource
from rethinklab.report import write_report


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("gallery")
    images = write_task(root / "images")
    place = rl.Store(root / "store")
    run(small_study(images, regimes=["finetune", "scratch-e"]), place)
    run(small_study(images, method="weight-level", regimes=["finetune", "scratch-e"], seeds=1),
        place)
    return place


@pytest.fixture(scope="module")
def stored(store):
    return StoredStudy("l1", store)


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """Where both studies were recorded."""
    place = tmp_path_factory.mktemp("recorded")
    for name in ("l1", "weight-level"):
        record(StoredStudy(name, store), place)
    return place


def test_a_stored_network_gives_its_stored_accuracy(stored):
    frame = stored.results.frame
    for _, trial in frame.iterrows():
        network = stored.network(str(trial["regime"]), int(trial["seed"]))
        accuracy, _ = rl.evaluate(network, stored.data)
        assert accuracy == pytest.approx(trial["test_accuracy"])


def test_beginnings_are_what_the_regimes_start_from(stored):
    plan, large = stored.plan(0), stored.network("unpruned", 0)
    inherited = plan.apply(large).state_dict()
    begun = stored.beginning("finetune", 0).state_dict()
    assert all((inherited[name] == begun[name]).all() for name in inherited)
    fresh = stored.beginning("scratch-e", 0).state_dict()
    assert any((fresh[name] != begun[name]).any() for name in fresh)
    initial = stored.beginning("unpruned", 0).state_dict()
    assert any((initial[name] != value).any() for name, value in large.state_dict().items())


def test_what_is_not_there_is_said(stored):
    with pytest.raises(Missing, match="scratch-b"):
        stored.network("scratch-b", 0)
    with pytest.raises(Missing, match="seed 7"):
        stored.history("finetune", 7)


def test_tables_come_back_as_they_were_saved(tmp_path):
    frame = labelled(pd.DataFrame({"layer": ["a", "b"], "share": [0.125, np.nan]}), "quick; cpu")
    save_table(frame, tmp_path / "t.csv")
    back = load_table(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(back, frame)
    assert back.attrs["label"] == "quick; cpu"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="first line"):
        load_table(tmp_path / "other.csv")


def test_recorded_tables_draw_the_same_figures_as_the_store(store, folder):
    live, kept = StoreSource(store), RecordedSource(folder)
    drawn = 0
    for name, kind in FIGURES.items():
        if name == "latency":  # measured anew
            continue
        first, second = kind.collect(live).inputs, kind.collect(kept).inputs
        assert len(first) == len(second), name
        for one, two in zip(first.values(), second.values(), strict=True):
            a, b = (kind.draw(given, width=5.5) for given in (one, two))
            assert a.note == b.note
            assert list(a.numbers.columns) == list(b.numbers.columns)
            for column in a.numbers.select_dtypes("number"):
                np.testing.assert_allclose(a.numbers[column], b.numbers[column], rtol=1e-3,
                                           atol=1e-4, err_msg=name)
            drawn += 1
    assert drawn > 12


def test_recorded_tables_are_small_and_say_where_they_are_from(folder):
    files = list(folder.rglob("*.csv"))
    assert {path.parent.name for path in files} - {folder.name} <= set(EVIDENCE)
    for path in files:
        assert path.stat().st_size < 200_000
        label = (rl.Results.load(path).label if path.parent == folder else
                 load_table(path).attrs["label"])
        assert label.startswith("Quick scale")


def test_everything_possible_is_drawn_and_the_rest_has_a_reason(store, tmp_path):
    made = list(make(StoreSource(store), out=tmp_path, formats=["png"]))
    for drawn in made:
        assert bool(drawn.paths) != bool(drawn.reason)
        assert all(path.is_file() for path in drawn.paths)
    assert {drawn.kind for drawn in made} == {*FIGURES, *TABLES}
    reasons = {drawn.kind: drawn.reason for drawn in made if not drawn.paths}
    assert {"efficiency", "lottery", "targets", "scales"} <= set(reasons)
    origin = json.loads(next(tmp_path.glob("regimes-l1*.json")).read_text())
    addresses = StoreSource(store, ["l1"]).studies().popitem()[1].frame["address"]
    assert origin["results"] == sorted(addresses)
    assert origin["figure"] == "regimes"
    for path in tmp_path.glob("stage_ratios-*.json"):  # of a group: its own studies and no others
        (name,) = [n for n in ("l1", "weight-level") if n in path.name]
        used = StoreSource(store, [name]).studies().popitem()[1].frame["address"]
        assert json.loads(path.read_text())["results"] == sorted(used)


def test_studies_of_one_target_that_were_trained_otherwise_are_not_merged(stored, tmp_path):
    first = stored.results
    longer = first.frame.assign(epochs=first.frame["epochs"] * 2, regime=first.frame["regime"]
                                .astype(str))
    second = rl.Results(longer, first.margin, first.label, "longer-abcdef")
    groups = grouped({"a": first, "b": second}, ())
    assert sorted(map(tuple, groups.values())) == [("a",), ("b",)]
    assert grouped({"a": first, "b": second}, ("epochs",)).popitem()[1] == ["a", "b"]


def test_another_study_is_not_overwritten(store, folder, tmp_path):
    record(StoredStudy("l1", store), tmp_path, "same")
    record(StoredStudy("l1", store), tmp_path, "same")  # of the same study: what is new
    before = (tmp_path / "same.csv").read_bytes()
    with pytest.raises(ConfigError, match="holds another study"):
        record(StoredStudy("weight-level", store), tmp_path, "same")
    assert (tmp_path / "same.csv").read_bytes() == before


def test_a_broken_table_costs_its_own_figures_only(folder, tmp_path):
    place = tmp_path / "copy"
    shutil.copytree(folder, place)
    broken = next((place / "weights").glob("*.csv"))
    broken.write_text("nonsense")
    found = RecordedSource(place).tables("weights")
    assert any("first line" in reason for reason in found.missing)
    assert len(found.inputs) == len(list((place / "weights").glob("*.csv"))) - 1


def test_a_quick_look_computes_nothing_from_networks(store):
    rows = {name: (inputs, missing) for name, _, inputs, missing in
            overview(StoreSource(store, cheap=True))}
    assert set(rows) == set(FIGURES)
    assert rows["barrier"][0] == []
    assert "computed" in rows["barrier"][1][0]
    assert "--method uniform" in rows["efficiency"][1][0]


def test_every_figure_of_the_paper_is_drawn_or_has_a_reason(folder):
    places = [item.place for item in ITEMS]
    assert {f"Figure {n}" for n in range(1, 9)} | {f"Table {n}" for n in range(1, 9)} < set(places)
    for item in ITEMS:
        assert item.kinds or item.reason
        assert set(item.kinds) <= {*FIGURES, *TABLES}
    text = readme(["pipeline.png", "table1.txt", "weights-x.png"], RecordedSource(folder))
    assert "[pipeline](pipeline.png)" in text
    assert "| Figure 7 |" in text
    assert "none yet" in text


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.pictures, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag == "img":
            self.pictures.append(given)
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_needs_nothing_else(store, stored, tmp_path):
    path = write_report("l1", store, tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.pictures) >= 8
    assert all(picture["alt"].endswith(".") for picture in page.pictures)
    for address in stored.results.frame["address"]:
        assert address in text
    for regime, mean in stored.results.summary()["mean"].items():
        assert f"{mean:.2f}" in text, regime
    assert str(stored.results.verdicts()[0]).split("\n")[0].replace("'", "&#39;")[:40] in text


def test_the_report_escapes_what_names_hold(store, stored):
    from rethinklab.report import render

    evil = rl.Results(stored.results.frame, 1.0, "<script>alert(1)</script>", "name")
    assert "<script>" not in render(evil, [], [])
