"""How the tests of the exercises' checks put a stub, a mistake and a solution to a check."""

import pytest

from rethinklab.notebook.checks.common import Unanswered, Wrong


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
