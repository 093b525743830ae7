"""Tables over several studies and their figures: budgets by hand, groups, what was drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_cases_runs import ratios, study, tickets
from figure_checks import problems
from hypothesis import given
from hypothesis import strategies as st

from rethinklab.errors import ConfigError
from rethinklab.figures.accuracy_budget import accuracy_budget, scientific
from rethinklab.figures.accuracy_ratio import accuracy_ratio
from rethinklab.figures.differences import differences
from rethinklab.figures.lines import regime_lines
from rethinklab.figures.lottery import lottery
from rethinklab.results import Results
from rethinklab.results.comparisons import budget_table, lottery_tables, ratio_tables, share

LARGE, SMALL, IMAGES = 5091968, 3320448, 10_000


def dots(axes, count=None):
    """The offsets of every scatter, in the order drawn."""
    found = [np.asarray(c.get_offsets()) for c in axes.collections
             if type(c).__name__ == "PathCollection"]
    return [offsets for offsets in found if count is None or len(offsets) == count]


def marks(axes):
    """(x, y) of the marks of each error bar."""
    return [(np.asarray(bar[0].get_xdata(), float), np.asarray(bar[0].get_ydata(), float))
            for bar in axes.containers]


def bars(axes):
    """The segments of the first error bars of each container."""
    return [bar[2][0].get_segments() for bar in axes.containers if bar[2]]


# Budgets

def test_budget_without_a_ledger_is_epochs_times_images_times_macs_times_three():
    table = budget_table(study(2)).set_index(["regime", "seed"])
    large = 160 * IMAGES * LARGE * 3
    assert table.loc[("unpruned", 0), "macs_spent"] == large
    for regime, epochs in (("finetune", 40), ("scratch-e", 160), ("scratch-b", 240)):
        own = epochs * IMAGES * SMALL * 3
        assert table.loc[(regime, 1), "macs_own"] == own
        assert table.loc[(regime, 1), "macs_spent"] == large + own


def test_an_unpruned_network_costs_itself_and_what_it_goes_on_from():
    regimes = ("unpruned", "unpruned-longer", "unpruned-rewind", "lr-rewind")
    table = budget_table(study(1, regimes=regimes)).set_index("regime")
    rest = table["macs_spent"] - table["macs_own"]
    large = table.loc["unpruned", "macs_own"]
    assert rest.to_dict() == {"unpruned": 0, "unpruned-longer": 0, "unpruned-rewind": large,
                              "lr-rewind": large}


def test_unpruned_networks_have_lost_nothing():
    given = [study(method="slimming", target=t, regimes=(
        "unpruned", "unpruned-longer", "unpruned-rewind", "scratch-e")) for t in ("0.3", "0.5")]
    (table,) = ratio_tables(given).values()
    assert set(table.loc[table["ratio"] == 0, "regime"]) == {
        "unpruned", "unpruned-longer", "unpruned-rewind"}
    assert len(table) == 3 * 3 + 2 * 3  # each unpruned network once
    assert not problems(accuracy_ratio(given))


def test_budget_takes_the_ledger_where_there_is_one():
    given = study(1)
    given.frame["spent_forward_macs"], given.frame["spent_backward_macs"] = 7.0, 14.0
    assert set(budget_table(given)["macs_spent"]) == {21.0}


def test_budget_without_the_unpruned_network_is_not_known():
    table = budget_table(study(1, regimes=("finetune",)))
    assert table["macs_spent"].isna().all()
    assert table["macs_own"].tolist() == [40 * IMAGES * SMALL * 3]
    with pytest.raises(ConfigError, match="cost is not known"):
        accuracy_budget(study(1, regimes=("finetune",)))


def test_budget_draws_what_the_table_says():
    given = study(3)
    figure = accuracy_budget(given)
    table = budget_table(given)
    drawn = np.concatenate(dots(figure.axes[0]))
    expected = table[["macs_spent", "test_accuracy"]].to_numpy() * [1, 100]
    np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(map(tuple, expected)))
    places = [(float(x[0]), float(y[0])) for x, y in marks(figure.axes[0])]
    means = given.summary()
    assert [y for _, y in places] == pytest.approx(list(means["mean"]))
    spans = [segments[0][1][1] - segments[0][0][1] for segments in bars(figure.axes[0])]
    assert spans == pytest.approx(list(2 * means["sd"]))
    pale = [line for line in figure.axes[0].lines if line.get_alpha() == 0.4
            and line.get_marker() not in ("", "None", None)]
    assert sorted(float(line.get_xdata()[0]) for line in pale) == pytest.approx(
        [160 * IMAGES * SMALL * 3, 240 * IMAGES * SMALL * 3])
    assert figure.axes[0].get_xscale() == "log"


def test_shares_of_fine_tuning_are_named_and_look_different():
    figure = accuracy_budget(study(regimes=("unpruned", "finetune", "finetune:0.5", "finetune:1")))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Unpruned", "Fine-tuned", "Fine-tuned (0.5)", "Fine-tuned (1)"]
    looks = regime_lines(["finetune:1", "finetune", "finetune:0.5"])
    assert list(looks) == ["finetune", "finetune:0.5", "finetune:1"]
    assert len({look["color"] for look in looks.values()}) == 1
    assert len({look["fillstyle"] for look in looks.values()}) == 3
    assert len({look["linestyle"] for look in looks.values()}) == 3


@given(st.integers(1, 9), st.integers(3, 20))
def test_ticks_are_said_as_powers(factor, power):
    text = scientific(float(factor) * 10.0**power)
    assert f"10^{{{power}}}" in text
    assert text.startswith(f"${factor}") or factor == 1


# Share removed

def test_studies_that_differ_in_target_only_are_one_table():
    given = [study(method="slimming", target=t) for t in ("0.3", "0.5", "0.7")]
    other = [study(method="slimming", target=t, model="resnet20") for t in ("0.3", "0.5")]
    alone = [study(method="l1", target="0.3"), study(method="l1", target="A")]
    tables = ratio_tables([*given, *other, *alone])
    assert sorted(tables) == ["slimming-resnet20-digits-quick", "slimming-vgg16-digits-quick"]
    table = tables["slimming-vgg16-digits-quick"]
    assert set(table["ratio"]) == {0.0, 0.3, 0.5, 0.7}
    assert set(table.loc[table["ratio"] == 0, "regime"]) == {"unpruned"}
    assert len(table) == 3 + 3 * 3 * 3  # the unpruned networks once
    for results, ratio in zip(given, (0.3, 0.5, 0.7), strict=True):
        rows = table[(table["ratio"] == ratio) & (table["regime"] == "scratch-b")]
        assert rows["test_accuracy"].tolist() == pytest.approx(
            (results.accuracies("scratch-b") / 100).tolist())


@pytest.mark.parametrize("other", [{"lr": 0.01}, {"width": 0.5}, {"options": {"minimum": 1}},
                                   {"scale": "paper"}, {"data": "cifar10"}])
def test_studies_that_differ_otherwise_are_kept_apart(other):
    given = [study(method="slimming", target="0.3"),
             study(method="slimming", target="0.5", **other)]
    assert ratio_tables(given) == {}
    twins = [study(method="slimming", target=t, **more) for t in ("0.3", "0.5")
             for more in ({}, other)]
    assert len(ratio_tables(twins)) == 2


def test_results_put_together_by_hand_are_in_no_group():
    frame = study(target="0.3").frame.astype({"regime": str})
    assert ratio_tables([Results(frame, 1.0, "made up")] * 2) == ratio_tables([]) == {}


def test_the_same_trials_in_two_studies_count_once():
    given = [study(method="slimming", target=t) for t in ("0.3", "0.5", "0.5")]
    (table,) = ratio_tables(given).values()
    assert not table.duplicated(["regime", "ratio", "seed"]).any()


@pytest.mark.parametrize(("target", "ratio"), [
    ("0.4", 0.4), (0.4, 0.4), ("A", None), ("30", None), ("1", None), ("0", None),
    ("macs:0.5", None), ("nan", None), ("{'conv': 0.5}", None), (None, None)])
def test_a_share_is_a_number_between_0_and_1(target, ratio):
    assert share(target) == ratio if ratio else np.isnan(share(target))


def test_the_label_names_all_targets():
    table = ratios((0.2, 0.4))
    assert table.attrs["label"].startswith("Quick scale; slimming, targets 0.2, 0.4, on vgg16")


def test_ratio_figure_draws_means_deviations_and_seeds():
    table = ratios()
    figure = accuracy_ratio(table)
    (axes,) = figure.axes
    expected = (100 * table.groupby(["regime", "ratio"])["test_accuracy"].agg(["mean", "std"]))
    for (x, y), name in zip(marks(axes), regime_lines(table["regime"]), strict=True):
        means = expected.loc[name]
        assert x == pytest.approx(100 * means.index.to_numpy())
        assert y == pytest.approx(means["mean"].to_numpy())
    assert sum(map(len, dots(axes))) == len(table)
    row = figure.numbers.iloc[5]
    assert row["sd"] == pytest.approx(expected.loc[(row["regime"], row["removed"] / 100), "std"])
    assert axes.get_xlabel() == "Channels removed (%)"
    assert accuracy_ratio(ratios(method="weight-level")).axes[0].get_xlabel() == (
        "Weights removed (%)")


def test_a_missing_point_is_a_gap():
    table = ratios()
    hole = (table["regime"] == "scratch-e") & (table["ratio"] == 0.4)
    table.loc[hole, "test_accuracy"] = np.nan
    y = marks(accuracy_ratio(table).axes[0])[2][1]
    assert np.isnan(y).tolist() == [False, True, False, False]


@pytest.mark.parametrize(("figure", "table"), [(accuracy_ratio, ratios), (lottery, tickets),
                                               (accuracy_budget, lambda: budget_table(study()))])
def test_missing_columns_and_rows_are_named(figure, table):
    with pytest.raises(ConfigError, match="no column seed"):
        figure(table().drop(columns="seed"))
    with pytest.raises(ConfigError, match="no rows"):
        figure(table().iloc[:0])


# Lottery

def one_ticket(target="0.2", rounds=1, lr=0.1, **settings):
    return study(regimes=("unpruned", "ticket", "scratch-e"), method="lottery", target=target,
                 options={"rounds": rounds, "structured": False, "rewind": 0}, lr=lr,
                 **settings)


def test_rounds_compound_and_tell_iterative_from_one_shot():
    tables = lottery_tables([one_ticket(), one_ticket(rounds=3), one_ticket("0.488"),
                             one_ticket("0.488", lr=0.01)])
    assert list(tables) == ["lottery-vgg16-digits-quick"]
    (table,) = tables.values()
    points = set(map(tuple, table[["kind", "ratio", "lr"]].drop_duplicates().to_numpy()))
    assert points == {("one-shot", 0.2, 0.1), ("iterative", 0.488, 0.1),
                      ("one-shot", 0.488, 0.1), ("one-shot", 0.488, 0.01)}
    assert set(table["regime"]) == {"ticket", "scratch-e"}
    assert set(table["removed"]) == {"weights"}
    assert len(table) == 4 * 2 * 3


def test_other_tickets_are_other_tables():
    structured = study(regimes=("ticket",), method="lottery", target="0.3", options={
        "rounds": 1, "structured": True, "rewind": 0})
    tables = lottery_tables([one_ticket(), structured, one_ticket(model="resnet20")])
    assert len(tables) == 3
    assert sorted({t["removed"].iloc[0] for t in tables.values()}) == ["channels", "weights"]


def test_what_cannot_be_placed_is_left_out():
    unknown = one_ticket()
    unknown.settings["method_options"] = {}
    assert lottery_tables([unknown, one_ticket("A"), study()]) == {}
    assert ratio_tables([one_ticket("0.2"), one_ticket("0.4")]) == {}


def test_lottery_figure_has_two_panels_and_all_series():
    table = tickets()
    figure = lottery(table)
    assert [axes.get_title() for axes in figure.axes] == ["One-shot", "Iterative"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "Winning ticket, lr 0.1", "Winning ticket, lr 0.01", "Random init, lr 0.1",
        "Random init, lr 0.01"]
    expected = 100 * table.groupby(["kind", "regime", "lr", "ratio"])["test_accuracy"].mean()
    series = [("ticket", 0.1), ("ticket", 0.01), ("scratch-e", 0.1), ("scratch-e", 0.01)]
    for axes, kind in zip(figure.axes, ("one-shot", "iterative"), strict=True):
        for (x, y), (regime, lr) in zip(marks(axes), series, strict=True):
            own = expected.loc[kind, regime, lr]
            assert x == pytest.approx(100 * own.index.to_numpy())
            assert y == pytest.approx(own.to_numpy())
    lines = [bar[0].get_linestyle() for bar in figure.axes[0].containers]
    assert len(set(lines)) == 2
    assert len(lottery(tickets((1,))).axes) == 1


# Differences

def test_differences_drawn_are_those_computed_by_hand():
    given = study(3)
    figure = differences(given)
    by_hand = {a: given.frame.pivot(index="seed", columns="regime", values="test_accuracy").pipe(
        lambda table, a=a: 100 * (table[a] - table["finetune"])) for a in ("scratch-e",
                                                                          "scratch-b")}
    axes = figure.axes[0]
    for drawn, gaps, row in zip(dots(axes), by_hand.values(), (0, 1), strict=True):
        assert drawn[:, 0] == pytest.approx(gaps.to_numpy())
        assert set(np.round(drawn[:, 1])) == {row}
    for (x, _), segments, gaps in zip(marks(axes), bars(axes), by_hand.values(), strict=True):
        reach = 4.302652729749464 * gaps.std() / 3**0.5  # Student's t at 2 degrees, 97.5 %
        assert x[0] == pytest.approx(gaps.mean())
        assert segments[0][:, 0] == pytest.approx([gaps.mean() - reach, gaps.mean() + reach])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Scratch-E − Fine-tuned",
                                                              "Scratch-B − Fine-tuned"]
    words = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert words == [c.verdict for c in given.verdicts()]
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-1, 1))
    assert len(figure.numbers) == 6


def test_equivalence_says_within_what():
    given = study(6, spread=0.0005)
    frame = given.frame.assign(regime=given.frame["regime"].astype(str))
    near = frame["regime"] == "scratch-e"
    frame.loc[near, "test_accuracy"] = frame.loc[
        frame["regime"] == "finetune", "test_accuracy"].to_numpy() + np.tile([1e-3, -1e-3], 3)
    figure = differences(Results(frame, 0.5, "label"))
    assert figure.axes[1].get_yticklabels()[0].get_text() == "equivalent within 0.5"
    assert figure.axes[1].get_yticklabels()[1].get_text() == "better"


def test_one_seed_has_no_interval_and_decides_nothing():
    figure = differences(study(1))
    assert bars(figure.axes[0]) == []
    assert {t.get_text() for t in figure.axes[1].get_yticklabels()} == {"not decided"}
    assert figure.numbers["low"].isna().all()


def test_a_seed_without_accuracy_is_left_out_of_its_pair():
    given = study(3)
    given.frame.loc[given.frame["regime"].eq("finetune") & given.frame["seed"].eq(1),
                    "test_accuracy"] = np.nan
    figure = differences(given)
    assert set(figure.numbers["n"]) == {2}
    assert set(figure.numbers["seed"]) == {0, 2}


def test_an_interval_that_leaves_the_picture_has_an_arrow():
    frame = pd.DataFrame([{"regime": regime, "seed": seed, "test_accuracy": value}
                          for regime, values in (("finetune", (0.5, 0.5)),
                                                 ("scratch-e", (0.52, 0.56)))
                          for seed, value in enumerate(values)])
    for column in ("params", "macs", "epochs", "seconds"):
        frame[column] = 1.0
    figure = differences(Results(frame, 1.0, "label"))
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert figure.numbers["low"].iloc[0] < low < -1
    assert 6 < high < figure.numbers["high"].iloc[0]
    arrows = [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")]
    assert sorted(arrows) == ["<", ">"]
    assert any("arrows" in text.get_text() for text in figure.texts)
    assert problems(figure) == []


@pytest.mark.parametrize("regimes", [("unpruned",), ("unpruned", "finetune"), ("scratch-e",)])
def test_nothing_to_compare_says_what_is_needed(regimes):
    with pytest.raises(ConfigError, match=r"scratch-e.*finetune"):
        differences(study(regimes=regimes))
