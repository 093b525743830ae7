"""One answer and its check, in a process of their own that ends with the verdict."""

from __future__ import annotations

import linecache
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import CodeType, ModuleType
from typing import Any

from rethinklab.notebook.checks.common import Unanswered, Wrong
from rethinklab.notebook.grading.answers import as_python, needed
from rethinklab.notebook.grading.guard import Snapshot, Values
from rethinklab.notebook.grading.lesson import uses

RIGHT, WRONG, UNANSWERED, RAISED = "right", "wrong", "unanswered", "raised"
NOT_YET = "Not yet answered."  # an empty cell, or the stub that nbgrader puts there
LONGEST = 600  # characters of a diagnosis


@dataclass(frozen=True)
class Task:
    """An answer to judge. asks: names that it has to define. check: the cell that judges them.
    earlier: cells of the student's own that it may need."""

    name: str
    answer: str
    asks: Sequence[str]
    check: str
    earlier: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """What was found. plain: False where lines for IPython were left out of the answer."""

    verdict: str
    diagnosis: str = ""
    plain: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Judge:
    """Stands for `lab` in a check cell: hears what the check says instead of showing it."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self.heard: list[Verdict] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lab, name)

    def check(self, check: Callable[..., str], *answer: Any, **context: Any) -> None:
        """As `Session.check`."""
        try:
            self.heard.append(Verdict(RIGHT, _bounded(check(*answer, **context))))
        except (Unanswered, NotImplementedError) as error:
            self.heard.append(Verdict(UNANSWERED, _text(error) or NOT_YET))
        except Wrong as error:
            self.heard.append(Verdict(WRONG, _text(error)))
        except BaseException as error:  # the answer may be a function, and end the process
            self.heard.append(Verdict(RAISED, describe(error)))


def attempt(task: Task, namespace: dict[str, Any], restrict: Callable[[], None]) -> Verdict:
    """Execute the answer in a copy of the lesson's namespace, and judge it by the lesson's own
    check and values. restrict: called before the first line that the student wrote."""
    taken = {name for name in uses(task.check) if name in namespace} - set(task.asks)
    values, snapshot = Values(namespace, taken), Snapshot()
    own = ModuleType("__main__")
    known = {name: value for name, value in namespace.items() if name not in task.asks}
    vars(own).update(known)
    sys.modules["__main__"] = own
    answer, plain = as_python(task.answer)
    before = needed(answer, [as_python(cell)[0] for cell in task.earlier], known)
    restrict()
    for number, source in enumerate(before):
        _execute(source, f"own-{number}", own)
    raised = _execute(answer, task.name, own)
    sys.settrace(None)
    sys.setprofile(None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    snapshot.restore()
    given = {name: vars(own)[name] for name in task.asks if name in vars(own)}
    missing = [name for name in task.asks if name not in given]
    if missing:
        return _undefined(answer, missing, raised, plain)
    judge = Judge(namespace.get("lab"))
    judged = {**namespace, **values.current(namespace), **given, "lab": judge}
    failed = _run(_compiled(task.check, f"check-{task.name}"), judged)
    verdict = max(judge.heard, key=lambda one: ORDER.index(one.verdict),
                  default=Verdict(RAISED, f"the check did not judge it: {failed}"))
    return Verdict(verdict.verdict, verdict.diagnosis, plain)


ORDER = (RIGHT, UNANSWERED, WRONG, RAISED)  # of several checks in a cell the worst counts


def describe(error: BaseException, cell: str = "") -> str:
    """An exception in a line, with the line of the cell that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if cell and frame.filename == cell]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno or 0]
    where = f", in line {lines[-1]}" if lines else ""
    return _bounded(f"{type(error).__name__}: {_text(error) or 'no message'}{where}")


def _undefined(answer: str, missing: list[str], raised: str, plain: bool) -> Verdict:
    if raised.startswith(NotImplementedError.__name__) or not any(
            line.strip() and not line.strip().startswith("#") for line in answer.split("\n")):
        return Verdict(UNANSWERED, NOT_YET, plain)
    if raised:
        return Verdict(RAISED, raised, plain)
    return Verdict(WRONG, f"The answer cell does not define {', '.join(missing)}.", plain)


def _execute(source: str, name: str, module: ModuleType) -> str:
    """Run a cell of the student's; what it raised, or ""."""
    try:
        code = _compiled(source, name)
    except BaseException as error:
        return describe(error)
    return _run(code, vars(module))


def _run(code: CodeType, namespace: dict[str, Any]) -> str:
    try:
        exec(code, namespace)
    except BaseException as error:
        return describe(error, code.co_filename)
    return ""


def _compiled(source: str, name: str) -> CodeType:
    """The code of a cell, which a function of it can be asked for with `inspect.getsource`."""
    file = f"<cell {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return compile(source, file, "exec", dont_inherit=True)


def _text(error: BaseException) -> str:
    try:
        return _bounded(" ".join(str(error)[:10 * LONGEST].split()))
    except BaseException:
        return ""


def _bounded(text: object) -> str:
    text = str(text)
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."
