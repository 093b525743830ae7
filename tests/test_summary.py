"""The recorded results in words: made from the files, counted right, and up to date."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.results.across import across_table
from rethinklab.results.summary import (
    answer,
    cautions,
    limits,
    results_page,
    results_table,
    short_answer,
    together,
    who_agrees,
    with_results,
)

ROOT = Path(__file__).resolve().parent.parent


NUMBERS = count()


def study(gap, seeds=3, unpruned=0.9, label="Quick scale; digits", number=None, method="l1",
          **more):
    """Results in which Scratch-E is `gap` points above fine-tuning, but for a trifle. number: of
    its trials. more: other regimes, with their accuracies."""
    number = next(NUMBERS) if number is None else number
    levels = {"unpruned": unpruned, "finetune": 0.85, "scratch-e": 0.85 + gap / 100, **more}
    rows = [{"regime": regime, "seed": seed, "params": 1e6, "macs": 1e6, "epochs": 10,
             "seconds": 1.0, "address": f"{regime}-{seed}-{number}", "scale": "quick",
             "data": "digits", "device": "cpu",
             "test_accuracy": level + 0.0001 * seed * (regime == "scratch-e")}
            for regime, level in levels.items() for seed in range(seeds)]
    return rl.Results(pd.DataFrame(rows), 0.5, label, "name",
                      {"preset": "l1-vgg16-cifar10", "method": method})


@pytest.fixture(scope="module")
def recorded():
    return rl.load_studies(ROOT / "data" / "results")


def test_readme_and_results_are_those_of_the_committed_files(recorded):
    page = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert page == results_page(recorded), "`make figures` makes it anew"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_results(text, recorded) == text, "`make figures` makes it anew"


def test_the_page_is_short_and_leads_to_every_study(recorded):
    page = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 200
    assert page.index("**Against the fine-tuning of 2019") < 200  # the answer comes first
    for name in recorded:
        assert f"[{name}](data/results/{name})" in page
    short = short_answer(recorded).splitlines()
    assert 2 <= len(short) <= 3
    assert all(line.startswith("- **") for line in short)
    assert "seeds" in short[-1]


def test_studies_are_counted_by_their_verdicts():
    text = answer({"a": study(3), "b": study(-3), "c": study(0), "d": study(3, seeds=2)})
    assert "in 2 of 3 studies, worse in 1, and in 0 it is not decided" in text
    assert "depends on the study" in text
    assert "nowhere shown to be worth more" in answer({"a": study(3)})
    assert "against the paper" in answer({"b": study(-3)})
    assert "3 pairs or more" in answer({"d": study(3, seeds=1)})


def test_studies_whose_fine_tuned_networks_guess_are_not_counted():
    guess = study(3)
    guess.frame["classes"] = 10
    guess.frame.loc[guess.frame["regime"] == "finetune", "test_accuracy"] = 0.101
    assert "3 pairs or more" in answer({"guess": guess})
    text = answer({"guess": guess, "a": study(3)})
    assert "1 of 1 study" in text
    assert "Not counted: guess" in text


def test_each_way_to_train_inherited_weights_is_answered_by_itself():
    text = answer({"a": study(3, **{"lr-rewind": 0.95})})
    first, second = text.split("\n\n")
    assert "in 1 of 1 study, worse in 0" in first
    assert "in 0 of 1 study, worse in 1" in second
    assert first.startswith("**Against the fine-tuning of 2019")
    assert "are nowhere shown to be worth more" in first
    assert second.startswith("**Against LR rewinding")
    assert "the inherited weights are worth more" in second
    assert "LR rewinding" not in answer({"a": study(3)})


def test_controls_and_trials_that_were_counted_already_are_not_counted():
    assert "3 pairs or more" in answer({"a": study(3, method="random")})
    twice = answer({"a": study(3, number=1), "b": study(3, number=1), "c": study(3, number=2)})
    assert "in 2 of 2 studies" in twice


def test_methods_that_share_seeds_are_taken_together_and_copies_once():
    """Each seed counts once, however many methods share its networks."""
    gaps = {"l1": 3, "thinet": 1, "sss": 2}
    studies = {method: study(gap, method=method, seeds=4) for method, gap in gaps.items()}
    copy = study(3, method="regression", seeds=4)
    control = study(9, method="random", seeds=4)
    (row,) = [line for line in together({**studies, "copy": copy, "control": control}).splitlines()
              if "minus Fine-tuned" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["l1, thinet, sss", "4", "Scratch-E minus Fine-tuned", "+2.01"]
    means = [2 + 0.01 * seed for seed in range(4)]  # over the methods
    low, high = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert cells[5] == f"{low:+.2f} to {high:+.2f}"
    assert together({"l1": studies["l1"]}) == ""
    assert "Over 3 methods and 4 seeds together" in answer(studies)


def test_a_method_with_several_targets_is_one_and_groups_are_told_apart():
    """Else three targets of one method pass for three methods, and two recipes for one."""
    def of(method, target, lr, gap):
        found = study(gap, method=method, seeds=4)
        found.settings |= {"model": "vgg11", "scale": "quick", "target": target,
                           "recipe": {"lr": lr}}
        return found

    first = {"a": of("l1", 0.5, 0.1, 3), "b": of("l1", 0.7, 0.1, 1), "c": of("sss", 0.5, 0.1, 4)}
    second = {"d": of("l1", 0.5, 0.01, 1), "e": of("sss", 0.5, 0.01, 2)}
    table = across_table({**first, **second}, [("scratch-e", "finetune")])
    assert table["methods"].tolist() == ["l1, sss"] * 2
    assert table["mean"].tolist() == pytest.approx([(2 + 4) / 2 + 0.015, 1.5 + 0.015])
    assert table["group"].nunique() == 2
    (alone,) = across_table(first, [("scratch-e", "finetune")])["group"]
    assert alone == "vgg11 on digits, quick scale"


def test_studies_are_named_by_what_they_say():
    lines = who_agrees({"high": study(3), "low": study(-3, **{"lr-rewind": 0.8})})
    assert "- Scratch-E against Fine-tuned, agrees with the paper (scratch at least as good): " \
           "high." in lines
    assert "- Scratch-E against Fine-tuned, disagrees (the inherited weights are better): low." \
        in lines
    assert any("LR rewinding, agrees" in line and line.endswith("low.") for line in lines)


def test_the_table_has_published_numbers_with_their_mark_beside_ours():
    (line,) = [line for line in results_table({"a": study(3)}).splitlines() if "| a |" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:2] == ["a", "3"]
    assert cells[2] == "90.00 ±0.00 [93.63 ±0.16 ?]"
    assert cells[4] == ""  # LR rewinding
    assert cells[5] == "88.01 ±0.01 [93.62 ±0.11 ?]"
    assert cells[7:] == ["E +3.01 better", ""]


def test_explanations_come_with_their_numbers():
    (reason,) = cautions({"low": study(0, unpruned=0.95), "fine": study(0, unpruned=0.86)})
    assert reason.endswith("points below the unpruned network: low (-10.0).")
    first, second = cautions({"long": study(0, unpruned=0.86, **{"scratch-b": 0.87})})
    assert first.endswith(": long (+1.0).")
    assert second.startswith("Scratch-B has as many epochs as Scratch-E")


def test_an_unpruned_network_that_gains_by_training_for_longer_is_named():
    high = {"scratch-b": 0.87}
    found = cautions({name: study(0, unpruned=0.86, **high, **{"unpruned-longer": level})
                      for name, level in (("early", 0.867), ("done", 0.862))})
    named = [line for line in found if "twice as long" in line]
    assert [line.rpartition(": ")[2] for line in named] == ["early (+0.7)."]
    assert not any("finished learning" in line and "done" in line for line in found)


def test_a_page_without_marks_is_named():
    with pytest.raises(ConfigError, match="rethinklab summary"):
        with_results("no marks", {"a": study(1)})
    once = with_results("a\n<!-- results: made by `rethinklab summary` -->\nold\n"
                        "<!-- end of results -->\nb", {"a": study(1)})
    assert "old" not in once
    assert with_results(once, {"a": study(1)}) == once
    assert once.startswith("a\n")
    assert once.endswith("\nb")


def test_the_limits_count_studies_whose_large_network_had_not_finished():
    studies = {"over": study(0, unpruned=0.9, **{"scratch-b": 0.91}),
               "within the margin": study(0, unpruned=0.9, **{"scratch-b": 0.904}),
               "below": study(0, unpruned=0.9, **{"scratch-b": 0.85}),
               "none": study(0, unpruned=0.5)}
    (line,) = [line for line in limits(studies) if "finished learning" in line]
    assert line.startswith("In 1 of the 3 studies with Scratch-B")
    del studies["over"]
    assert not any("finished learning" in line for line in limits(studies))
