"""The widgets that show results: patterns of architectures, and budgets."""


import pytest
from widget_cases import is_shown, moved, paired_results, width_tables

import rethinklab as rl
from rethinklab.analysis.architectures import stage_table
from rethinklab.errors import ConfigError
from rethinklab.notebook import widgets
from rethinklab.notebook.widgets.budgets import MARGINS, compared_figure
from rethinklab.notebook.widgets.patterns import pattern_figure


@pytest.fixture(scope="module")
def tables():
    return width_tables()


@pytest.fixture(scope="module")
def results():
    return paired_results()


def test_patterns_show_the_recorded_shares(tables):
    frame = tables["channels"]
    figure = pattern_figure(frame, "study")
    assert figure.numbers["kept"].tolist() == pytest.approx(
        (frame.groupby("place")["after"].mean() / 16).tolist())
    for share in stage_table(frame)["mean"]:
        assert f"{share:.0%}" in figure.caption
    one = pattern_figure(frame, "study", 2).numbers
    assert one["mean"].tolist() == frame.loc[frame["seed"] == 2, "after"].tolist()


def test_a_seed_that_a_study_lacks_is_said_in_words(tables):
    explorer = widgets.architecture_patterns(tables)
    moved(explorer, {"study": "one", "seed": 2})
    assert not is_shown(explorer)
    assert explorer.caption == "one has no seed 2; it has 0."
    with pytest.raises(ConfigError, match="table of widths"):
        widgets.architecture_patterns({})


def test_budget_explorer_shows_the_paired_comparison(results):
    explorer = widgets.budget_explorer(results)
    assert explorer.values == {"recipe": "finetune", "budget": "scratch-e", "margin": 0.5}
    offered_recipes = [value for _, value in explorer.controls["recipe"].options]
    assert offered_recipes == ["finetune", "lr-rewind"]  # what is not trained is no recipe
    for budget, recipe, margin in (("scratch-b", "lr-rewind", 0.1), ("scratch-b", "lr-rewind", 2.0),
                                   ("scratch-e", "finetune", 0.5)):
        c = results.compare(budget, recipe, margin)
        figure = explorer.view(recipe=recipe, budget=budget, margin=margin)
        assert str(c) in figure.caption
        assert set(figure.numbers["verdict"]) == {c.verdict}
        gaps = results.accuracies(budget) - results.accuracies(recipe)
        assert figure.numbers["difference"].tolist() == pytest.approx(gaps.tolist())
        low, high = figure.axes[0].get_xlim()
        assert low < min(gaps.min(), -margin)
        assert high > max(gaps.max(), margin)
        assert any(word in figure.axes[0].get_title(loc="left")
                   for word in ("better", "worse", "equivalent", "not decided"))


def test_budget_explorer_says_that_choosing_is_no_test(results):
    explorer = widgets.budget_explorer(results)
    count = 2 * 2 * len(MARGINS)
    for text in (explorer.caption, explorer.view(**explorer.values).texts[-1].get_text()):
        assert f"One of {count} combinations" in text.replace("\n", " ")
        assert "is not a test" in text.replace("\n", " ")


def test_budget_explorer_needs_both_kinds_of_training(results):
    only = results.frame[results.frame["regime"].isin(["unpruned", "finetune"])]
    with pytest.raises(ConfigError, match="new weights"):
        widgets.budget_explorer(rl.Results(only.assign(regime=only["regime"].astype(str)), 0.5,
                                           "label"))


def test_a_difference_without_a_spread_is_drawn(results):
    one = results.frame[results.frame["seed"] == 0]
    single = rl.Results(one.assign(regime=one["regime"].astype(str)), 0.5, "label")
    assert "not decided" in compared_figure(single, "finetune", "scratch-e", 0.5).caption
