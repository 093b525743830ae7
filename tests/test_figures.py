"""Figures: right size, fonts that embed, the numbers that were given, the same bytes twice."""

from __future__ import annotations

import re

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import rethinklab as rl
from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures import style

REGIMES = ["unpruned", "finetune", "scratch-e", "scratch-b"]


def results(seeds=3, regimes=tuple(REGIMES), spread=0.01, label="Quick scale; cpu; 3 seeds"):
    random = np.random.default_rng(0)
    rows = [{"regime": regime, "seed": seed, "params": 1e6, "macs": 2e6, "epochs": 5,
             "seconds": 1.0, "test_accuracy": 0.9 + spread * random.normal()}
            for regime in regimes for seed in range(seeds)]
    return rl.Results(pd.DataFrame(rows), 1.0, label)


HARD = {
    "usual": {}, "one seed": {"seeds": 1}, "one regime": {"regimes": ("finetune",)},
    "no fine-tuning": {"regimes": ("unpruned", "scratch-e")}, "all alike": {"spread": 0.0},
    "many seeds": {"seeds": 40}, "long label": {"label": "word " * 60},
    "all regimes": {"regimes": (*REGIMES, "scratch-b-capped")},
}


@pytest.mark.parametrize("case", HARD)
def test_nothing_overlaps_or_leaves_the_page(case):
    figure = rl.figures.regimes(results(**HARD[case]))
    with style.paper_style():
        figure.draw_without_rendering()
    renderer = figure._get_renderer()
    page = figure.bbox
    axes = figure.axes[0]
    hidden = [label for axis, limits in ((axes.xaxis, axes.get_xlim()),
                                         (axes.yaxis, axes.get_ylim()))
              for tick, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
              if not limits[0] <= tick <= limits[1]]
    texts = [t for t in figure.findobj(match=lambda a: hasattr(a, "get_text"))
             if t.get_visible() and t.get_text() and t not in hidden]
    for text in texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= page.x0 - 1, text
        assert box.x1 <= page.x1 + 1, text
        assert box.y0 >= page.y0 - 1, text
        assert box.y1 <= page.y1 + 1, text
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [label.get_window_extent(renderer) for label in axis.get_ticklabels()
                 if label.get_text() and label not in hidden]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert "%" in axes.get_ylabel()


def test_missing_accuracies_are_survived():
    broken = results()
    broken.frame.loc[2, "test_accuracy"] = np.nan
    figure = rl.figures.regimes(broken)
    with style.paper_style():
        figure.draw_without_rendering()
    assert len(figure.numbers) == 12


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


def test_export_has_the_right_size_and_embedded_fonts(tmp_path):
    paths = rl.figures.export(rl.figures.regimes(results()), "fig", tmp_path,
                              ["pdf", "png", "svg"])
    assert [p.name for p in paths] == ["fig.pdf", "fig.png", "fig.svg", "fig.csv", "fig.json"]
    pdf = paths[0].read_bytes()
    width, height = map(float, re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf).groups())
    assert (width / 72, height / 72) == pytest.approx((5.5, 2.6), abs=0.01)
    assert b"/Type3" not in pdf
    assert b"/Subtype /Type0" in pdf or b"/FontFile2" in pdf
    assert Image.open(paths[1]).size == (1650, 780)
    assert len(pd.read_csv(paths[3])) == 12


def test_files_are_byte_identical_when_made_twice(tmp_path):
    first = rl.figures.export(rl.figures.regimes(results()), "fig", tmp_path / "a",
                              ["pdf", "png", "svg"])
    second = rl.figures.export(rl.figures.regimes(results()), "fig", tmp_path / "b",
                               ["pdf", "png", "svg"])
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


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
