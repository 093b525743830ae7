"""What the checks of the exercises share.

A check takes an answer and gives the sentence that confirms it. It raises Unanswered for a stub
that is still dots, and Wrong with a diagnosis for anything else; `lab.check` shows all three.
"""

from __future__ import annotations

import dis
import math
from typing import Any

from rethinklab.values import plain

UNANSWERED = "Not yet answered: put your answer in place of the dots and run both cells again."

NOTHING = ("Not yet answered: your function gives back nothing. Put your answer in place of the "
           "dots, or end it with return if you have.")


class Wrong(AssertionError):
    """A wrong answer; the message says what is wrong with it."""


class Unanswered(Wrong):
    """A stub that is still dots."""


def answered(answer: Any) -> None:
    """Raises Unanswered for `...`, None, and a function or method whose body is dots."""
    if answer is ... or answer is None or _is_stub(answer):
        raise Unanswered(UNANSWERED)


def returned(value: Any) -> Any:
    """What a function of the reader's gave back. Raises Unanswered for dots and for None."""
    if value is ... or value is None:
        raise Unanswered(NOTHING)
    return value


def number(answer: Any) -> float:
    """A single number as float (or int). Raises Unanswered for dots, Wrong for anything else."""
    answered(answer)
    found = plain(answer)
    demand(not isinstance(found, bool) and hasattr(found, "__float__")
           and not hasattr(found, "__len__"),
           f"The answer must be one number, not {kind(answer)}.")
    return found if isinstance(found, int) else float(found)


def demand(condition: bool, diagnosis: str) -> None:
    """Raises Wrong with the diagnosis unless the condition holds."""
    if not condition:  # an assert statement would vanish under python -O
        raise Wrong(diagnosis)


def refuse(condition: bool, diagnosis: str) -> None:
    """Raises Wrong with the diagnosis where the condition holds: a typical mistake."""
    demand(not condition, diagnosis)


def close(a: float, b: float) -> bool:
    """Whether two numbers agree to about three digits."""
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=5e-3)


def near(a: float, b: float) -> bool:
    """Whether two numbers agree to two percent, as rounded ones do."""
    return math.isclose(a, b, rel_tol=0.02)


def kind(answer: Any) -> str:
    """What an answer is, in words."""
    return ("a class" if isinstance(answer, type)
            else f"an object of the class {type(answer).__name__}")


def _is_stub(answer: Any) -> bool:
    """Whether a function does nothing but give back None, as the body `...` does."""
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    return ({step.opname for step in steps} <= {"LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
            and steps[0].argval is None)
