"""The checks of notebook 04 are kind to a stub, diagnose mistakes, and accept the solutions."""

import torch
from check_cases import right, unanswered, wrong

from rethinklab.notebook.checks import regression as checks
from rethinklab.notebook.checks.regression import soft

ACCURACY = {"l1": 0.25, "thinet": 0.45, "regression": 0.62, "regression, not refitted": 0.34}


def test_stubs_are_unanswered():
    def dots(*arguments):
        ...

    for stub in (..., None):
        unanswered(checks.refit_gain, stub, ACCURACY)
        unanswered(checks.one_channel, stub)
        unanswered(checks.refit_from_grams, stub)
        unanswered(checks.proximal, stub)
    for check in (checks.refit_from_grams, checks.proximal):
        unanswered(check, dots)
        unanswered(check, lambda gram, *others: (gram, None)[1])


def test_refit_gain():
    right(checks.refit_gain, 28, ACCURACY)
    right(checks.refit_gain, 100 * (0.62 - 0.34), ACCURACY)
    wrong("fractions", checks.refit_gain, 0.28, ACCURACY)
    wrong("sign is swapped", checks.refit_gain, -28.0, ACCURACY)
    wrong("lead over thinet", checks.refit_gain, 17.0, ACCURACY)
    wrong("not the gain", checks.refit_gain, 62.0, ACCURACY)
    wrong("one number", checks.refit_gain, "28", ACCURACY)


def test_a_refit_that_brings_nothing_is_no_mistake():
    right(checks.refit_gain, 0.0, {"l1": 0.1, "regression": 0.1, "regression, not refitted": 0.1})


def test_one_channel():
    right(checks.one_channel, 0.5)
    wrong("without the penalty", checks.one_channel, 0.75)
    wrong("too late", checks.one_channel, 0)
    wrong("not away from it", checks.one_channel, 1.0)
    wrong("factor of two", checks.one_channel, 0.25)
    wrong("derivative to zero", checks.one_channel, 7)
    wrong("one number", checks.one_channel, [0.5])


def features(size, kept, taps):
    return torch.arange(size).view(-1, taps)[kept].flatten()


def refit(gram, cross, kept, taps):
    index = features(len(gram), kept, taps)
    return torch.linalg.solve(gram[index][:, index], cross[index])


def test_refit_from_grams():
    check = checks.refit_from_grams
    right(check, refit)
    wrong("fit with all channels", check, lambda gram, cross, kept, taps:
          torch.linalg.solve(gram, cross)[features(len(gram), kept, taps)])
    wrong("one row for each kept channel", check, lambda gram, cross, kept, taps:
          torch.linalg.solve(gram[kept][:, kept], cross[kept]))
    wrong("sorted by channel", check, lambda gram, cross, kept, taps:
          refit(gram, cross, sorted(kept), taps))
    wrong("turned round", check, lambda *given: refit(*given).T)
    wrong("must have the shape", check, lambda gram, cross, kept, taps:
          torch.linalg.solve(gram, cross))
    wrong("not the least-squares", check, lambda *given: 2 * refit(*given))
    wrong("a matrix", check, lambda *given: 3)
    wrong("must be a function", check, 3)


def steps(gram, cross, strength, size=None, shrink=True, scaled=True):
    size = 1 / torch.linalg.eigvalsh(gram)[-1] if size is None else size
    beta = torch.zeros_like(cross)
    for _ in range(600):
        beta = beta - size * (gram @ beta - cross)
        if shrink:
            beta = soft(beta, strength * (float(size) if scaled else 1))
    return beta


def test_proximal():
    check = checks.proximal
    right(check, steps)
    right(check, checks.descend)
    wrong("without the penalty", check, lambda *given: steps(*given, shrink=False))
    wrong("scaled by the step size", check, lambda *given: steps(*given, scaled=False))
    wrong("without limit", check, lambda gram, cross, strength:
          steps(gram, cross, strength, size=3 / torch.linalg.eigvalsh(gram)[-1]))
    wrong("after all steps", check, lambda gram, cross, strength:
          soft(torch.linalg.solve(gram, cross), strength))
    wrong("signs are swapped", check, lambda *given: -steps(*given))
    wrong("not the coefficients", check, lambda *given: steps(*given) + 1)
    wrong("one coefficient for each", check, lambda gram, cross, strength: gram)
    wrong("must be a function", check, 0.5)
