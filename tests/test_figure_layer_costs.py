"""The figure of where the costs of a network sit."""

from __future__ import annotations

import pytest
from figure_checks import problems

from rethinklab.errors import ConfigError
from rethinklab.figures.layer_costs import layer_costs

CASES = {
    "usual": {"conv1": (100, 900), "conv2": (300, 90), "fc": (600, 10)},
    "one layer": {"conv1": (9, 81)},
    "a layer without parameters": {"pool": (0, 5), "conv1": (9, 81)},
    "110 layers": {f"layer{n // 18}.{n % 18}.conv1": (n + 1, 110 - n) for n in range(110)},
}


@pytest.mark.parametrize("case", CASES)
def test_text_of_the_figure_is_in_order(case):
    assert problems(layer_costs(CASES[case], "made up")) == []


def test_bars_are_the_shares_of_the_given_costs():
    figure = layer_costs(CASES["usual"])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([10, 30, 60, 90, 9, 1])
    assert figure.numbers["macs"].tolist() == [900, 90, 10]
    assert "first 2 have 99 % of the MACs and 40 % of the parameters" in figure.caption
    assert "most MACs are in conv1 (90 %), most parameters in fc (60 %)" in figure.caption


@pytest.mark.parametrize("costs", [{}, {"pool": (0, 0)}, {"pool": (0, 3)}, {"norm": (4, 0)}])
def test_a_network_without_costs_is_refused(costs):
    with pytest.raises(ConfigError, match="the layers have no"):
        layer_costs(costs)
