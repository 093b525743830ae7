"""The checks of notebook 08: stubs, typical mistakes, solutions."""

import pytest
import torch
from check_cases import made_up, right, unanswered, wrong

from rethinklab.notebook.checks import weight_level as checks
from rethinklab.pruners.weight_level import magnitude_masks


@pytest.fixture(scope="module")
def results():
    return made_up({"unpruned": (0.96, 0.96), "finetune": (0.90, 0.92), "lr-rewind": (0.93, 0.95),
                    "scratch-e": (0.86, 0.88), "scratch-b": (0.95, 0.95)})


def dots(*_):
    ...


def test_stubs_are_unanswered(results):
    for stub in (..., None):
        unanswered(checks.lead, stub, results, "scratch-e")
        unanswered(checks.stored_bytes, stub)
    for stub in (..., dots, lambda *_: None, lambda *_: ...):
        unanswered(checks.layer_by_layer, stub)
        unanswered(checks.near_zero, stub)


def test_lead(results):
    right(checks.lead, 7.0, results, "scratch-e")
    wrong("sign is swapped", checks.lead, -7.0, results, "scratch-e")
    wrong("fractions", checks.lead, 0.07, results, "scratch-e")
    wrong("higher mean", checks.lead, 4.0, results, "scratch-e")
    wrong("does not inherit", checks.lead, 8.0, results, "scratch-e")
    wrong("not the difference", checks.lead, 50, results, "scratch-e")
    wrong("one number", checks.lead, "7", results, "scratch-e")


def test_stored_bytes():
    right(checks.stored_bytes, 1_200_000)
    right(checks.stored_bytes, 25 * 3, weights=100, density=0.25, value_bytes=2, index_bytes=1)
    wrong("values alone", checks.stored_bytes, 800_000)
    wrong("every weight with an index", checks.stored_bytes, 6_000_000)
    wrong("index for every weight", checks.stored_bytes, 2_800_000)
    wrong("were removed", checks.stored_bytes, 4_800_000)
    wrong("Multiply", checks.stored_bytes, 1)


def by_layer(weights, share):
    return {name: magnitude_masks({name: weight}, share)[name] for name, weight in weights.items()}


def test_layer_by_layer():
    right(checks.layer_by_layer, by_layer)
    check = checks.layer_by_layer
    wrong("one threshold for all", check, magnitude_masks)
    wrong("wrong way round", check, lambda w, s: {n: ~m for n, m in by_layer(w, s).items()})
    wrong("must remove it", check, lambda w, s: by_layer(w, 1 - s))
    wrong("magnitude is missing", check, lambda w, s: {
        n: v > v.flatten().sort().values[int(v.numel() * s)] for n, v in w.items()})
    wrong("keep the largest magnitudes", check,
          lambda w, s: {n: torch.ones_like(v, dtype=torch.bool) for n, v in w.items()})
    wrong("boolean tensor", check, lambda w, s: {n: m.float() for n, m in by_layer(w, s).items()})
    wrong("dict with a mask", check, lambda w, s: list(by_layer(w, s).values()))
    wrong("must be a function", check, 3)


def test_near_zero():
    check = checks.near_zero
    right(check, lambda w, m, limit: (w[m].abs() < limit).float().mean())
    right(check, lambda w, m, limit: sum(abs(v) < limit for v in w[m].tolist()) / int(m.sum()))
    wrong("their number", check, lambda w, m, limit: int((w[m].abs() < limit).sum()))
    wrong("Masked weights", check, lambda w, m, limit: (w.abs() < limit).float().mean())
    wrong("divides by all", check,
          lambda w, m, limit: float((w[m].abs() < limit).sum()) / m.numel())
    wrong("every negative", check, lambda w, m, limit: (w[m] < limit).float().mean())
    wrong("exactly zero is left out", check,
          lambda w, m, limit: (w[w != 0].abs() < limit).float().mean())
    wrong("must be", check, lambda w, m, limit: 0.123)
