"""The figure of regimes, the exporter's errors, and looks that all readers can tell apart."""

from __future__ import annotations

import matplotlib.colors
import numpy as np
import pytest
from figure_cases import results

import rethinklab as rl
from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures import style


def test_plotted_numbers_are_the_results():
    given = results()
    figure = rl.figures.regimes(given)
    dots = [c for c in figure.axes[0].collections if len(c.get_offsets()) == 3
            and hasattr(c, "get_sizes") and len(c.get_sizes())]
    drawn = sorted(float(y) for c in dots for _, y in c.get_offsets())
    assert drawn == pytest.approx(sorted(given.frame["test_accuracy"] * 100))
    assert sorted(figure.numbers["accuracy"]) == pytest.approx(drawn)
    for regime, mean in given.summary()["mean"].items():
        assert f"{mean:.2f} %" in figure.caption, regime


def test_bad_formats_and_places_are_named(tmp_path):
    figure = rl.figures.regimes(results())
    with pytest.raises(ConfigError, match="jpg"):
        rl.figures.export(figure, "fig", tmp_path, ["jpg"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(RethinkError, match="--out"):
        rl.figures.export(figure, "fig", tmp_path / "file")


def simulate(colour, matrix):
    """A colour as seen with a colour vision deficiency, in linear light (Vienot et al. 1999)."""
    linear = np.array(colour) ** 2.2
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


VISIONS = {
    "full": np.eye(3),
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("vision", VISIONS)
def test_regimes_are_told_apart_by_all_readers(vision):
    looks = style.regime_looks()
    assert len({look["marker"] for look in looks.values()}) == len(looks)
    of_the_study = ("unpruned", "finetune", "scratch-e", "scratch-b", "scratch-b-capped")
    seen = [simulate(matplotlib.colors.to_rgb(looks[name]["color"]), VISIONS[vision])
            for name in of_the_study]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[i + 1 :]]
    assert min(distances) > 0.1


def test_every_regime_and_share_has_a_look():
    looks = style.regime_looks()
    assert set(looks) == {"unpruned", *rl.REGIMES}
    assert style.regime_look("finetune:0.5") == looks["finetune"]
    assert style.regime_look("sx-b") == looks["scratch-b-full"]


def test_style_does_not_leak():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    rl.figures.regimes(results())
    assert dict(mpl.rcParams) == before
