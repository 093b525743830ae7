"""The checks of notebook 03 are kind to a stub, diagnose mistakes, and accept the solutions."""

import pytest
import torch
from check_cases import right, unanswered, wrong

from rethinklab.notebook.checks import thinet as checks
from rethinklab.pruners.gram import greedy_removal

ALONE = {"l1": {"a": 0.2, "b": 0.9, "c": 0.6, "d": 0.3},
         "thinet": {"a": 0.1, "b": 0.2, "c": 0.1, "d": 0.2}}  # ratios 2, 4.5, 6, 1.5


def test_stubs_are_unanswered():
    def dots(gram, remove):
        ...

    for stub in (..., None):
        unanswered(checks.largest_gain, stub, ALONE)
        unanswered(checks.by_hand, stub)
        unanswered(checks.greedy_from_gram, stub)
        unanswered(checks.scales_from_gram, stub)
    unanswered(checks.greedy_from_gram, dots)
    unanswered(checks.scales_from_gram, dots)
    unanswered(checks.greedy_from_gram, lambda gram, remove: (gram, None)[1])
    unanswered(checks.scales_from_gram, lambda gram, kept: (gram, None)[1])


def test_largest_gain():
    right(checks.largest_gain, "c", ALONE)
    wrong("smallest", checks.largest_gain, "d", ALONE)
    wrong("largest difference", checks.largest_gain, "b", ALONE)
    wrong("another layer the ratio is larger", checks.largest_gain, "a", ALONE)
    wrong("name of a layer", checks.largest_gain, 0.6, ALONE)


def test_largest_error_is_not_the_largest_gain():
    errors = {"l1": {"a": 0.9, "b": 0.8, "c": 0.1}, "thinet": {"a": 0.5, "b": 0.1, "c": 0.09}}
    wrong("Divide it", checks.largest_gain, "a", errors)


def test_by_hand():
    right(checks.by_hand, [2, 0])
    right(checks.by_hand, (2, 0))
    right(checks.by_hand, torch.tensor([2, 0]))
    wrong("wrong order", checks.by_hand, [0, 2])
    wrong("smallest entries of the diagonal", checks.by_hand, [2, 1])
    wrong("best pair", checks.by_hand, [1, 0])
    wrong("four entries", checks.by_hand, [1, 2])
    for answer in ([2], [2, 2], [2, 3], 2, "two"):
        wrong("list of two", checks.by_hand, answer)


def test_greedy_from_gram():
    def solution(gram, remove):
        growth, gone = gram.diagonal().clone(), []
        for _ in range(remove):
            gone.append(int(growth.argmin()))
            growth += 2 * gram[gone[-1]]
            growth[gone[-1]] = float("inf")
        return gone

    def spoils(gram, remove):
        found = solution(gram, remove)
        gram.zero_()
        return found

    check = checks.greedy_from_gram
    right(check, solution)
    right(check, greedy_removal)
    wrong("diagonal", check, lambda gram, n: gram.diagonal().argsort()[:n].tolist())
    wrong("counts twice", check, lambda gram, n: checks.plain_greedy(gram, n, cross=1.0))
    wrong("not in the order", check, lambda gram, n: sorted(solution(gram, n)))
    wrong("changes the matrix", check, spoils)
    wrong("taken twice", check, lambda gram, n: [int(gram.diagonal().argmin())] * n)
    wrong("differ from those", check, lambda gram, n: list(range(n)))
    wrong("where 5 were to go", check, lambda gram, n: solution(gram, n - 1))
    wrong("list of channels", check, lambda gram, n: gram)
    wrong("must be a function", check, [1, 2])


def test_scales_from_gram():
    def solution(gram, kept):
        return torch.linalg.solve(gram[kept][:, kept], gram[kept].sum(1))

    check = checks.scales_from_gram
    right(check, solution)
    right(check, lambda gram, kept: solution(gram, kept)[:, None])
    wrong("All factors are one", check,
          lambda gram, kept: torch.linalg.solve(gram[kept][:, kept], gram[kept][:, kept].sum(1)))
    wrong("sorted by channel", check, lambda gram, kept: solution(gram, sorted(kept)))
    wrong("one factor for each", check, lambda gram, kept: gram.sum(1))
    wrong("not the least-squares", check, lambda gram, kept: 2 * solution(gram, kept))
    wrong("must be a function", check, 1.0)


@pytest.mark.parametrize("draw", range(4))
def test_the_definition_is_that_of_the_package(draw):
    gram = checks.sample_gram(draw)
    assert checks.plain_greedy(gram, 6) == greedy_removal(gram, 6)
