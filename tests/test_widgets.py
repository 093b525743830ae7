"""Every widget draws at every value that its controls offer, and says in words what it shows."""

import itertools
from copy import deepcopy

import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection
from small_networks import scramble_statistics
from torch import nn
from widget_cases import is_shown, moved, paired_results, width_tables

import rethinklab as rl
from rethinklab.analysis.weights import conv_weights
from rethinklab.errors import ConfigError
from rethinklab.figures.style import finish, paper_figure, paper_style
from rethinklab.notebook import widgets
from rethinklab.notebook.execute import LIVE, clean
from rethinklab.notebook.widgets.channels import activation_maps
from rethinklab.notebook.widgets.explorer import Explorer, number, slider
from rethinklab.notebook.widgets.prune_and_see import Cutter
from rethinklab.trainers.histograms import HistogramRecorder, epoch_histograms

NATIVE = (ipywidgets.SelectionSlider, ipywidgets.Dropdown, ipywidgets.IntSlider,
          ipywidgets.ToggleButtons)  # a keyboard reaches and moves them
RECIPE = rl.Recipe(epochs=2, lr=0.02, batch_size=50)
NAMES = ("prune_and_see", "weight_histograms", "channel_pictures", "architecture_patterns",
         "budget_explorer")


@pytest.fixture(scope="module")
def held(digits):
    return digits.subset(400, 10).hold_out(0.25)


@pytest.fixture(scope="module")
def model():
    return scramble_statistics(rl.build_model("vgg11", width=0.125, seed=3))


@pytest.fixture(scope="module")
def recorded(model, held):
    recorder = HistogramRecorder()
    trained = rl.train(model, held, RECIPE, callbacks=[recorder], progress=False, device="cpu")
    return recorder, trained.model


@pytest.fixture(scope="module")
def plan(model, held):
    return rl.pruners.L1Norm(0.5).fit(model, held)


@pytest.fixture(scope="module")
def tables():
    return width_tables()


@pytest.fixture(scope="module")
def results():
    return paired_results()


@pytest.fixture(scope="module")
def explorers(model, held, recorded, plan, tables, results):
    made = (widgets.prune_and_see(model, held, images=60),
            widgets.weight_histograms(recorded[0].table()),
            widgets.channel_pictures(model, plan, held),
            widgets.architecture_patterns({"both": tables["both"],
                                           "channels": tables["channels"]}),
            widgets.budget_explorer(results))
    return dict(zip(NAMES, made, strict=True))


@pytest.fixture(params=NAMES)
def explorer(request, explorers):
    return explorers[request.param]


def offered(control):
    if hasattr(control, "options"):
        return [value for _, value in control.options]
    return list(range(control.min, control.max + 1))


def some(values, most):
    """So many of the values, both ends among them."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def test_a_sample_of_values_and_all_extremes_together_draw(explorer):
    """Values of each control, and the ends of all of them combined; never two pictures under one
    caption."""
    values = {name: offered(control) for name, control in explorer.controls.items()}
    first = {name: choices[0] for name, choices in values.items()}
    wanted = [first | {name: value} for name, choices in values.items()
              for value in some(choices, 7)]
    wanted += [dict(zip(values, chosen, strict=True)) for chosen
               in itertools.product(*(some(choices, 2) for choices in values.values()))]
    captions = {}
    for chosen in wanted:
        moved(explorer, chosen)
        assert is_shown(explorer), (chosen, explorer.caption)
        picture = bytes(explorer.picture.value)
        assert picture.startswith(b"\x89PNG"), chosen
        assert len(explorer.caption) > 20
        assert explorer.caption.endswith(".")
        assert captions.setdefault(explorer.caption, picture) == picture, chosen
    assert len(captions) > len(first)


def test_views_are_pure(explorer):
    values = {name: offered(control)[-1] for name, control in explorer.controls.items()}
    once = [explorer.view(**values) for _ in range(2)]
    pd.testing.assert_frame_equal(once[0].numbers, once[1].numbers)
    explorer._drawn.clear()
    drawn = explorer.draw(**values)
    explorer.draw(**{name: offered(control)[0] for name, control in explorer.controls.items()})
    explorer._drawn.clear()
    assert explorer.draw(**values) == drawn
    assert once[0].caption == drawn[1]


def test_static_copy_has_picture_and_alternative_text(explorer):
    moved(explorer, {name: offered(control)[0] for name, control in explorer.controls.items()})
    data, about = explorer._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png", LIVE}
    assert data["text/plain"] == about["image/png"]["alt"] == explorer.caption
    assert about["image/png"]["note"] == explorer.note
    output = nbformat.v4.new_output("execute_result", data, execution_count=1, metadata=about)
    cell = nbformat.v4.new_code_cell("explorer", execution_count=1, outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    clean(notebook)
    nbformat.validate(notebook)
    left = notebook.cells[0].outputs[0]
    assert set(left.data) == {"text/plain", "image/png"}  # what readers without a kernel have
    assert left.metadata["image/png"]["alt"] == explorer.caption


def test_a_keyboard_reaches_all_controls_and_each_has_a_name(explorer):
    names = [control.description for control in explorer.controls.values()]
    assert all(names)
    assert len(set(names)) == len(names)
    for control in explorer.controls.values():
        assert isinstance(control, NATIVE)
        assert control.tabbable is not False
        assert not control.disabled
    assert explorer.picture.tooltip
    assert explorer.picture.get_state()["description"] == ""  # or the browser's side of it fails
    assert explorer.picture.layout.max_width == "100%"
    assert 'role="status"' in explorer.words.value
    assert 'aria-live="polite"' in explorer.words.value
    assert list(explorer.widget.children) == [*explorer.controls.values(), explorer.picture,
                                              explorer.words]


def plain(level):
    """A picture of one number."""
    if level == 3:
        raise ConfigError("three is <not> a level.")
    with paper_style():
        figure = paper_figure(2, 1)
        figure.add_subplot().plot([0, level])
        return finish(figure, pd.DataFrame({"level": [level]}), f"The level is {level}.", "label")


def test_an_error_of_the_view_is_shown_as_text_until_the_next_picture():
    explorer = Explorer(plain, {"level": number("Level", 1, 4)})
    explorer.controls["level"].value = 3
    assert not is_shown(explorer)
    assert "three is &lt;not&gt; a level." in explorer.words.value
    data, about = explorer._repr_mimebundle_()
    assert data["text/plain"] == "three is <not> a level."
    assert "image/png" not in data
    assert about == {}
    explorer.controls["level"].value = 4
    assert is_shown(explorer)
    assert "The level is 4." in explorer.words.value


def test_other_errors_are_not_hidden():
    def broken(level):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Explorer(broken, {"level": number("Level", 1, 4)})


def test_the_last_pictures_are_remembered_and_no_more(monkeypatch):
    monkeypatch.setattr("rethinklab.notebook.widgets.explorer.REMEMBERED", 2)
    asked = []

    def view(level):
        asked.append(level)
        return plain(level)

    explorer = Explorer(view, {"level": number("Level", 10, 20)})
    for level in (11, 10, 11):
        explorer.controls["level"].value = level
    assert asked == [10, 11]
    for level in (12, 11, 10):  # 10 was seen before 11, and had to go
        explorer.controls["level"].value = level
    assert asked == [10, 11, 12, 10]
    assert len(explorer._drawn) == 2


def test_a_control_without_a_name_or_values_is_refused():
    with pytest.raises(ConfigError, match=r"'level'.*description"):
        Explorer(plain, {"level": ipywidgets.IntSlider()})
    with pytest.raises(ConfigError, match="at least one value"):
        slider("Level", [])


def test_what_is_costly_waits_until_the_slider_rests(explorers):
    assert not explorers["prune_and_see"].controls["ratio"].continuous_update
    assert explorers["weight_histograms"].controls["epoch"].continuous_update


@pytest.mark.parametrize("method", ["l1", "random", "shuffled"])
@pytest.mark.parametrize("layer", ["all", "features.8"])
def test_a_cut_is_that_of_the_package(model, held, method, layer):
    cutter = Cutter(model, held)
    target = 0.5 if layer == "all" else {layer: 0.5}
    theirs = rl.make_pruner(method, target).fit(model, held)
    outcome, quick = cutter.cut(method, layer, 0.5), cutter.plan(method, layer, 0.5)
    assert set(quick.keep) <= set(theirs.keep)
    assert all(theirs.keep[name] == kept for name, kept in quick.keep.items())
    assert {name: outcome.after[name] for name in theirs.keep} == theirs.kept_widths
    assert outcome.params == (theirs.before.params, theirs.after.params)
    assert outcome.macs == (theirs.before.macs, theirs.after.macs)
    assert outcome.accuracy == (rl.evaluate(model, held)[0],
                                rl.evaluate(theirs.apply(model), held)[0])


def test_a_cut_of_nothing_leaves_all(model, held):
    outcome = Cutter(model, held).cut("l1", "all", 0.0)
    assert outcome.before == outcome.after
    for before, after in (outcome.params, outcome.macs, outcome.accuracy):
        assert before == after


def test_a_method_that_removes_no_filters_says_so(model, held):
    explorer = widgets.prune_and_see(model, held, methods=("l1", "weight-level"), images=20)
    moved(explorer, {"method": "weight-level", "layer": "all", "ratio": 0.5})
    assert not is_shown(explorer)
    assert explorer.caption.startswith("weight-level removes no filters")


def test_pruning_and_looking_leave_the_network_alone(model, held, plan):
    before = deepcopy(model.state_dict())
    moved(widgets.prune_and_see(model, held, images=20),
          {"method": "random", "layer": "all", "ratio": 0.9})
    widgets.channel_pictures(model, plan, held)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_maps_are_what_follows_the_convolution(model, held):
    images = next(iter(rl.data.batches.test_batches(held, "cpu")))[0][:1]
    maps, steps = activation_maps(model, "features.4", images)
    with torch.no_grad():
        model.eval()
        expected = model.features[:7](images)[0].numpy()
    assert steps == ("batch normalisation", "ReLU")
    assert isinstance(model.features[6], nn.ReLU)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-6)


def test_kept_and_cut_channels_are_told_apart_by_form(explorers, plan):
    """A frame for each that stays and a cross, two strokes, for each that goes."""
    explorer = explorers["channel_pictures"]
    layer = "features.8"
    figure = explorer.view(layer=layer, image=0)
    lines = [c for c in figure.axes[2].collections if isinstance(c, LineCollection)]
    frames, _, crosses = (len(c.get_segments()) for c in lines)
    assert frames == len(plan.keep[layer])
    assert crosses == 2 * (plan.widths[layer] - len(plan.keep[layer]))
    assert figure.numbers["kept"].sum() == frames
    for word in ("kept", "cut"):
        assert word in figure.caption
        assert word in figure.texts[-1].get_text()


def test_a_plan_without_channels_has_no_channel_pictures(model, held):
    masked = rl.make_pruner("weight-level", 0.5).fit(model, held)
    with pytest.raises(ConfigError, match="no channels of convolutions"):
        widgets.channel_pictures(model, masked, held)


def test_recorder_keeps_the_weights_before_training_and_after_each_epoch(recorded, model):
    recorder, trained = recorded
    assert list(recorder.snapshots) == [0, 1, 2]
    for epoch, network in ((0, model), (2, trained)):
        for name, weight in conv_weights(network.state_dict()).items():
            assert torch.equal(recorder.snapshots[epoch][name], weight), (epoch, name)


def test_recording_changes_nothing(recorded, model, held):
    without = rl.train(model, held, RECIPE, progress=False, device="cpu").model.state_dict()
    assert all(torch.equal(value, without[name])
               for name, value in recorded[1].state_dict().items())


def test_histograms_by_epoch_share_bins_and_hold_every_weight(recorded):
    table = recorded[0].table(bins=20)
    assert set(table["epoch"]) == {0, 1, 2}
    assert table["layer"].iloc[0] == "all"
    for _, rows in table.groupby(["epoch", "layer"]):
        assert rows["share"].sum() == pytest.approx(1)
    for _, rows in table.groupby("layer"):
        assert rows.groupby(["lower", "upper"]).size().eq(3).all()


def test_histograms_need_weights():
    with pytest.raises(ConfigError, match="no weights of convolutions"):
        epoch_histograms({})
    with pytest.raises(ConfigError, match="HistogramRecorder"):
        widgets.weight_histograms(pd.DataFrame({"epoch": [0]}))


def test_histograms_of_exact_zeros_mark_them():
    weights = {"a": torch.tensor([0.0, 0.0, 0.1, -0.1])}
    explorer = widgets.weight_histograms(epoch_histograms({0: weights, 3: weights}))
    assert explorer.values == {"layer": "all", "epoch": 3}
    text = explorer.view(**explorer.values).texts[-1].get_text()
    assert "Diamond: exactly zero." in text
