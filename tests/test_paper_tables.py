"""The tables of the paper: its rows and printed numbers, own results beside them, as text, CSV
and LaTeX."""

from __future__ import annotations

import csv
import re

import pandas as pd
import pytest
from figure_cases import results

from rethinklab.errors import ConfigError
from rethinklab.experiments.paper import PRESETS, group, published
from rethinklab.results.paper_tables import TABLES, export_table, paper_table


def own(preset="l1-vgg16-cifar10", label="Quick scale; cpu; 3 seeds"):
    found = results(label=label)
    found.settings |= {"preset": preset, "dataset": "digits", "width": 0.125, "scale": "quick",
                       "recipe": {"epochs": 5, "lr": 0.05}}
    return found


@pytest.mark.parametrize("table", TABLES)
def test_every_row_of_the_paper_is_there_with_what_is_printed(table):
    frame = paper_table(table).frame
    assert len(frame) == len(group(TABLES[table]))
    printed = sum(len(published(name).query("source != 'released README'"))
                  for name in group(TABLES[table]))
    cells = frame.drop(columns=["Dataset", "Model", "Method", "Target", "From"])
    assert int((cells != "-").sum().sum()) == printed


def test_rows_of_a_table_can_be_told_apart():
    for table in TABLES:
        head = paper_table(table).frame[["Dataset", "Model", "Method", "Target"]]
        regimes = [PRESETS[name].regimes for name in group(TABLES[table])]
        rows = list(zip(head.itertuples(index=False, name=None), regimes, strict=True))
        assert len(set(rows)) == len(rows), table


def test_unverified_numbers_are_marked_and_others_are_not():
    frame = paper_table("table1").frame.set_index(["Model", "Target"])
    for name in group("table1"):
        row = PRESETS[name]
        for _, line in published(name).iterrows():
            titles = {"finetune": "Fine-tuned", "scratch-e": "Scratch-E", "unpruned": "Unpruned"}
            if line["regime"] in titles and line["source"] == "Table 1":
                text = frame.loc[(row.model, row.target), titles[line["regime"]]]
                assert text.endswith("?") == (line["verified"] != "yes"), (name, line["regime"])
                assert float(text.split(" ")[0]) == line["accuracy"]


def test_own_results_stand_under_their_row_with_where_they_are_from():
    mine, other = own(), own("l1-resnet56-cifar10-b", "Classroom scale")
    table = paper_table("table1", [mine, other, own("slimming-vgg19-cifar10-70")])
    rows = table.frame["From"].tolist()
    assert rows[:2] == ["paper", "own 1"]
    assert rows.count("own 2") == 1
    assert [source.partition(";")[0] for source in table.sources] == [
        f"own 1: {mine.label.partition(';')[0]}", "own 2: Classroom scale"]
    assert table.frame["Target"][1] == "5 epochs, lr 0.05"
    mean = mine.summary().loc["finetune", "mean"]
    assert table.frame["Fine-tuned"][1].startswith(f"{mean:.2f} ±")
    lines = list(csv.DictReader(table.csv.splitlines()))
    assert lines[1]["Source"].startswith(mine.label)
    assert lines[0]["Source"] == ""


def test_latex_is_a_booktabs_table_with_one_rule_between_rows_of_the_paper():
    text = paper_table("table1", [own()]).latex
    assert text.count(r"\addlinespace") == len(group("table1")) - 1
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    widths = {line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")}
    columns = re.search(r"\\begin{tabular}{(\w+)}", text).group(1)
    assert widths == {len(columns) - 1}
    assert not re.search(r"(?<!\\)[%_]", body)


def test_files_hold_the_same_table_in_three_forms(tmp_path):
    for name in TABLES:
        table = paper_table(name, [own()])
        paths = export_table(name, [own()], tmp_path)
        assert [path.suffix for path in paths] == [".txt", ".csv", ".tex"]
        assert len(pd.read_csv(paths[1], dtype=str)) == len(table.frame)
        assert "?  not checked against the paper" in paths[0].read_text()


def test_an_unknown_table_is_named():
    with pytest.raises(ConfigError, match="table9"):
        paper_table("table9")
