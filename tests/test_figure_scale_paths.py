"""The figure of the paths of scales."""

import pandas as pd
import pytest

from rethinklab.errors import ConfigError
from rethinklab.figures.scale_paths import scale_paths, zero_from

VALUES = {("hovers", "a"): [1, 0, 0.1, -0.1, 0.1], ("stops", "a"): [1, 0, 0.5, 0, 0],
          ("hovers", "b"): [1, 2, 2, 2, 2], ("stops", "b"): [1, 2, 2, 2, 2]}
TABLE = pd.DataFrame([(method, step, scale, value, 0.0 if scale == "a" else 2.0)
                      for (method, scale), values in VALUES.items()
                      for step, value in enumerate(values)],
                     columns=["method", "step", "scale", "value", "solution"])


def test_paths_are_drawn_whole_and_near_zero_and_the_caption_counts_zeros():
    figure = scale_paths(TABLE)
    upper, other, lower, last = figure.axes
    assert [line.get_label() for line in upper.lines[:2]] == ["a: 0", "b: +2.00"]
    assert list(upper.lines[0].get_ydata()) == VALUES["hovers", "a"]
    assert [list(line.get_ydata()) for line in lower.lines] == [[0.1, -0.1, 0.1]]
    assert other.get_title() == "stops"
    assert [3] in [list(line.get_xdata()) for line in other.lines]  # where it stops
    assert len(last.lines) == 2
    assert "hovers leaves 0 of 1 exactly zero and stops leaves 1 of 1" in figure.caption
    assert figure.get_figwidth() == 5.5
    pd.testing.assert_frame_equal(
        figure.numbers, TABLE.sort_values("step", kind="stable").reset_index(drop=True))


@pytest.mark.parametrize(("values", "start"), [([1, 0, 0], 1), ([0, 0], 0), ([0, 1, 0, 0, 0], 2),
                                               ([0, 0, 1], None)])
def test_zero_from_the_last_time(values, start):
    assert zero_from(pd.DataFrame({"step": range(len(values)), "value": values})) == start


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="solution"):
        scale_paths(TABLE.drop(columns="solution"))
    with pytest.raises(ConfigError, match="rows"):
        scale_paths(TABLE.iloc[:0])
