"""Tables and figures of architectures: what was found, as plain loops count it; what is drawn, as
the marks on the page say it."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from figure_cases_architectures import CASES, VGG_16, both_units, decided, designs, several, widths
from hypothesis import given, settings
from hypothesis import strategies as st
from small_studies import run, small_study, write_pair

import rethinklab as rl
from rethinklab.analysis.architectures import stage_table, width_table
from rethinklab.errors import ConfigError, Missing
from rethinklab.pruners import Slimming, make_pruner
from rethinklab.pruners.plan import make_plan
from rethinklab.pruners.stages import layer_sides
from rethinklab.results.efficiency import efficiency_tables
from rethinklab.results.stored import StoredStudy
from rethinklab.results.widths import gather_widths, plan_widths

SHAPE = (3, 32, 32)
COLUMNS = ["layer", "place", "side", "seed", "before", "after", "unit"]


def figure_of(name):
    return getattr(importlib.import_module(f"rethinklab.figures.{name}"), name)


# --- tables

@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("architectures")
    images, store = write_pair(root / "images"), rl.Store(root / "store")
    short = rl.Recipe(epochs=1, lr=0.02, batch_size=16)
    slim = {"strength": 0.01, "minimum": 1}
    made = {
        "found": small_study(images, method="slimming", method_options=slim, recipe=short,
                             regimes=["scratch-e"]),
        **{design: small_study(images, method=design, recipe=short, regimes=["scratch-e"],
                               method_options={"of": "slimming", "options": slim})
           for design in ("uniform", "guided")},
        "transferred": small_study(images, method="transferred", recipe=short,
                                   regimes=["scratch-e"]),
        "plain": small_study(images, regimes=[], recipe=short, width=0.05),
    }
    results = {name: run(study, store) for name, study in made.items()}
    return store, results


def test_widths_of_a_stored_study(stored, tmp_path):
    store, results = stored
    study = StoredStudy.named(results["found"].name, store)
    table = gather_widths(study)
    assert list(table) == COLUMNS
    assert table.attrs["label"] == results["found"].label
    assert set(table["unit"]) == {"channels"}
    for seed in (0, 1):
        plan, own = study.plan(seed), table[table["seed"] == seed]
        assert dict(zip(own["layer"], own["after"], strict=True)) == plan.kept_widths
        assert dict(zip(own["layer"], own["before"], strict=True)) == dict(plan.widths)
        convolutions = own[own["side"] > 0]
        assert list(convolutions["place"]) == list(range(1, 9))
        assert list(convolutions["side"])[::3] == sorted(convolutions["side"][::3])[::-1]
        linear = own[own["side"] == 0]
        assert set(linear["layer"]) <= {"classifier.0"}
    results["found"].save(tmp_path / "found", ["widths"])
    again = rl.load_results(tmp_path / "found").table("widths")
    pd.testing.assert_frame_equal(again, table)
    pd.testing.assert_frame_equal(results["found"].table("widths"), table)


def test_a_study_without_plans_has_no_widths(stored):
    store, results = stored
    with pytest.raises(Missing, match="no plan"):
        gather_widths(StoredStudy.named(results["plain"].name, store))


def rows_of(plan, model):
    return pd.DataFrame(plan_widths(plan, model, layer_sides(model, SHAPE)))


def test_selections_and_widths_are_counted_apart(digits):
    model = rl.build_model("preresnet20", width=0.5)
    plan = Slimming(0.4).rehearse(model, digits)
    table = rows_of(plan, model)
    read = table[table["unit"] == "read channels"].set_index("layer")
    assert dict(read["after"]) == {name: len(chosen) for name, chosen in plan.read.items()}
    assert read.loc["stages.1.1.conv1", "before"] == model.get_submodule(
        "stages.1.1.conv1").in_channels
    assert len(table[table["unit"] == "channels"]) == len(plan.keep)


def test_weights_and_whole_filters_are_told_apart(digits):
    model = rl.build_model("resnet20", width=0.25)
    plan = make_pruner("weight-level", 0.8).fit(model, digits)
    table = rows_of(plan, model)
    assert set(table["unit"]) == {"weights"}
    assert table["after"].sum() == sum(int(mask.sum()) for mask in plan.masks.values())
    filters = rows_of(make_pruner("soft-filter", 0.5).rehearse(model, digits), model)
    assert set(filters["unit"]) == {"channels"}
    assert (filters["after"] == filters["before"] / 2).all()


def test_a_removed_branch_leaves_nothing_of_its_layers():
    model = rl.build_model("resnet20", width=0.25)
    plan = make_plan(model, "sss", 0.5, SHAPE, {}, {}, {}, branches=("layer2.1",))
    table = rows_of(plan, model)
    assert len(table) == 18
    assert set(table.loc[table["after"] == 0, "layer"]) == {"layer2.1.conv1", "layer2.1.conv2"}
    rest = table[table["after"] > 0]
    assert (rest["after"] == rest["before"]).all()


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_widths_and_stages_as_loops_count_them(seeds, layers, draw):
    random = np.random.default_rng(draw)
    before = random.integers(4, 64, layers)
    sides = sorted(random.choice([32, 16, 8], layers), reverse=True)
    frame = pd.DataFrame([
        {"layer": f"l{n}", "place": n + 1, "side": sides[n], "seed": seed, "before": before[n],
         "after": random.integers(1, before[n] + 1), "unit": unit}
        for unit in ("weights", "channels") for seed in range(seeds) for n in range(layers)])
    table = width_table(frame.sample(frac=1, random_state=draw))
    assert list(table["unit"].unique()) == ["channels", "weights"]
    for _, row in table.iterrows():
        values = frame[(frame["unit"] == row["unit"]) & (frame["layer"] == row["layer"])]["after"]
        assert row["mean"] == pytest.approx(sum(values) / len(values))
        assert np.isnan(row["sd"]) if seeds == 1 else row["sd"] == pytest.approx(
            np.std(values, ddof=1))
    stages = stage_table(frame)
    for unit in ("channels", "weights"):
        own = stages[stages["unit"] == unit]
        assert list(own["side"]) == sorted(set(sides), reverse=True)
        for _, row in own.iterrows():
            shares = []
            for seed in range(seeds):
                part = frame[(frame["unit"] == unit) & (frame["side"] == row["side"])
                             & (frame["seed"] == seed)]
                ratios = [a / b for a, b in zip(part["after"], part["before"], strict=True)]
                shares.append(sum(ratios) / len(ratios) if unit == "channels"
                              else sum(part["after"]) / sum(part["before"]))
            assert row["layers"] == len(ratios)
            assert row["mean"] == pytest.approx(np.mean(shares))


def test_table_7_of_the_reference_widths():
    table = width_table(widths(spread=0))
    assert (table["original"].sum(), table["mean"].sum()) == (4224, 1689)
    assert list(table["original"]) == list(VGG_16)
    stages = stage_table(widths(spread=0))
    assert list(stages["side"]) == [32, 16, 8, 4, 2]
    assert list(stages["mean"].round(6)) == list(rl.pruners.Transferred(0.6).stages["channels"])


def test_designs_of_stored_studies_meet_in_one_table(stored, tmp_path):
    _, results = stored
    tables = efficiency_tables(list(results.values()))
    assert len(tables) == 1
    (name, table), = tables.items()
    assert name.startswith("slimming-vgg11-images-quick")
    assert list(table) == ["design", "of", "settings", "target", "seed", "params", "macs",
                           "accuracy", "regime"]
    assert dict(table["design"].value_counts()) == dict.fromkeys(
        ("found", "uniform", "guided", "transferred"), 2)
    assert set(table["regime"]) == {"scratch-e"}
    for design, own in results.items():
        if design != "plain":
            frame = own.frame[own.frame["regime"] == "scratch-e"].set_index("seed")
            rows = table[table["design"] == design].set_index("seed")
            assert dict(rows["accuracy"]) == dict(frame["test_accuracy"])
            assert dict(rows["params"]) == dict(frame["params"])
    assert set(table.loc[table["design"] == "uniform", "settings"]) == {"equal parameters"}
    for design, own in results.items():
        own.save(tmp_path / design, ())
    again = [rl.load_results(tmp_path / design) for design in results]
    pd.testing.assert_frame_equal(efficiency_tables(again)[name], table)


def study_of(method, options=None, target="0.5", **more):
    """Made-up results of a study with two seeds."""
    about = {"dataset": "digits", "model": "vgg16", "method": method, "target": target,
             "scale": "quick", "width": 0.125, "recipe": {"lr": more.pop("lr", 0.05)},
             "precision": "fp32", "method_options": options or {}}
    about |= {name: more.pop(name) for name in list(more) if name in about}
    row = {"data": "digits", "epochs": 6, "params": 100, "macs": 1000, "seconds": 1.0,
           "train_images": 100, "test_images": 10, "test_accuracy": 0.9, "device": "cpu", **more}
    frame = pd.DataFrame([{**row, "regime": regime, "seed": seed}
                          for regime in ("unpruned", "scratch-e") for seed in (0, 1)])
    return rl.Results(frame, 1.0, f"by {method}", method, about)


SLIM = {"strength": 0.01, "minimum": 1}
OF_SLIM = {"of": "slimming", "options": SLIM}


@pytest.mark.parametrize("apart", [
    {"dataset": "other"}, {"model": "vgg19"}, {"scale": "paper"}, {"width": 0.25}, {"epochs": 9},
    {"train_images": 50}, {"lr": 0.1}, {"options": {"of": "l1", "options": {}}},
    {"options": {"of": "slimming", "options": {"strength": 0.1}}}, {"options": {}},
    {"method": "random", "options": OF_SLIM}, {"method": "no-such-method", "options": OF_SLIM}])
def test_what_cannot_be_compared_stays_apart(apart):
    found = study_of("slimming", SLIM)
    settings = {"method": "guided", "options": OF_SLIM, **apart}
    assert efficiency_tables([found, study_of(**settings)]) == {}
    assert set(efficiency_tables([found, study_of("guided", OF_SLIM)])) == {
        "slimming-vgg16-digits-quick"}


def test_groups_of_designs():
    shares = {"channels": [0.5] * 5}
    positions = {"3x3": [[[0.5] * 3] * 3] * 5}
    level = {"of": "weight-level", "options": {}}
    tables = efficiency_tables([
        study_of("slimming", SLIM), study_of("slimming", SLIM, "0.7"),
        study_of("uniform", {**OF_SLIM, "at": "params"}),
        study_of("uniform", {**OF_SLIM, "at": "macs"}),
        study_of("transferred", {"stages": shares}), study_of("l1"), study_of("weight-level"),
        study_of("guided", level), study_of("uniform", {**level, "choose": "random"}),
        study_of("transferred", {"stages": positions}, "0.8"),
        study_of("guided", {"of": "sss", "options": {"structures": "branches"}})])
    assert set(tables) == {"slimming-vgg16-digits-quick", "l1-vgg16-digits-quick",
                           "weight-level-vgg16-digits-quick"}
    slim = tables["slimming-vgg16-digits-quick"]
    assert set(slim.loc[slim["design"] == "uniform", "settings"]) == {"equal MACs",
                                                                      "equal parameters"}
    assert set(slim.loc[slim["design"] == "found", "target"]) == {"0.5", "0.7"}
    assert set(slim.loc[slim["design"] == "transferred", "target"]) == {"0.5"}
    level = tables["weight-level-vgg16-digits-quick"]
    assert set(level["design"]) == {"found", "guided", "uniform", "transferred"}
    assert set(level.loc[level["design"] == "transferred", "target"]) == {"0.8"}
    assert level.attrs["label"].startswith(
        "Quick scale; weight-level, target 0.5; guided, target 0.5; uniform, target 0.5; "
        "transferred, target 0.8, on vgg16, width 0.125")
    assert "; multiply-adds of masked" in level.attrs["label"]
    assert level.attrs["studies"] == ["weight-level", "guided", "uniform", "transferred"]


def test_studies_of_another_large_network_or_hyperparameter_are_not_merged():
    """Two of one name, target and seeds: neither may vanish behind the other."""
    several = [study_of("slimming", SLIM), study_of("guided", OF_SLIM),
               study_of("slimming", SLIM, params=700), study_of("guided", OF_SLIM, params=700),
               study_of("slimming", {**SLIM, "minimum": 2})]
    tables = efficiency_tables(several)
    assert len(tables) == 2
    assert [set(table["params"]) for table in tables.values()] == [{100}, {700}]
    assert all(len(table) == 4 for table in tables.values())


def test_results_that_do_not_tell_their_settings_are_no_failure():
    silent = [rl.Results(study_of(method).frame.astype({"regime": str}), 1.0, method, method)
              for method in ("l1", "uniform")]
    assert efficiency_tables(silent) == {}
    assert efficiency_tables([]) == {}


# --- figures

def bars(axes, number):
    """Heights of the n-th series of bars on the axes."""
    return [patch.get_height() for patch in axes.containers[number]]


def containers(axes):
    return [c for c in axes.containers if c.__class__.__name__ == "ErrorbarContainer"]


@pytest.mark.parametrize("case", ["usual", "110 layers", "weights"])
def test_bars_are_the_widths(case):
    frame = CASES["layer_widths"][case]()
    figure = figure_of("layer_widths")(frame)
    table = width_table(frame)
    (axes,) = figure.axes
    drawn = [c for c in axes.containers if c.__class__.__name__ == "BarContainer"]
    assert [p.get_height() for p in drawn[0]] == list(table["original"])
    assert [p.get_height() for p in drawn[1]] == pytest.approx(list(table["mean"]))
    pd.testing.assert_frame_equal(figure.numbers, table)
    if case == "usual":
        dots = sorted(y for c in axes.collections if len(c.get_offsets()) == len(frame)
                      for _, y in c.get_offsets())
        assert dots == sorted(frame["after"])
        assert [int(t.get_text()) for t in axes.texts] == [round(m) for m in table["mean"]]
        assert [t.get_text() for t in axes.get_xticklabels()] == list(table["layer"])


def test_what_a_unit_counts_has_a_panel_of_its_own():
    figure = figure_of("layer_widths")(both_units())
    assert [axes.get_ylabel() for axes in figure.axes] == ["Channels", "Channels read"]
    assert "read channels" in figure.caption


def test_a_width_that_is_missing_is_a_gap():
    frame = CASES["layer_widths"]["NaN in all seeds"]()
    (axes,) = figure_of("layer_widths")(frame).axes
    heights = [p.get_height() for p in axes.containers[1]]
    assert [place for place, height in enumerate(heights) if np.isnan(height)] == [4]
    assert not any(text.get_text() == "0" for text in axes.texts)


def test_lines_are_what_stages_keep():
    frame = several(3)
    figure = figure_of("stage_ratios")(frame)
    (axes,) = figure.axes
    assert len(containers(axes)) == 3
    for study, container in zip(frame["study"].unique(), containers(axes), strict=True):
        table = stage_table(frame[frame["study"] == study])
        line = container.lines[0]
        assert list(line.get_ydata()) == pytest.approx(list(table["mean"] * 100))
        assert [round(x) for x in line.get_xdata()] == [0, 1, 2, 3, 4]
        (segments,) = container.lines[2]
        half = [(s[1][1] - s[0][1]) / 2 for s in segments.get_segments()]
        assert half == pytest.approx(list(table["sd"] * 100))
    assert [t.get_text() for t in axes.get_xticklabels()] == [
        f"{s}×{s}" for s in (32, 16, 8, 4, 2)]
    assert len({line.lines[0].get_marker() for line in containers(axes)}) == 3
    dots = [y for c in axes.collections if len(c.get_offsets()) == 15 for _, y in c.get_offsets()]
    own = [stage_table(part) for _, part in frame.groupby(["study", "seed"])]
    assert sorted(dots) == pytest.approx(sorted(pd.concat(own)["mean"] * 100))


def test_rows_are_the_two_ways_to_decide():
    figure = figure_of("targets")(decided())
    first, second = figure.axes
    assert first.get_title(loc="left").startswith("Predefined: by the user (l1")
    assert second.get_title(loc="left").startswith("Automatic: by the method (slimming")
    assert bars(first, 1) == [50.0] * 13
    table = width_table(widths())
    assert bars(second, 1) == pytest.approx(list(100 * table["mean"] / table["original"]))
    assert "predefined (l1 0.5) 50% in 13 layers" in figure.caption


def test_marks_are_the_means_of_the_designs():
    frame = designs(("transferred", "found", "uniform", "guided"))
    figure = figure_of("efficiency")(frame)
    for axes, column in zip(figure.axes, ("params", "macs"), strict=True):
        assert axes.get_xscale() == "log"
        names = ("found", "uniform", "guided", "transferred")
        for design, container in zip(names, containers(axes), strict=True):
            groups = frame[frame["design"] == design].groupby("target")
            means = pd.DataFrame({"x": groups[column].mean(), "y": groups["accuracy"].mean() * 100,
                                  "sd": groups["accuracy"].std() * 100}).sort_values("x")
            line = container.lines[0]
            assert list(line.get_xdata()) == pytest.approx(list(means["x"]))
            assert list(line.get_ydata()) == pytest.approx(list(means["y"]))
            (segments,) = container.lines[2]
            assert [(s[1][1] - s[0][1]) / 2 for s in segments.get_segments()] == pytest.approx(
                list(means["sd"]))
            assert line.get_color() == rl.figures.style.design_look(design)["color"]
        dots = sum(len(c.get_offsets()) for c in axes.collections
                   if c.__class__.__name__ == "PathCollection")
        assert dots == len(frame)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == ["Found by slimming", "Guided", "Transferred", "Uniform"]
    assert figure.axes[0].get_xlabel() == "Parameters"
    masked = figure_of("efficiency")(designs(of="weight-level"))
    assert masked.axes[0].get_xlabel() == "Parameters not zero"


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_drawn_is_said(name):
    usual = CASES[name]["usual"]()
    value = "accuracy" if name == "efficiency" else "after"
    with pytest.raises(ConfigError, match=f"lacks {value}"):
        figure_of(name)(usual.drop(columns=value))
    for empty in (usual.iloc[:0], usual.assign(**{value: np.nan})):
        with pytest.raises(ConfigError, match="no row"):
            figure_of(name)(empty)


def test_other_kinds_and_designs_are_named():
    with pytest.raises(ConfigError, match="kind 'own' of a target must be predefined or"):
        figure_of("targets")(decided().assign(kind="own"))
    with pytest.raises(ConfigError, match="design 'own' must be one of found"):
        figure_of("efficiency")(designs().assign(design="own"))
