"""The figures that compare what methods keep and what the layers lose by it."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from figure_checks import problems

import rethinklab as rl
from rethinklab.data.batches import plain_batches
from rethinklab.errors import ConfigError
from rethinklab.figures.kept import kept_table
from rethinklab.figures.layer_errors import method_looks
from rethinklab.pruners.reconstruction import layer_error

SHAPE = SimpleNamespace(input_shape=(3, 32, 32))
METHODS = {"l1": rl.pruners.L1Norm, "random": rl.pruners.RandomChoice}


@pytest.fixture(scope="module")
def model():
    return rl.build_model("vgg11", width=0.125, seed=1)


@pytest.fixture(scope="module")
def plans(model):
    return {name: method({"features.0": 0.5, "features.8": 10}).fit(model, SHAPE)
            for name, method in METHODS.items()}


def errors(layers=8, methods=("l1", "thinet", "regression", "thinet, not rescaled")):
    return {method: {f"features.{layer}": 0.5 ** (place + 1) / (1 + layer)
                     for layer in range(layers)} for place, method in enumerate(methods)}


def test_kept_has_each_channel_of_each_plan_in_order_of_its_norm(model, plans):
    table = kept_table(model, plans)
    assert len(table) == 2 * (8 + 32)  # no other layer is cut
    for (layer, method), rows in table.groupby(["layer", "method"]):
        assert sorted(rows.loc[rows["kept"], "channel"]) == list(plans[method].keep[layer])
        norms = model.get_submodule(layer).weight.abs().sum((1, 2, 3))[rows["channel"].tolist()]
        assert (norms.diff() <= 0).all()
        if method == "l1":
            assert rows["kept"].tolist() == sorted(rows["kept"], reverse=True)


def test_kept_says_what_two_plans_share(model, plans):
    figure = rl.figures.kept(model, plans)
    shared = sum(len({*plans["l1"].keep[name]} & {*plans["random"].keep[name]})
                 for name in ("features.0", "features.8"))
    assert figure.caption == (f"Of 40 channels in 2 layers l1 keeps 14; of these random keeps "
                              f"{shared}.")
    assert rl.figures.kept(model, {"l1": plans["l1"]}).caption.endswith("l1 keeps 14.")


@pytest.mark.parametrize("layers", [("features.0",), ("features.0", "features.4", "features.8")])
def test_kept_fits_the_page(model, layers):
    plans = {name: method(dict.fromkeys(layers, 0.5)).fit(model, SHAPE)
             for name, method in METHODS.items()}
    figure = rl.figures.kept(model, plans)
    assert problems(figure) == []
    assert figure.get_figwidth() == 5.5
    assert figure.note


def test_kept_wants_plans_for_the_same_layers(model, plans):
    wide = rl.build_model("vgg11", width=0.25)
    other = rl.pruners.L1Norm({"features.4": 0.5}).fit(wide, SHAPE)
    whole = rl.pruners.L1Norm({"features.0": 8}).fit(model, SHAPE)
    for given in ({}, {**plans, "other": other}, {"l1": whole}):
        with pytest.raises(ConfigError, match="same layers"):
            rl.figures.kept(model, given)


def test_layer_errors_draws_a_line_a_method_through_its_errors():
    given = errors()
    figure = rl.figures.layer_errors(given, layer="Pruned layer", label="made up")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "Pruned layer"
    for line, (method, values) in zip(axes.lines, given.items(), strict=True):
        assert line.get_label() == method
        assert list(line.get_ydata()) == pytest.approx([100 * v for v in values.values()])
    assert len(figure.numbers) == 8 * 4
    assert figure.note == "made up"
    assert "l1" in figure.caption


def test_layer_errors_takes_a_table_as_well():
    given = errors()
    figures = [rl.figures.layer_errors(form) for form in (given, pd.DataFrame(given))]
    pd.testing.assert_frame_equal(figures[0].numbers, figures[1].numbers)
    assert figures[0].caption == figures[1].caption


@pytest.mark.parametrize("layers", [1, 8, 60])
def test_layer_errors_fits_the_page(layers):
    assert problems(rl.figures.layer_errors(errors(layers), label="word " * 30)) == []


def test_layer_errors_must_be_fractions():
    for wrong in ({}, {"l1": {"a": 0.0}}, {"l1": {"a": 0.1, "b": -0.1}}):
        with pytest.raises(ConfigError, match="fractions"):
            rl.figures.layer_errors(wrong)


def test_a_method_looks_the_same_in_every_figure():
    few, many = method_looks(["thinet"]), method_looks(["random", "apart", "thinet"])
    assert few["thinet"] == many["thinet"]
    assert many["apart"]["color"] != many["thinet"]["color"]


def test_the_error_of_a_layer_is_its_definition(model, plans, small):
    images = torch.cat([images for images, _ in plain_batches(small, small.test)])[:20]
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pruned = plans["l1"].apply(model)
    found = layer_error(model, pruned, "features.4", images)  # reads features.0, is not cut
    inputs = [network.eval().features[:4](images) for network in (model, pruned)]
    exact, other = (torch.nn.functional.conv2d(x, network.features[4].weight,
                                               network.features[4].bias, padding=1)
                    for x, network in zip(inputs, (model, pruned), strict=True))
    wanted = (other - exact).double().square().sum() / exact.double().square().sum()
    assert 0 < found == pytest.approx(wanted.item(), rel=1e-5)
    assert layer_error(model, model, "features.4", images) == 0
    kept = plans["l1"].keep["features.0"]
    assert layer_error(model, pruned, "features.0", images, kept) == pytest.approx(0, abs=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_error_of_a_layer_leaves_the_mode_of_every_part(model, plans, small):
    images = next(plain_batches(small, small.test))[0][:4]
    model.train()
    model.features[1].eval()  # a frozen normalisation
    layer_error(model, plans["l1"].apply(model), "features.4", images)
    assert model.training
    assert not model.features[1].training
    model.train()
