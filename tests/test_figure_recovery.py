"""The figure of what becomes of filters that soft filter pruning zeroes."""

import pandas as pd
import pytest

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.figures.recovery import recovery

TABLE = pd.DataFrame([("new", 2, 5, 3, 2), ("new", 3, 5, 4, 1), ("trained", 2, 0, 6, 4)],
                     columns=["start", "epoch", "still_zero", "zeroed_again", "came_back"])


def test_bars_stack_the_counts_and_the_caption_sums_them():
    figure = recovery(TABLE)
    pd.testing.assert_frame_equal(figure.numbers, TABLE)
    first, second = figure.axes
    assert [bar.get_height() for bar in first.patches] == [5, 5, 3, 4, 2, 1]
    assert [bar.get_y() for bar in first.patches] == [0, 0, 5, 5, 8, 9]
    assert [bar.get_height() for bar in second.patches] == [0, 6, 4]
    assert "new: 10 still zero, 7 grown and zeroed again, 3 came back" in figure.caption
    assert figure.caption.endswith(".")
    assert figure.get_figwidth() == 5.5


def test_it_is_among_the_figures_and_names_what_is_missing():
    assert rl.figures.recovery is recovery
    with pytest.raises(ConfigError, match="came_back"):
        recovery(TABLE.drop(columns="came_back"))
    with pytest.raises(ConfigError, match="rows"):
        recovery(TABLE.iloc[:0])
