"""Figures of learning rates and of families of comparisons show their tables, and fit the page."""

import figure_cases
import numpy as np
import pytest
from figure_checks import problems

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.figures.families import families, method_family, recipe_family, verdict_table
from rethinklab.figures.schedules import schedule_table, schedules

REGIMES = ("unpruned", "finetune", "finetune:1", "lr-rewind", "scratch-e", "scratch-b")
RECIPE = rl.Recipe(epochs=20, lr=0.05)


def studies(count=3, **given):
    return {f"method {i}": figure_cases.results(6, REGIMES, **given) for i in range(count)}


def test_schedules_have_the_rates_and_lengths_of_the_budgets():
    table = schedule_table(RECIPE, 2.0, list(rl.REGIMES))
    for name, own in table.groupby("regime"):
        regime = rl.REGIMES[name]
        budget = regime.budget(RECIPE, 2.0)
        assert len(own) == budget.epochs - regime.first_epoch(budget)
        assert own["lr"].iloc[-1] == budget.last_lr
    assert "pruned" not in set(table["regime"])  # which trains nothing
    rewound = table[table["regime"] == "weight-rewind"]
    assert len(rewound) == 18
    assert list(table.loc[table["regime"] == "finetune", "lr"]) == [RECIPE.last_lr] * 5


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("names", [[*rl.REGIMES, "finetune:1"], ["finetune"],
                                   ["finetune", "finetune:0.5"]])
def test_schedules_fit_the_page_and_draw_each_epoch(names, width):
    table = schedule_table(RECIPE, 1.99, names)
    figure = schedules(table, width=width)
    assert problems(figure) == []
    drawn = [axes for axes in figure.axes if axes.axison]
    assert len(drawn) == table["regime"].nunique()
    rates = [rate for axes in drawn for rate in axes.lines[0].get_ydata()[:-1]]
    assert sorted(rates) == pytest.approx(sorted(table["lr"]))
    assert figure.numbers.equals(table)


def test_schedules_without_a_rate_or_a_column_are_named():
    table = schedule_table(RECIPE, 2.0, ["finetune"])
    with pytest.raises(ConfigError, match="no learning rate"):
        schedules(table.assign(lr=0.0))
    with pytest.raises(ConfigError, match="lr"):
        schedules(table.drop(columns="lr"))
    to_zero = schedule_table(rl.Recipe(epochs=20, decay=0.0), 2.0, ["scratch-e"])
    assert problems(schedules(to_zero)) == []


def test_a_family_is_adjusted_as_one():
    given = studies()
    table = method_family(given, "lr-rewind")
    rows = table.drop_duplicates(["row", "regime"])
    assert len(rows) == 6
    assert set(table["family"]) == {6}
    assert list(table.groupby(["row", "regime"]).size()) == [6] * 6
    for _, row in rows.iterrows():
        alone = given[row["row"]].compare(row["regime"], "lr-rewind")
        assert row["mean"] == pytest.approx(alone.mean)
        assert row["p_t"] == pytest.approx(alone.p_t)
        assert row["p_t_holm"] >= row["p_t"]
    assert rows["p_t_holm"].to_list() == pytest.approx(rl.analysis.statistics.holm(rows["p_t"]))


def test_differences_in_the_table_are_those_of_the_seeds():
    given = figure_cases.results(6, REGIMES)
    table = recipe_family(given, new=("scratch-b",))
    assert list(dict.fromkeys(table["row"])) == ["Fine-tuned", "Fine-tuned (1)", "LR rewinding"]
    own = table[table["against"] == "finetune:1"].set_index("seed")["difference"]
    expected = given.accuracies("scratch-b") - given.accuracies("finetune:1")
    np.testing.assert_allclose(own, expected)


def test_the_margin_is_that_of_the_study_or_the_one_given():
    given = studies(1)
    assert set(method_family(given)["margin"]) == {1.0}
    assert set(method_family(given, margin=9.0)["verdict"]) == {"equivalent"}
    assert set(verdict_table(method_family(given, margin=9.0))["verdict"]) == {
        "equivalent within 9"}


def test_studies_that_lack_a_regime_are_passed_over():
    short = {"short": figure_cases.results(3), "long": figure_cases.results(3, REGIMES)}
    assert set(method_family(short, "lr-rewind")["row"]) == {"long"}
    with pytest.raises(ConfigError, match="no study here"):
        method_family({"short": short["short"]}, "lr-rewind")


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("table", [
    lambda: method_family(studies()), lambda: method_family(studies(1)),
    lambda: method_family(studies(5)), lambda: recipe_family(figure_cases.results(2, REGIMES)),
    lambda: recipe_family(figure_cases.results(6, REGIMES), new=("scratch-e",)),
    lambda: method_family({"one": figure_cases.results(1, REGIMES)}),
    lambda: method_family(studies(label="word " * 60)),
    lambda: recipe_family(figure_cases.results(6, (*REGIMES, "sx-a", "scratch-b-full")),
                          new=("scratch-e", "sx-a", "scratch-b", "scratch-b-full"))])
def test_families_fit_the_page(table, width):
    given = table()
    figure = families(given, width=width)
    assert problems(figure) == []
    assert figure.get_size_inches()[0] == width
    assert len(figure.numbers) == len(given)
    assert "nan" not in figure.caption.lower()
    assert len(verdict_table(given)) == len(given.drop_duplicates(["row", "regime"]))


def test_marks_are_filled_where_the_verdict_is_decided():
    frame = figure_cases.results(6, ("unpruned", "finetune", "scratch-e", "scratch-b")).frame
    frame["regime"] = frame["regime"].astype(str)
    frame.loc[frame["regime"] == "scratch-b", "test_accuracy"] += 0.2
    table = method_family({"one": rl.Results(frame, 1.0, "made up")})
    assert dict(zip(table["regime"], table["verdict"], strict=True)) == {
        "scratch-e": "not decided", "scratch-b": "better"}
    axes = families(table).axes[0]
    filled = [line.get_markerfacecolor() != "white" for line in axes.lines
              if len(line.get_xdata()) == 1 and line.get_marker() in ("^", "D")]
    assert filled == [False, True]


def test_families_without_rows_or_columns_are_named():
    table = method_family(studies(1))
    for wrong in (table.drop(columns="low"), table.iloc[:0]):
        with pytest.raises(ConfigError, match="method_family"):
            families(wrong)
