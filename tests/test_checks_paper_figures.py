"""The checks of notebook 14 are kind to stubs, diagnose mistakes and accept solutions."""

import numpy as np
import pandas as pd
from check_cases import right, unanswered, wrong
from scipy import stats

from rethinklab.notebook.checks import paper_figures

NUMBERS = pd.DataFrame(
    [("finetune", 0, 90.0), ("finetune", 1, 91.0), ("finetune", 2, 90.5),
     ("scratch-b", 0, 92.0), ("scratch-b", 1, 94.0), ("scratch-b", 2, 95.0)],
    columns=["regime", "seed", "accuracy"])


def test_stubs_are_unanswered():
    def stub(a, b):
        ...

    for dots in (..., None):
        unanswered(paper_figures.standard_error, dots, NUMBERS, "scratch-b")
        unanswered(paper_figures.printed_width, dots, 6.75, 8, 6)
        unanswered(paper_figures.paired_interval, dots)
    unanswered(paper_figures.paired_interval, stub)
    unanswered(paper_figures.paired_interval, lambda a, b: ... if len(a) else a)


def test_standard_error():
    check = paper_figures.standard_error
    own = NUMBERS.loc[NUMBERS["regime"] == "scratch-b", "accuracy"]
    error = own.std() / len(own)**0.5
    right(check, error, NUMBERS, "scratch-b")
    right(check, own.sem(), NUMBERS, "scratch-b")
    right(check, round(error, 2), NUMBERS, "scratch-b")
    wrong("fraction", check, error / 100, NUMBERS, "scratch-b")
    wrong("by n, as NumPy", check, own.std(ddof=0) / len(own)**0.5, NUMBERS, "scratch-b")
    wrong("standard deviation", check, own.std(), NUMBERS, "scratch-b")
    wrong("by its root", check, own.std() / len(own), NUMBERS, "scratch-b")
    wrong("the mean", check, own.mean(), NUMBERS, "scratch-b")
    wrong("over all regimes", check, NUMBERS["accuracy"].sem(), NUMBERS, "scratch-b")
    wrong("not the standard error", check, 40.0, NUMBERS, "scratch-b")
    wrong("one number", check, own, NUMBERS, "scratch-b")


def test_printed_width():
    check = paper_figures.printed_width
    right(check, 6.75 * 6 / 8, 6.75, 8, 6)
    wrong("the factor by which", check, 6 / 8, 6.75, 8, 6)
    wrong("wrong way round", check, 6.75 * 8 / 6, 6.75, 8, 6)
    wrong("by area", check, 6.75 * (6 / 8) ** 2, 6.75, 8, 6)
    wrong("not the width", check, 3.25, 6.75, 8, 6)


def interval(reach, middle=None):
    """An answer with that reach: a function of the difference and the two samples."""
    def answer(a, b):
        d = a - b
        centre = d.mean() if middle is None else middle(d)
        return centre - reach(d, a, b), centre + reach(d, a, b)

    return answer


def t(d, level=0.975, more=0):
    return stats.t.ppf(level, len(d) - 1 + more)


def error(d, ddof=1):
    return d.std(ddof=ddof) / np.sqrt(len(d))


def test_paired_interval():
    check = paper_figures.paired_interval
    right(check, interval(lambda d, a, b: t(d) * error(d)))
    right(check, lambda a, b: stats.t.interval(0.95, len(a) - 1, (a - b).mean(), stats.sem(a - b)))
    wrong("forgets that they are paired", check, interval(
        lambda d, a, b: t(d) * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(d))))
    wrong("normal law", check, interval(lambda d, a, b: 1.96 * error(d)))
    wrong("divides by n; use", check, interval(lambda d, a, b: t(d) * error(d, 0)))
    wrong("of single differences", check, interval(lambda d, a, b: t(d) * d.std(ddof=1)))
    wrong("90 %", check, interval(lambda d, a, b: t(d, 0.95) * error(d)))
    wrong("degrees of freedom", check, interval(lambda d, a, b: t(d, more=1) * error(d)))
    wrong("wrong length", check, interval(lambda d, a, b: 7 * error(d)))
    wrong("sign is swapped", check, interval(lambda d, a, b: t(d) * error(d), lambda d: -d.mean()))
    wrong("not the mean", check, interval(lambda d, a, b: t(d) * error(d), np.max))
    wrong("ends are swapped", check, interval(lambda d, a, b: -t(d) * error(d)))
    wrong("two numbers", check, lambda a, b: (a - b).mean())
    wrong("must be a function", check, (0, 1))
