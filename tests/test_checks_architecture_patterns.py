"""The checks of notebook 12 are kind to stubs, diagnose mistakes and accept solutions."""

import pandas as pd
import pytest
from check_cases import right, unanswered, wrong

from rethinklab.notebook.checks import architecture_patterns
from rethinklab.pruners.shares import stage_shares
from rethinklab.pruners.stages import layer_sides

WIDTHS = pd.DataFrame(
    [("a", 0, 4, 3), ("a", 1, 4, 1), ("b", 0, 8, 7), ("b", 1, 8, 7), ("c", 0, 32, 4),
     ("c", 1, 32, 8), ("d", 0, 64, 32), ("d", 1, 64, 41), ("e", 0, 64, 6), ("e", 1, 64, 9)],
    columns=["layer", "seed", "before", "after"])


def test_stubs_are_unanswered():
    def stub(shares, widths, sides):
        ...

    for dots in (..., None):
        unanswered(architecture_patterns.least_agreed, dots, WIDTHS)
        unanswered(architecture_patterns.corner_on_pixels, dots, 2)
        unanswered(architecture_patterns.transfer, dots)
    unanswered(architecture_patterns.transfer, stub)


def test_least_agreed():
    check = architecture_patterns.least_agreed
    right(check, "d", WIDTHS)
    wrong("name of a layer", check, 9, WIDTHS)
    wrong("name of a layer", check, "x", WIDTHS)
    wrong("agree most", check, "b", WIDTHS)
    wrong("differ most in the share", check, "a", WIDTHS)
    wrong("keeps least on average", check, "e", WIDTHS)
    wrong("in another layer by more", check, "c", WIDTHS)


def test_corner_on_pixels():
    check = architecture_patterns.corner_on_pixels
    right(check, 0.25, 2)
    right(check, 9 / 16, 4)
    wrong("on the border", check, 0.75, 2)
    wrong("rows or columns only", check, 0.5, 2)
    wrong("the centre", check, 1, 2)
    wrong("divide it by all 16", check, 9, 4)
    wrong("Write down the 4", check, 0.1, 2)


def transfer(order=True, narrow=round, least=1):
    def answer(shares, widths, sides):
        share = dict(zip(sorted(set(sides.values()), reverse=order), shares, strict=True))
        return {name: max(least, narrow(width * share[sides[name]]))
                for name, width in widths.items()}

    return answer


def test_transfer():
    check = architecture_patterns.transfer
    right(check, transfer())
    wrong("wrong order", check, transfer(order=False))
    wrong("without a channel", check, transfer(least=0))
    wrong("cut down", check, transfer(narrow=int))
    wrong("whole numbers", check, transfer(narrow=float, least=0))
    wrong("should have", check, transfer(narrow=lambda value: 2))
    wrong("every layer", check, lambda shares, widths, sides: list(widths.values()))
    wrong("must be a function", check, {"a": 6})


@pytest.mark.parametrize("seed", [1, 2])
def test_the_solution_is_what_the_package_does(seed):
    from rethinklab.models import build_model
    from rethinklab.pruners import RandomWidths

    class Shape:
        input_shape = (3, 32, 32)

    model = build_model("vgg11", width=0.125)
    plan = RandomWidths(0.5, of="l1", seed=seed).fit(model, Shape())
    sides = {name: layer_sides(model, Shape.input_shape).get(name, 0) for name in plan.widths}
    made = transfer()(stage_shares(plan, model)["channels"], plan.widths, sides)
    assert made == plan.guided(model).kept_widths
