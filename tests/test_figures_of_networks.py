"""The figures of data, plans and layers, and the sensitivity scan that one of them shows."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.data import Images
from rethinklab.errors import ConfigError, PlanError
from rethinklab.figures.scores import score_table
from rethinklab.pruners.sensitivity import sensitivity


@pytest.fixture(scope="module")
def model():
    return rl.build_model("vgg11", width=0.125, seed=1)


@pytest.fixture(scope="module")
def plan(model, small):
    return rl.pruners.L1Norm({"features.0": 0.5, "features.8": 8}).fit(model, small)


def test_scan_has_a_row_for_each_layer_and_ratio_and_starts_unpruned(model, small):
    scan = sensitivity(model, small, (0.0, 0.5))
    assert list(scan.columns) == ["layer", "ratio", "accuracy"]
    assert len(scan) == 8 * 2
    unpruned, _ = rl.evaluate(model, small.hold_out(0.1))
    assert set(scan.loc[scan["ratio"] == 0, "accuracy"]) == {unpruned}


def test_scan_measures_what_the_pruned_network_does(model, small):
    scan = sensitivity(model, small, (0.5,), ["features.4"])
    pruned = rl.pruners.L1Norm({"features.4": 0.5}).fit(model, small).apply(model)
    assert scan["accuracy"].tolist() == [rl.evaluate(pruned, small.hold_out(0.1))[0]]


def test_scan_never_reads_the_test_images(model, small):
    poisoned = replace(small, test=Images(torch.zeros_like(small.test.pixels),
                                          torch.zeros_like(small.test.labels)))
    pd.testing.assert_frame_equal(sensitivity(model, small, (0.5,)),
                                  sensitivity(model, poisoned, (0.5,)))


def test_scan_leaves_the_model_alone_and_names_a_wrong_layer(model, small):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sensitivity(model, small, (0.75,), ["features.0"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ConfigError, match=r"features\.1.*features\.0"):
        sensitivity(model, small, (0.5,), ["features.1"])
    with pytest.raises(PlanError, match="empty"):
        sensitivity(model, small, (0.99,), ["features.0"])


def test_scores_are_sorted_normalised_and_cut_from_below(model, plan):
    table = score_table(model, plan)
    for name, layer in table.groupby("layer", sort=False):
        assert layer["score"].iloc[0] == 1
        assert layer["score"].is_monotonic_decreasing
        assert layer["kept"].tolist() == sorted(layer["kept"], reverse=True)
        assert sorted(layer.loc[layer["kept"], "filter"]) == list(plan.keep[name])


def test_figures_say_what_they_show(model, plan, small):
    scan = sensitivity(model, small, (0.0, 0.5), ["features.0", "features.25"])
    for figure in (rl.figures.samples(small, rows=1, columns=5), rl.figures.widths(plan),
                   rl.figures.scores(model, plan), rl.figures.sensitivity(scan)):
        assert isinstance(figure.numbers, pd.DataFrame)
        assert len(figure.numbers)
        assert figure.caption.endswith(".")
        assert figure.note
        assert figure.get_figwidth() == 5.5
        figure.canvas.draw()


def test_sensitivity_draws_a_line_a_layer_through_its_accuracies(model, small):
    scan = sensitivity(model, small, (0.5, 0.0, 0.75), ["features.0", "features.8"])
    figure = rl.figures.sensitivity(scan)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["features.0", "features.8"]
    for name, line in lines.items():
        rows = scan[scan["layer"] == name].sort_values("ratio")
        assert line.get_xdata().tolist() == pytest.approx((100 * rows["ratio"]).tolist())
        assert line.get_ydata().tolist() == pytest.approx((100 * rows["accuracy"]).tolist())
    assert figure.numbers["accuracy"].tolist() == scan["accuracy"].tolist()


def test_samples_show_the_class_they_name(small):
    numbers = rl.figures.samples(small, rows=2, columns=10).numbers
    assert numbers["class"].tolist() == 2 * list(small.classes)
    labels = small.train.labels[torch.tensor(numbers["index"].tolist())]
    assert [small.classes[label] for label in labels] == numbers["class"].tolist()
    assert numbers["index"].is_unique


def test_widths_of_many_layers_thin_their_names(small):
    deep = nn.Sequential(*[nn.Conv2d(3 if n == 0 else 4, 4, 3, padding=1) for n in range(30)],
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    figure = rl.figures.widths(rl.pruners.L1Norm(0.5).fit(deep, small))
    assert len(figure.axes[0].get_xticklabels()) <= 20


def test_a_scan_without_a_column_is_named():
    with pytest.raises(ConfigError, match="no column ratio"):
        rl.figures.sensitivity(pd.DataFrame({"layer": ["a"], "accuracy": [1.0]}))


def test_surgery_counts_the_kernels_that_go_with_the_filters(model, small):
    """Against the weights of the pruned network itself."""
    plan = rl.pruners.L1Norm({"features.0": 3, "features.4": 10}).fit(model, small)
    numbers = rl.figures.surgery(model, plan).numbers.set_index("layer")
    pruned = plan.apply(model)
    for name, row in numbers.iterrows():
        weights = [net.get_submodule(name).weight for net in (model, pruned)]
        assert [row["kernels_before"], row["kernels_after"]] == [
            weight.shape[0] * weight.shape[1] for weight in weights]
    assert numbers["filters_gone"].tolist() == [8 - 3, 16 - 10]
    assert numbers["channels_gone"].tolist() == [0, 8 - 3]


@pytest.mark.parametrize("layers", [("features.0", "features.8"), ("features.4", "features.0"),
                                    ("features.0",), ("features.0", "classifier"), ("", "none")])
def test_surgery_of_layers_that_do_not_follow_each_other_is_refused(layers, model, plan):
    with pytest.raises(ConfigError):
        rl.figures.surgery(model, plan, layers)


def test_surgery_of_layers_too_wide_to_draw_is_refused(small):
    wide = rl.build_model("vgg11", width=1.5)
    plan = rl.pruners.L1Norm({"features.0": 0.5}).fit(wide, small)
    with pytest.raises(ConfigError, match="narrower"):
        rl.figures.surgery(wide, plan)
