"""Every figure of the catalogue: paper size, fonts that embed, nothing clipped, same bytes twice,
and all of it also where the data is scant."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_cases import CASES
from figure_checks import problems
from PIL import Image
from test_figures import VISIONS, simulate

import rethinklab as rl
from rethinklab.errors import ConfigError, Missing
from rethinklab.figures import style
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.export import export
from rethinklab.results.comparisons import lottery_tables

TEXT, COLUMN = 5.5, 3.25
RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
HARD = [(name, case, COLUMN) for name, cases in CASES.items() for case in cases]
HARD += [(name, case, TEXT) for name, case, _ in HARD if case in ("usual", "110 layers")]


OF_LAYERS = ("weights", "weight_layers", "scales", "movement", "overlap", "layer_widths",
             "stage_ratios", "targets", "sensitivity")
OF_SEEDS = ("movement", "overlap", "layer_widths", "stage_ratios", "targets", "efficiency",
            "differences", "accuracy_ratio", "accuracy_budget", "lottery", "learning_curves",
            "barrier", "latency", "regimes")  # the others show means over seeds
OF_REGIMES = ("weights", "weight_layers", "movement", "differences", "accuracy_ratio", "lottery",
              "learning_curves", "latency", "regimes")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_its_hard_cases(name):
    wanted = {"usual"}
    if name != "pipeline":  # a schematic
        wanted |= {"NaN", "long label"}
    for names, cases in ((OF_LAYERS, {"one layer", "110 layers"}), (OF_SEEDS, {"one seed"}),
                         (OF_REGIMES, {"missing regime"})):
        if name in names:
            wanted |= cases
    assert wanted <= set(CASES[name])
    assert set(CASES) == set(FIGURES)


@pytest.mark.parametrize(("name", "case", "width"), HARD)
def test_nothing_overlaps_or_leaves_the_page(name, case, width):
    given = CASES[name][case]()
    before = given.copy() if isinstance(given, pd.DataFrame) else None
    figure = FIGURES[name].draw(given, width=width)
    assert problems(figure) == []
    assert figure.get_size_inches()[0] == width
    assert figure.caption.endswith(".")
    assert "nan" not in figure.caption.lower()
    assert len(figure.numbers)
    if before is not None:  # a pure function
        pd.testing.assert_frame_equal(given, before)


WITHOUT_UNIT = {"Layer", "Layer, in order", "Epoch", "Parameters", "Parameters not zero", "MACs",
                "Channels", "Weights", "Weight", "Scale |γ|", "Training loss", "Test loss",
                "Multiply-adds of all training", "Relative distance", "Place α on the line",
                "Layer, by number in the order of the forward pass"}
UNITS = re.compile(r"\((%|ms|M|pixels|percentage points|points)\)$")


@pytest.mark.parametrize("name", CASES)
def test_axes_have_units_and_several_series_a_legend(name):
    figure = FIGURES[name].draw(CASES[name]["usual"](), width=TEXT)
    figure.draw_without_rendering()
    texts = {figure.get_supxlabel(), figure.get_supylabel()}
    for axes in figure.axes:
        texts |= {axes.get_xlabel(), axes.get_ylabel()}
        series = [label for label in axes.get_legend_handles_labels()[1] if label]
        assert len(series) < 2 or figure.legends or axes.get_legend(), series
    for text in filter(None, texts):
        plain = text.replace("$", "").replace("\\alpha", "α").replace("\\gamma", "γ")
        assert UNITS.search(plain) or plain in WITHOUT_UNIT, text


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """A figure that was drawn and exported twice, and its files of both times."""
    name, folder = request.param, tmp_path_factory.mktemp("exported")
    figures = [FIGURES[name].draw(CASES[name]["usual"](), width="cvpr-column") for _ in range(2)]
    return figures[0], [
        export(figure, name, folder / str(place), ["pdf", "png", "svg"], {"results": ["large-0"]})
        for place, figure in enumerate(figures)]


def test_files_have_the_size_of_the_paper_and_fonts_that_embed(exported):
    figure, ((pdf, png, *_), _) = exported
    content = pdf.read_bytes()
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content).groups()
    size = tuple(figure.get_size_inches())
    assert tuple(float(side) / 72 for side in box) == pytest.approx(size, abs=0.01)
    assert size[0] == pytest.approx(style.inches("cvpr-column"), abs=0.01)
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    assert Image.open(png).size == tuple(int(side * 300) for side in size)


def test_files_are_byte_identical_when_made_twice(exported):
    for one, two in zip(*exported[1], strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


def test_the_csv_holds_the_numbers_and_the_json_their_origin(exported):
    figure, ((*_, numbers, origin), _) = exported
    table = pd.read_csv(numbers)
    assert list(table.columns) == list(figure.numbers.columns)
    for column in figure.numbers.select_dtypes("number"):
        np.testing.assert_allclose(table[column], figure.numbers[column], rtol=1e-9)
    content = json.loads(origin.read_text())
    assert content["alt"] == figure.caption
    assert content["results"] == ["large-0"]
    assert {"commit", "rethinklab", "torch", "matplotlib", "python", "source"} <= set(content)


def test_widths_are_venues_or_inches():
    assert style.inches("ICML-column") == 3.25
    assert style.inches("4.5") == style.inches(4.5) == 4.5
    for wrong in ("a4", "0.5", "nan", "300"):
        with pytest.raises(ConfigError, match="iclr"):
            style.inches(wrong)


def lines_of(axes):
    """What is plotted, as numbers."""
    return [(np.asarray(line.get_xdata(), float).tolist(), np.asarray(
        line.get_ydata(), float).tolist()) for line in axes.lines]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_on_the_readers_own(name):
    """The same is plotted on own axes or in a sub-figure, and nothing else of the page is used."""
    given, draw = CASES[name]["usual"](), FIGURES[name].draw
    alone = draw(given, width=TEXT / 2, note=False)
    assert {text.get_text() for text in alone.texts} <= {alone.get_supxlabel(),
                                                         alone.get_supylabel()}
    page = plt.figure(figsize=(TEXT, alone.get_size_inches()[1]), layout="constrained")
    if "ax" in inspect.signature(draw).parameters:
        mine, other = page.subplots(1, 2)
        drawn, panels = draw(given, ax=mine), [mine]
        assert not other.has_data()
    else:
        left, right = page.subfigures(1, 2)
        drawn, panels = draw(given, fig=left), left.axes
        assert not right.axes
    assert not page.texts
    assert not page.legends
    plotted = [axes for axes in alone.axes if axes.lines]
    assert list(map(lines_of, [axes for axes in panels if axes.lines])) == [
        lines_of(axes) for axes in plotted if len(panels) > 1 or axes is alone.axes[0]]
    pd.testing.assert_frame_equal(drawn.numbers, alone.numbers)
    assert (drawn.caption, drawn.note) == (alone.caption, alone.note)
    page.canvas.draw()
    plt.close(page)


def test_a_study_is_drawn_as_its_table_is():
    studies = rl.load_studies(RESULTS, ["l1-vgg16-digits-quick"])
    (results,) = studies.values()
    for name in ("learning_curves", "layer_widths", "weights", "overlap", "barrier"):
        (table,) = FIGURES[name].collect(studies).inputs.values()
        one, other = (FIGURES[name].draw(given, width="icml-column") for given in (results, table))
        pd.testing.assert_frame_equal(one.numbers, other.numbers)
        assert one.note == other.note
    with pytest.raises(Missing, match="kernels"):
        FIGURES["kernels"].draw(results)


def test_studies_are_drawn_as_the_table_over_them_is():
    names = [f"lottery-vgg16-digits-oneshot-{share}-lr{lr}-quick"
             for share in (49, 79) for lr in ("0.1", "0.01")]
    studies = list(rl.load_studies(RESULTS, names).values())
    (table,) = lottery_tables(studies).values()
    pd.testing.assert_frame_equal(rl.figures.lottery(studies).numbers,
                                  rl.figures.lottery(table).numbers)
    with pytest.raises(ConfigError, match=r"4 studies make 0 tables \(none\)"):
        rl.figures.efficiency(studies)


@pytest.mark.skipif(shutil.which("xelatex") is not None, reason="TeX is installed")
def test_pgf_without_tex_says_so_before_anything_is_written(tmp_path):
    figure = FIGURES["pipeline"].draw(None, width=TEXT)
    with pytest.raises(ConfigError, match="TeX"):
        export(figure, "x", tmp_path / "out", ["pdf", "pgf"])
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("xelatex") is None, reason="no TeX here")
def test_pgf_is_written_by_tex(tmp_path):
    paths = export(FIGURES["pipeline"].draw(None, width=TEXT), "x", tmp_path, ["pgf"])
    assert "pgfpicture" in paths[0].read_text()


@pytest.mark.parametrize("vision", VISIONS)
def test_designs_and_series_are_told_apart_by_all_readers(vision):
    designs = [style.design_look(name) for name in style.DESIGNS]
    seen = [simulate(matplotlib.colors.to_rgb(look["color"]), VISIONS[vision]) for look in designs]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[i + 1:]) > 0.1


def contrast(colour):
    """With white, by the luminance of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in matplotlib.colors.to_rgb(colour)]
    return 1.05 / (0.05 + float(np.dot((0.2126, 0.7152, 0.0722), linear)))


def test_all_colours_stand_out_from_white():
    looks = [*style.regime_looks().values(), *map(style.design_look, style.DESIGNS),
             *map(style.series_look, range(12))]
    assert min(contrast(look["color"]) for look in looks) > 2.2
    assert contrast("black") == pytest.approx(21)


def test_looks_differ_in_grey():
    for looks in ([style.design_look(name) for name in style.DESIGNS],
                  [style.series_look(place) for place in range(12)]):
        marks = {(look["marker"], look["linestyle"]) for look in looks}
        assert len(marks) == len(looks)
