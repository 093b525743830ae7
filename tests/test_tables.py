"""Tables for papers: the layout, and LaTeX that LaTeX can read."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import rethinklab as rl
from rethinklab.results.paper_tables import escape_latex, study_table

ROOT = Path(__file__).resolve().parent.parent


def results(accuracies, **origin):
    rows = [{"regime": regime, "seed": seed, "test_accuracy": value / 100, "params": 1e6,
             "macs": 1e6, "epochs": 4, "seconds": 1.0}
            for regime, values in accuracies.items() for seed, value in enumerate(values)]
    return rl.Results(pd.DataFrame(rows), 0.3, "Paper scale; 50 % of data_1", "study",
                      {"dataset": "cifar10", "model": "vgg16", "method": "l1", "target": "A",
                       **origin})


TABLE_1 = results({"unpruned": [93.5, 93.7], "finetune": [93.4, 93.5], "scratch-e": [93.6, 93.7],
                   "scratch-b": [93.9, 93.7]})
WEIGHTS = results({"unpruned": [95.0], "finetune": [94.5], "ticket": [94.0]},
                  method="weight-level", target="0.8", model="preresnet_110")


def test_rows_are_studies_and_columns_regimes_in_the_papers_order():
    table = study_table([TABLE_1, WEIGHTS]).frame
    assert list(table.columns) == ["Dataset", "Model", "Method", "Target", "From", "Unpruned",
                                   "Fine-tuned", "Scratch-E", "Scratch-B", "Winning ticket"]
    assert table.loc[0, "Unpruned"] == "93.60 ±0.14 (n 2)"  # sd of two: gap / sqrt 2
    assert table.loc[1, "Unpruned"] == "95.00 (n 1)"
    assert table.loc[1, "Scratch-E"] == "-"


def test_the_best_pruned_network_is_bold_once_a_row():
    text = study_table([TABLE_1, WEIGHTS]).latex
    assert re.findall(r"\\textbf{([\d.]+)", text) == ["93.80", "94.50"]
    assert r"preresnet\_110" in text
    assert r"50 \% of data\_1" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert {row.count("&") for row in body.strip().splitlines()} == {9}


@pytest.mark.parametrize("name", ["l1-vgg16-digits-quick", "l1-vgg16-cifar10-jpeg-paper"])
def test_recorded_results_make_a_table(name):
    found = rl.load_results(ROOT / "data" / "results" / name)
    row = study_table([found]).frame.iloc[0]
    assert (row["Model"], row["Target"]) == ("vgg16", "A")
    assert float(row["Unpruned"].split()[0]) == pytest.approx(
        found.summary().loc["unpruned", "mean"], abs=0.005)


def test_latex_escapes_what_latex_reads():
    assert escape_latex("50 % & #1_2 ±0.1") == r"50 \% \& \#1\_2 $\pm$0.1"


# LaTeX's ten special characters, and what prints each in running text
PRINTED = {f"\\{mark}": mark for mark in "#$%&_{}"} | {
    r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textbackslash{}": "\\",
    r"$\pm$": "±"}


def as_printed(source):
    """What LaTeX prints of text in which every special character is part of a known command."""
    shown = ""
    while source:
        command = next((c for c in PRINTED if source.startswith(c)), None)
        assert command or source[0] not in "#$%&_{}~^\\", f"LaTeX would act on {source!r}"
        shown += PRINTED[command] if command else source[0]
        source = source[len(command or "x"):]
    return shown


@given(st.text(r"#$%&_{}~^\±a1 ", max_size=12))
@example(r"C:\birds\~x_{2}^3")
@example(r"\textbackslash{}")
def test_latex_prints_the_text_that_was_given(text):
    assert as_printed(escape_latex(text)) == text
