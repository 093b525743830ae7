"""How the tests of the exercises' checks put a stub, a mistake and a solution to a check."""

import pandas as pd
import pytest

from rethinklab.notebook.checks.common import Unanswered, Wrong
from rethinklab.results import Results


def unanswered(check, *arguments, **context):
    """The check meets this stub as one."""
    with pytest.raises(Unanswered):
        check(*arguments, **context)


def wrong(diagnosis, check, *arguments, **context):
    """The check refuses this answer, and its diagnosis says why."""
    with pytest.raises(Wrong, match=diagnosis) as caught:
        check(*arguments, **context)
    assert not isinstance(caught.value, Unanswered)


def right(check, *arguments, **context):
    """The check confirms this answer in a sentence."""
    sentence = check(*arguments, **context)
    assert isinstance(sentence, str)
    assert sentence.endswith(".")


def made_up(accuracy):
    """Results with these test accuracies, by regime and seed, at a margin of one point."""
    return Results(pd.DataFrame([
        {"regime": regime, "seed": seed, "test_accuracy": value, "params": 1.0, "macs": 1.0,
         "epochs": 1, "seconds": 1.0}
        for regime, values in accuracy.items() for seed, value in enumerate(values)]), 1.0,
        "made up")
