"""The checks of notebook 09: stubs, typical mistakes, solutions."""

import pandas as pd
import pytest
import torch
from check_cases import right, unanswered, wrong

from rethinklab.notebook.checks import lottery_ticket as checks


@pytest.fixture(scope="module")
def table():
    accuracy = {("ticket", 0.1, 0.5): 0.90, ("scratch-e", 0.1, 0.5): 0.85,
                ("ticket", 0.1, 0.9): 0.80, ("scratch-e", 0.1, 0.9): 0.70,
                ("ticket", 0.01, 0.5): 0.95, ("scratch-e", 0.01, 0.5): 0.60,
                ("ticket", 0.01, 0.9): 0.60, ("scratch-e", 0.01, 0.9): 0.40}
    return pd.DataFrame([{"kind": "one-shot", "regime": regime, "lr": lr, "seed": seed,
                          "ratio": ratio, "test_accuracy": value + change}
                         for (regime, lr, ratio), value in accuracy.items()
                         for seed, change in enumerate((-0.01, 0.01))])


def dots(*_):
    ...


def test_stubs_are_unanswered(table):
    for stub in (..., None):
        unanswered(checks.ticket_loss, stub, table)
        unanswered(checks.rounds_needed, stub)
    for stub in (..., dots, lambda *_: None, lambda *_: ...):
        unanswered(checks.dealt_anew, stub)


def test_ticket_loss(table):
    check = checks.ticket_loss
    right(check, 10.0, table)
    wrong("sign is swapped", check, -10.0, table)
    wrong("fractions", check, 0.1, table)
    wrong("loss of Winning ticket at learning rate 0.01", check, 35.0, table)
    wrong("loss of Scratch-E at learning rate 0.1", check, 15.0, table)
    wrong("mean over all rates", check, 22.5, table)
    wrong("not the difference", check, 50, table)


def test_rounds_needed():
    right(checks.rounds_needed, 11)
    right(checks.rounds_needed, 2, share=0.5, below=0.3)
    wrong("adds the shares up", checks.rounds_needed, 5)
    wrong("few enough", checks.rounds_needed, 10)
    wrong("smaller number", checks.rounds_needed, 12)
    wrong("whole number", checks.rounds_needed, 10.3)
    wrong("are left", checks.rounds_needed, 2)


def deal(values, mask):
    dealt = torch.zeros(mask.shape)
    dealt[mask] = values
    return dealt


def test_dealt_anew():
    check = checks.dealt_anew
    right(check, lambda w, m: deal(w[m][torch.randperm(int(m.sum()))], m))
    wrong("ticket itself", check, lambda w, m: w * m)
    wrong("mixed", check, lambda w, m: w.flatten()[torch.randperm(w.numel())].view(w.shape))
    wrong("have moved", check, lambda w, m: (w * m).flatten()[torch.randperm(w.numel())].view(
        w.shape))
    wrong("are not zero", check, lambda w, m: w + 1)
    wrong("exactly once", check, lambda w, m: deal(torch.randn(int(m.sum())), m))
    wrong("left empty", check, lambda w, m: torch.zeros_like(w))
    wrong("must be random", check, lambda w, m: deal(w[m].flip(0), m))
    wrong("has changed", check, in_place)
    wrong("weight's shape", check, lambda w, m: w[m])
    wrong("must be a function", check, torch.ones(3))


def in_place(weight, mask):
    weight[mask] = weight[mask][torch.randperm(int(mask.sum()))]
    weight *= mask
    return weight
