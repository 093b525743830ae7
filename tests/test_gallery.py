"""From a store, or from what was recorded of it, to figures, tables and a report."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from small_studies import run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, Missing
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.gallery import make, overview
from rethinklab.figures.paper_items import ITEMS
from rethinklab.figures.report import render, write_report
from rethinklab.results import TABLES as KINDS
from rethinklab.results.groups import grouped
from rethinklab.results.paper_tables import TABLES
from rethinklab.results.stored import StoredStudy


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
    return StoredStudy.named("l1", store)


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """Where both studies were recorded."""
    place = tmp_path_factory.mktemp("recorded")
    for name in ("l1", "weight-level"):
        rl.load_results(name, store).save(place / name)
    return place


def test_a_stored_network_gives_its_stored_accuracy(stored):
    frame = stored.frame
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


def test_recorded_tables_draw_the_same_figures_as_the_store(store, folder):
    live, kept = rl.load_studies(store), rl.load_studies(folder)
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


def test_a_record_is_small_and_holds_nothing_of_this_machine(folder, store):
    for path in folder.rglob("*.*"):
        assert path.stat().st_size < 200_000
        assert str(store.root.parent) not in path.read_text()
        assert path.parent.parent == folder
        assert path.stem in {*KINDS, "study", "trials"}
    for results in rl.load_studies(folder).values():
        assert results.label.startswith("Quick scale")
        assert results.table("widths").attrs["label"] == results.label
        scanned = results.table("sensitivity").attrs
        assert scanned["label"] == f"{results.label}; {scanned['note']}"


@pytest.mark.slow
def test_everything_possible_is_drawn_and_the_rest_has_a_reason(store, tmp_path):
    made = list(make(rl.load_studies(store), out=tmp_path, formats=["png"]))
    for drawn in made:
        assert bool(drawn.paths) != bool(drawn.reason)
        assert all(path.is_file() for path in drawn.paths)
    assert {drawn.kind for drawn in made} == {*FIGURES, *TABLES}
    reasons = {drawn.kind: drawn.reason for drawn in made if not drawn.paths}
    assert {"efficiency", "lottery", "targets", "scales"} <= set(reasons)
    origin = json.loads(next(tmp_path.glob("regimes-l1*.json")).read_text())
    addresses = rl.load_results("l1", store).frame["address"]
    assert origin["results"] == sorted(addresses)
    assert origin["figure"] == "regimes"
    for path in tmp_path.glob("stage_ratios-*.json"):  # of a group: its own studies and no others
        (name,) = [n for n in ("l1", "weight-level") if n in path.name]
        used = rl.load_results(name, store).frame["address"]
        assert json.loads(path.read_text())["results"] == sorted(used)


def test_studies_of_one_target_that_were_trained_otherwise_are_not_merged(stored, tmp_path):
    first = rl.Results.of(stored)
    longer = first.frame.assign(epochs=first.frame["epochs"] * 2, regime=first.frame["regime"]
                                .astype(str))
    second = rl.Results(longer, first.margin, first.label, "longer-abcdef",
                        first.settings)
    groups = grouped({"a": first, "b": second}, ())
    assert sorted(map(tuple, groups.values())) == [("a",), ("b",)]
    assert grouped({"a": first, "b": second}, ("epochs",)).popitem()[1] == ["a", "b"]


def test_another_study_is_not_overwritten(store, tmp_path):
    one, other = (rl.load_results(name, store) for name in ("l1", "weight-level"))
    one.save(tmp_path / "same", ("widths", "histories"))
    one.save(tmp_path / "same", ("widths",))  # of the same study: what is new
    before = {path.name: path.read_bytes() for path in (tmp_path / "same").iterdir()}
    assert set(before) == {"study.json", "trials.csv", "widths.csv"}
    with pytest.raises(ConfigError, match="holds another study"):
        other.save(tmp_path / "same")
    assert {path.name: path.read_bytes() for path in (tmp_path / "same").iterdir()} == before
    with pytest.raises(ConfigError, match="letters, digits"):
        one.save(tmp_path / "a name")


def test_a_broken_table_costs_its_own_figures_only(folder, tmp_path):
    place = tmp_path / "copy"
    shutil.copytree(folder, place)
    (place / "l1" / "weights.csv").write_text("")
    (place / "weight-level" / "kernels.csv").write_text("stage,row,column,keep\n")
    studies = rl.load_studies(place)
    found = FIGURES["weights"].collect(studies)
    assert any("weights.csv cannot be read" in reason for reason in found.missing)
    assert list(found.inputs) == ["weight-level"]
    assert any("no rows" in reason for reason in FIGURES["kernels"].collect(studies).missing)


def test_a_quick_look_computes_nothing_from_networks(store):
    rows = {name: (inputs, missing) for name, _, inputs, missing in
            overview(rl.load_studies(store), cheap=True)}
    assert set(rows) == set(FIGURES)
    assert rows["barrier"][0] == []
    assert "computed" in rows["barrier"][1][0]
    assert "--method uniform" in rows["efficiency"][1][0]


def test_every_figure_of_the_paper_is_drawn_or_has_a_reason():
    places = [item.place for item in ITEMS]
    assert {f"Figure {n}" for n in range(1, 9)} | {f"Table {n}" for n in range(1, 9)} < set(places)
    for item in ITEMS:
        assert item.kinds or item.reason
        assert set(item.kinds) <= {*FIGURES, *TABLES}


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


@pytest.mark.slow
def test_the_report_is_one_page_that_needs_nothing_else(store, stored, tmp_path):
    path = write_report(rl.load_results("l1", store), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.pictures) >= 8
    assert all(picture["alt"].endswith(".") for picture in page.pictures)
    for address in stored.frame["address"]:
        assert address in text
    for regime, mean in rl.Results.of(stored).summary()["mean"].items():
        assert f"{mean:.2f}" in text, regime
    verdict = str(rl.Results.of(stored).verdicts()[0])
    assert verdict.split("\n")[0].replace("'", "&#39;")[:40] in text


def test_the_report_escapes_what_names_hold(store, stored):
    evil = rl.Results(stored.frame, 1.0, "<script>alert(1)</script>", "name")
    assert "<script>" not in render(evil, [], [])
