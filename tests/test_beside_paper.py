"""Published numbers as they were printed, and own results shown beside them."""

from __future__ import annotations

import re

import pandas as pd
import pytest

import rethinklab as rl
from rethinklab.experiments.paper import (
    LEGEND,
    PRESETS,
    group,
    published,
)
from rethinklab.experiments.paper.published import cells
from rethinklab.results.beside_paper import beside, describe, overview_text
from rethinklab.trainers.regimes import UNPRUNED


@pytest.fixture(scope="module")
def printed():
    return pd.concat([published(name) for name in PRESETS], ignore_index=True)


def test_published_numbers_by_table(printed):
    # three regimes a row, and the unpruned network
    assert printed["source"].value_counts().to_dict() == {
        "Table 1": 28, "Table 2": 24, "Table 3": 8, "Table 4": 44, "Table 5": 12, "Table 6": 88,
        "Appendix": 16, "released README": 43}
    assert printed["verified"].value_counts().to_dict() == {"no": 164, "yes": 98, "accuracy": 1}
    assert not printed.duplicated(["preset", "regime", "source"]).any()
    relative = printed[printed["relative"]]
    assert set(relative["source"]) == {"Table 2", "Table 3"}
    assert UNPRUNED not in set(relative["regime"])
    assert printed.loc[~printed["relative"], "accuracy"].between(50, 100).all()
    assert (printed["sd"].dropna() > 0).all()
    rows = printed[printed["source"] != "released README"]
    on_imagenet = rows["preset"].isin(group("imagenet"))
    assert (rows["sd"].isna() == on_imagenet).all()  # one run each there


def test_each_tabled_row_has_its_regimes(printed):
    for name, row in PRESETS.items():
        of_row = set(printed.loc[printed["preset"] == name, "regime"])
        tabled = row.table in {f"Table {n}" for n in range(1, 7)} or "slimming" in name
        assert bool(of_row) == tabled
        assert not tabled or {UNPRUNED, *row.regimes} <= of_row


@pytest.mark.parametrize(("name", "regime", "text"), [
    ("l1-vgg16-cifar10", "finetune", "93.41 ±0.12 ?"),
    ("l1-vgg16-cifar10", "scratch-b", "93.78 ±0.15 ?"),  # the accuracy is verified, the sd not
    ("l1-resnet110-cifar10-b", "scratch-b", "93.60 ±0.25"),
    ("l1-resnet34-imagenet-a", "scratch-b-capped", "73.03"),
    ("thinet-vgg16-imagenet-conv", "scratch-b-capped", "+0.21"),
    ("thinet-vgg16-imagenet-conv", "finetune", "-1.23 ?"),
    ("sss-resnet50-imagenet-26", "pruned", "71.82 ?"),
    ("slimming-preresnet164-cifar10-90", "finetune", "82.06 ±0.92 ?"),
    ("weight-level-resnet50-imagenet-30", "scratch-b", "75.70")])
def test_a_number_is_marked_unless_it_is_verified(name, regime, text):
    assert cells(name)[regime] == text


def test_where_readme_and_paper_differ_both_are_kept():
    rows = published("l1-resnet34-imagenet-b")
    found = rows[rows["regime"] == "scratch-b-capped"].set_index("source")["accuracy"]
    assert found.to_dict() == {"Table 1": 72.91, "released README": 72.84}


def own(accuracies, label, preset="l1-vgg16-cifar10"):
    rows = [{"regime": regime, "seed": seed, "test_accuracy": value / 100, "params": 1, "macs": 1,
             "epochs": 4, "seconds": 1.0}
            for regime, values in accuracies.items() for seed, value in enumerate(values)]
    return rl.Results(pd.DataFrame(rows), 1.0, label, "name", {"preset": preset})


OWN = [own({"finetune": [90.25, 90.5, 90.75], "scratch-b": [91.0]}, "Quick scale; digits"),
       own({"finetune": [93.4, 93.5, 93.6]}, "Paper scale; cifar10"),
       own({"finetune": [50.0]}, "Quick scale; other", "sss-resnet50-imagenet-26")]


def test_lines_of_the_overview_name_and_explain():
    lines = overview_text(OWN).splitlines()
    assert all(len(line.split("  ", 1)) == 2 for line in lines)
    assert [line.split(" ")[0] for line in lines[:-1] if line[0] != " "] == list(PRESETS)
    assert lines[-1] == LEGEND
    at = next(n for n, line in enumerate(lines) if line.startswith("l1-vgg16-cifar10 "))
    assert lines[at + 1].strip().startswith("published: Unpruned 93.63 ±0.16 ?")
    assert [line.strip() for line in lines[at + 2:at + 4]] == [
        "own: Fine-tuned 90.50 ±0.25 (n 3), Scratch-B 91.00 (n 1) (Quick scale; digits [name])",
        "own: Fine-tuned 93.50 ±0.10 (n 3) (Paper scale; cifar10 [name])"]
    assert sum("own:" in line for line in lines) == 3


def test_a_description_has_budgets_and_numbers():
    text = describe("l1-resnet34-imagenet-a", OWN)
    assert re.search(r"Scratch-B, capped +106 epochs, lr 0.1, falls at 35, 70, 105", text)
    assert re.search(r"Scratch-E +72.77", text)
    assert "released README, Scratch-B, capped  73.08" in text
    open_ended = describe("slimming-vgg19-cifar10-70")
    assert "int(160 x ratio) epochs" in open_ended
    assert re.search(r"Scratch-B +305 epochs, lr 0.1, falls at 152, 228",
                     describe("slimming-vgg19-cifar10-70", ratio=1.91))
    assert "90.50 ±0.25 (n 3)" in describe("l1-vgg16-cifar10", OWN)
    assert "No published number" in describe("soft-filter-resnet20-cifar10-10")
    for name in PRESETS:
        assert LEGEND in describe(name)


def test_a_study_is_shown_beside_its_row():
    results = own({UNPRUNED: [90, 91], "finetune": [90, 91]}, "Quick scale; digits")
    text = beside("l1-vgg16-cifar10", results)
    assert re.search(r"Fine-tuned +93.41 ±0.12 \? +90.50 ±0.71 \(n 2\)", text)
    assert re.search(r"Scratch-B +93.78 ±0.15 \? +-", text)
    assert "own  Quick scale; digits" in text
