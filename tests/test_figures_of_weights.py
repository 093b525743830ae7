"""Figures of weights draw their tables, number by number."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from figure_cases_weights import CASES
from matplotlib.patches import StepPatch

from rethinklab.analysis.weights import ALL
from rethinklab.errors import ConfigError
from rethinklab.figures.histograms import weight_layers, weights
from rethinklab.figures.kernels import kernels
from rethinklab.figures.movement import movement
from rethinklab.figures.overlap import overlap
from rethinklab.figures.scales import scales
from rethinklab.trainers.regimes import regime_title

DRAW = {"weights": weights, "weight_layers": weight_layers, "scales": scales,
        "movement": movement, "overlap": overlap, "kernels": kernels}


@pytest.mark.parametrize(("name", "case"), [(n, c) for n, cases in CASES.items() for c in cases])
def test_captions_are_sentences_even_where_numbers_are_unknown(name, case):
    caption = DRAW[name](CASES[name][case]()).caption
    assert caption.endswith(".")
    assert not {"nan", "inf"} & set(re.split(r"\W+", caption))


@pytest.mark.parametrize("name", CASES)
def test_a_table_without_its_columns_or_rows_is_refused(name):
    frame = CASES[name]["usual"]()
    column = {"movement": "distance", "overlap": "chance", "kernels": "keep"}.get(name, "share")
    with pytest.raises(ConfigError, match=column):
        DRAW[name](frame.drop(columns=column))
    with pytest.raises(ConfigError, match="rethinklab record"):
        DRAW[name](frame.iloc[:0])
    if name in ("weight_layers", "movement", "overlap"):
        with pytest.raises(ConfigError, match="single layers"):
            DRAW[name](frame[frame["layer"] == ALL])
    if name == "weights":
        with pytest.raises(ConfigError, match="'all'"):
            weights(frame[frame["layer"] != ALL])


def steps(axes):
    """The histograms in a panel as (edges, shares)."""
    return [(patch.get_data().edges, patch.get_data().values) for patch in axes.patches
            if isinstance(patch, StepPatch)]


def inner(rows):
    rows = rows[np.isfinite(rows["lower"]) & np.isfinite(rows["upper"])
                & (rows["upper"] > rows["lower"])].sort_values("lower")
    return [*rows["lower"], rows["upper"].iloc[-1]], (rows["share"] * 100).tolist()


def test_weights_draws_the_shares_of_the_whole_network():
    frame = CASES["weights"]["zeros"]()
    figure = weights(frame)
    panels = {axes.get_title().split("\n")[0]: axes for axes in figure.axes}
    for network, rows in frame[frame["layer"] == ALL].groupby("network"):
        axes = panels[regime_title(network)]
        ((edges, shares),) = steps(axes)
        assert edges == pytest.approx(inner(rows)[0])
        assert shares == pytest.approx(inner(rows)[1])
        exact = rows.loc[rows["lower"] == rows["upper"], "share"].iloc[0] * 100
        assert axes.lines[0].get_ydata()[-1] == pytest.approx(exact)
        assert ("20 % live" in axes.get_title()) == (network != "unpruned")
    assert "exactly zero" in "".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_layers_are_drawn_each_in_its_panel():
    frame = CASES["weight_layers"]["usual"]()
    for axes in weight_layers(frame).axes[:13]:
        rows = frame[frame["layer"] == axes.get_title()]
        drawn = steps(axes)
        for (edges, shares), (_, own) in zip(drawn, rows.groupby("network", sort=False),
                                             strict=True):
            assert (edges, shares) == (pytest.approx(inner(own)[0]), pytest.approx(inner(own)[1]))
    many = weight_layers(CASES["weight_layers"]["110 layers"]())
    assert many.numbers["layer"].nunique() == 20
    assert "20 of 110 layers" in many.caption


def test_a_spike_makes_the_axis_logarithmic_and_hides_no_bin():
    usual, spiky = (weights(CASES["weights"][case]()) for case in ("usual", "spike"))
    assert usual.axes[0].get_yscale() == "linear"
    assert spiky.axes[0].get_yscale() == "log"
    low = spiky.axes[0].get_ylim()[0]
    known = spiky.numbers[np.isfinite(spiky.numbers["lower"] + spiky.numbers["upper"])]
    assert low <= max(1e-3, known.loc[known["share"] > 0, "share"].min())


def test_a_network_that_is_not_finite_is_no_empty_histogram():
    figure = weights(CASES["weights"]["all NaN"]())
    assert [t.get_text() for t in figure.axes[0].texts] == ["not finite"]
    assert not steps(figure.axes[0])


def test_scales_draws_both_networks():
    frame = CASES["scales"]["usual"]()
    figure = scales(frame)
    for axes in figure.axes[:14]:
        layer = ALL if axes.get_title() == "all layers" else axes.get_title()
        rows = frame[frame["layer"] == layer]
        for (edges, shares), network in zip(steps(axes), ("unpruned", "pruned_from"), strict=True):
            own = inner(rows[rows["network"] == network])
            assert (edges, shares) == (pytest.approx(own[0]), pytest.approx(own[1]))


def test_movement_draws_means_and_seeds():
    frame = CASES["movement"]["NaN"]()
    figure = movement(frame)
    for axes, value, factor in zip(figure.axes, ("sign_agreement", "distance"), (100, 1),
                                   strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        for regime, own in frame[frame["layer"] != ALL].groupby("regime"):
            means = own.groupby("place")[value].agg(lambda v: v.mean(skipna=False)) * factor
            drawn = lines[regime_title(regime)].get_ydata()
            assert np.asarray(drawn, float) == pytest.approx(means.to_numpy(), nan_ok=True)
        dots = np.concatenate([c.get_offsets()[:, 1].compressed() for c in axes.collections])
        given_ = frame.loc[frame["layer"] != ALL, value].dropna() * factor
        assert sorted(dots) == pytest.approx(sorted(given_))


def test_overlap_draws_means_chance_and_pairs():
    frame = CASES["overlap"]["usual"]()
    figure = overlap(frame)
    axes = figure.axes[0]
    single = frame[frame["layer"] != ALL]
    means = single.groupby("place")[["overlap", "chance"]].mean() * 100
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert np.asarray(lines["kept by both seeds"]) == pytest.approx(means["overlap"].to_numpy())
    assert np.asarray(lines["expected by chance"]) == pytest.approx(means["chance"].to_numpy())
    dots = sorted(axes.collections[0].get_offsets()[:, 1].tolist())
    assert dots == pytest.approx(sorted(single["overlap"] * 100))
    assert f"{frame.loc[frame['layer'] == ALL, 'overlap'].mean():.1%}"[:-1] in figure.caption


def test_kernels_prints_every_number_on_one_scale():
    frame = CASES["kernels"]["NaN"]()
    figure = kernels(frame)
    panels = [axes for axes in figure.axes if axes.images]
    assert len({(image.norm.vmin, image.norm.vmax) for axes in panels
                for image in axes.images}) == 1
    for axes, (_, own) in zip(panels, frame.groupby("stage", sort=False), strict=True):
        picture = axes.images[0].get_array()
        assert np.ma.filled(picture, np.nan).flatten() == pytest.approx(
            (own["keep"] * 100).to_numpy(), nan_ok=True)
        printed = [text.get_text() for text in axes.texts]
        assert printed == ["–" if math.isnan(v) else f"{100 * v:.0f}" for v in own["keep"]]
