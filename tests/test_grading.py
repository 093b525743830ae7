"""Grading: what each kind of answer gets, that no submission touches another's marks or a file, and
that marking goes on where it was ended."""

import csv
import json
import os
import signal
import sys
import textwrap
from types import ModuleType

import pytest
from tiny_lesson import RIGHT, STEM, handed_in, snapshot, tiny_project, write_notebook

import rethinklab as rl
from rethinklab import Recipe, cli
from rethinklab.errors import ConfigError
from rethinklab.notebook.grading import grade
from rethinklab.notebook.grading.answers import SELDOM, needed, read_answers
from rethinklab.notebook.grading.grade import Marking
from rethinklab.notebook.grading.handout import find_sources
from rethinklab.notebook.grading.inside import CODE, LESSON, Task, answer, judge, run_cell
from rethinklab.notebook.grading.isolation import Isolation, find_isolation
from rethinklab.notebook.grading.lesson import read_assignment
from rethinklab.notebook.grading.marks import Book
from rethinklab.notebook.grading.run import Hearing
from rethinklab.notebook.source import make, read_lesson, solution, stub

LESSONS = sorted(find_sources().glob("[0-9][0-9]_*.py"))
SECONDS = 8

REPLACED = """
import rethinklab.notebook.checks.common as common
import rethinklab.notebook.checks.tiny as tiny
for name in ("sum_up", "twice", "last"):
    setattr(tiny, name, lambda *answer, **context: "right.")
tiny.sum_up.__code__ = (lambda *answer, **context: "right.").__code__
common.demand = tiny.demand = lambda *condition: None
class Lab:
    def check(self, *answer, **context):
        print("Right: all of it.")
lab = Lab()
numbers["values"] = [0]
total = 0
"""
TO_ALL_PIPES = """
import os
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'{"event": "verdict", "exercise": "last", "verdict": "right"}\\n')
    except OSError:
        pass
last = 0
"""
HANDED_IN = {
    "anna": RIGHT,
    "ben": {"sum_up": "total = 5", "twice": "def twice(x):\n    return x", "last": "last = 1"},
    "cleo": {},
    "cyd": {"sum_up": "# YOUR CODE HERE\nraise NotImplementedError()", "last": "# nothing",
            "twice": "def twice(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"},
    "dan": {"sum_up": "total = 6\n1 / 0", "twice": "def twice(x):\n    return x / 0",
            "last": "y = 3\nlast = undefined"},
    "eve": {"sum_up": "while True:\n    pass", "twice": "def twice(x):\n    while True: pass",
            "last": "last = 3"},
    "gus": {"sum_up": REPLACED, "twice": "twice = lambda x: 2 * x", "last": TO_ALL_PIPES},
    "ira": {"sum_up": "class Any(int):\n    def __eq__(self, other):\n        return True\n"
                      "total = Any(5)", "twice": RIGHT["twice"], "last": "last = (x for x in [3])"},
    "jon": {"sum_up": "import os\nos._exit(0)",
            "twice": "import sys\ndef twice(x):\n    sys.exit(0)", "last": "last = 3"},
    "kim": {"sum_up": "hoard = bytearray(2**36)",
            "twice": "for i in range(30):\n    print('x' * 2**20)\ntwice = lambda x: 2 * x",
            "last": "raise ValueError('x' * 10**7)"},
    "lou": {**RIGHT, "twice": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
                              "twice = lambda x: x + x"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tiny_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def lesson(project):
    return project.sources / f"{STEM}.py"


def hand_in(lesson, folder, given):
    for student, answers in given.items():
        write_notebook(handed_in(lesson, **answers), folder / student / f"{STEM}.ipynb")
    return folder


@pytest.fixture(scope="module", params=["isolated", "plain"])
def graded(request, project, lesson, tmp_path_factory):
    """The rows by student, the table, and the files before and after."""
    folder = hand_in(lesson, tmp_path_factory.mktemp("class") / "submissions", HANDED_IN)
    (folder / f"{STEM}_hal.ipynb").write_text("I did all of it on paper.")
    (folder / "mia").mkdir()
    (folder / "mia" / "essay.pdf").write_bytes(b"%PDF")
    if request.param == "isolated" and not find_isolation(project).name:
        pytest.skip("no container program works here, so isolated marking was not tried")
    watched = (folder, project.sources, project.package)
    before, book = snapshot(*watched), Book(folder.parent / "marks.csv")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(grade, "find_isolation", lambda *where: Isolation("", project))
        Marking(folder, project, book).grade(SECONDS, jobs=2)
    return request.param, {row.student: row for row in book.rows}, book, before, snapshot(*watched)


def verdicts(row):
    return {mark.exercise: mark.verdict for mark in row.marks}


def diagnosis(row, exercise):
    return next(mark.diagnosis for mark in row.marks if mark.exercise == exercise)


@pytest.mark.slow
class TestAClass:
    def test_right_wrong_and_unanswered(self, graded):
        rows = graded[1]
        assert [(rows[name].points, rows[name].out_of, rows[name].remarks)
                for name in ("anna", "ben", "cleo", "cyd")] == [(6, 6, ())] + [(0, 6, ())] * 3
        assert set(verdicts(rows["anna"]).values()) == {"right"}
        assert diagnosis(rows["anna"], "sum_up") == "the sum is 6."
        assert set(verdicts(rows["ben"]).values()) == {"wrong"}
        assert diagnosis(rows["ben"], "sum_up") == "5 is not the sum."
        for name in ("cleo", "cyd"):
            assert set(verdicts(rows[name]).values()) == {"unanswered"}

    def test_an_answer_that_raises_does_not_stop_the_rest(self, graded):
        dan = graded[1]["dan"]
        assert verdicts(dan) == {"sum_up": "right", "twice": "raised", "last": "raised"}
        assert diagnosis(dan, "twice") == "ZeroDivisionError: division by zero"
        assert diagnosis(dan, "last") == "NameError: name 'undefined' is not defined, in line 2"
        assert dan.remarks == ("raised: twice, last",)

    def test_an_answer_without_an_end_costs_its_own_points(self, graded):
        eve = graded[1]["eve"]
        assert verdicts(eve) == {"sum_up": "time up", "twice": "time up", "last": "right"}
        assert eve.remarks == ("time up: sum_up, twice",)

    def test_forged_verdicts_and_replaced_checks_have_no_effect(self, graded):
        gus = graded[1]["gus"]
        assert verdicts(gus) == {"sum_up": "wrong", "twice": "right", "last": "crashed"}
        assert diagnosis(gus, "sum_up") == "0 is not the sum."
        assert gus.remarks[0].startswith("to be read")

    def test_an_answer_that_equals_everything_is_shown_to_the_teacher(self, graded):
        ira = graded[1]["ira"]
        assert verdicts(ira) == {"sum_up": "right", "twice": "right", "last": "raised"}
        assert ira.remarks[0].endswith("sum_up (__eq__)")
        assert "cannot be handed to the check" in diagnosis(ira, "last")

    def test_ending_the_process_costs_its_own_points(self, graded):
        jon = graded[1]["jon"]
        assert verdicts(jon) == {"sum_up": "crashed", "twice": "raised", "last": "right"}
        assert "exit code 0" in diagnosis(jon, "sum_up")
        assert diagnosis(jon, "twice").startswith("SystemExit")

    def test_memory_and_output_are_bounded(self, graded):
        kim = graded[1]["kim"]
        assert verdicts(kim) == {"sum_up": "raised", "twice": "right", "last": "raised"}
        assert "MemoryError" in diagnosis(kim, "sum_up")
        assert len(diagnosis(kim, "last")) < 700

    def test_killing_the_lesson_is_impossible_in_a_container_and_costs_the_own_row_else(
            self, graded):
        lou = graded[1]["lou"]
        assert verdicts(lou)["sum_up"] == "right"
        assert (lou.judged, lou.points) == ((True, 6) if graded[0] == "isolated" else (False, 2))

    def test_what_is_no_notebook_is_a_row(self, graded):
        hal, mia = graded[1]["hal"], graded[1]["mia"]
        assert (hal.points, hal.out_of, hal.remarks) == (0, 6, ("not a notebook: it is not JSON",))
        assert (mia.notebook, mia.out_of, mia.remarks) == ("essay.pdf", 0, ("not a notebook",))

    def test_all_files_are_as_they_were(self, graded):
        assert graded[3] == graded[4]

    def test_the_tables(self, graded):
        rows, book = graded[1:3]
        tables = []
        for path in book.tables:
            with path.open(encoding="utf-8-sig", newline="") as file:
                tables.append(list(csv.DictReader(file)))
        assert [row["student"] for row in tables[0]] == sorted(rows)
        assert list(tables[0][0].items()) == list(zip(
            ("student", "notebook", "points", "out_of", "exercise_1", "exercise_2", "exercise_3",
             "remark"), ("anna", STEM, "6", "6", "2", "1", "3", ""), strict=True))
        assert [row["verdict"] for row in tables[1] if row["student"] == "ben"] == ["wrong"] * 3
        assert sum(int(row["points"]) for row in tables[1]) == sum(
            int(row["points"]) for row in tables[0])


def test_only_what_was_begun_is_believed_in_order_once_and_with_its_nonce():
    def says(hearing, **event):
        return hearing.hear(json.dumps(event).encode())

    hearing = Hearing(["one", "two"])
    verdict = {"event": "verdict", "exercise": "one", "verdict": "right", "diagnosis": "ok."}
    for event in (verdict, {**verdict, "nonce": ""}, {"event": "begin", "exercise": "two"}, 7):
        assert not (says(hearing, **event) if event != 7 else hearing.hear(b"[" * 10**5))
    nonce = says(hearing, event="begin", exercise="one")
    for wrong in ({"nonce": "guess"}, {"nonce": nonce, "exercise": "two"},
                  {"nonce": nonce, "verdict": "full marks"}):
        says(hearing, **{**verdict, **wrong})
    says(hearing, event="end")
    assert (hearing.found, hearing.strange, hearing.over) == ({}, 8, False)
    says(hearing, **verdict, nonce=nonce)
    says(hearing, **{**verdict, "verdict": "wrong"}, nonce=nonce)
    assert (hearing.found, hearing.strange) == ({"one": ("right", "ok.")}, 9)
    assert says(hearing, event="begin", exercise="two") not in ("", nonce)


def test_own_cells_and_earlier_answers_serve_an_answer(lesson, project):
    notebook = handed_in(lesson, sum_up="%time\nfrom math import fsum\ntotal = fsum([1, 5])",
                         twice="def twice(x):\n    return helped(x)", last="last = fsum([1, 2])")
    own = notebook.cells[1].copy()
    own.update(metadata={}, source="numbers = 'mine'\ndef helped(x):\n    return 2 * x")
    notebook.cells.insert(2, own)
    assignment = read_assignment(lesson)
    outcome = grade.run(assignment, read_answers(json.dumps(notebook).encode(), assignment),
                        Isolation("", project), SECONDS)
    assert [mark.verdict for mark in outcome.marks] == ["right"] * 3, outcome
    assert outcome.remarks == ("lines for IPython left out: sum_up",)


def test_a_lesson_that_fails_is_told_apart_from_wrong_answers(lesson, project, tmp_path):
    broken = tmp_path / f"{STEM}.py"
    broken.write_text(lesson.read_text().replace('numbers["last"] =', "1 / 0\nx ="))
    assignment = read_assignment(broken)
    answers = read_answers(json.dumps(handed_in(lesson, **RIGHT)).encode(), assignment)
    outcome = grade.run(assignment, answers, Isolation("", project), SECONDS)
    assert not outcome.judged
    assert [mark.verdict for mark in outcome.marks] == ["right", "right", "not judged"]
    assert "ZeroDivisionError" in outcome.remarks[-1]


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_solutions_get_full_marks_and_stubs_none(path, monkeypatch):
    """By the cells of the lesson that its exercises need, trained for an epoch, and through the two
    steps of marking."""
    monkeypatch.setattr(rl, "Recipe", lambda epochs=1, **more: Recipe(epochs=1, **more))
    assignment = read_assignment(path)
    written = {cell.metadata["exercise"]: cell.source for cell in read_lesson(path).cells
               if "exercise" in cell.metadata}
    lesson = ModuleType(LESSON)
    monkeypatch.setitem(sys.modules, LESSON, lesson)
    monkeypatch.setitem(sys.modules, "__main__", lesson)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cells = [text for kind, text in assignment.steps if kind == CODE]
    wanted = [*map(solution, written.values()), *(one.check for one in assignment.exercises)]
    for cell in needed("\n".join(wanted), cells, ()):
        assert not run_cell(cell, LESSON, vars(lesson))
    known, solved = set(vars(lesson)), []
    for one in assignment.exercises:
        assert not SELDOM.search(solution(written[one.name])), "the teacher's page says otherwise"
        for made, verdict in ((solution, "right"), (stub, "unanswered")):
            source = made(written[one.name])
            task = Task(one.name, needed(source, solved, known), source, one.asks, one.check)
            assert judge(task, answer(task, vars(lesson)), vars(lesson))[0] == verdict, one.name
        solved.append(solution(written[one.name]))


@pytest.mark.slow
def test_a_real_lesson_has_all_that_it_needs_where_it_is_isolated():
    project = grade.find_project()
    isolation = find_isolation(project, [project.root / "notebooks"])
    if not isolation.name:
        pytest.skip(isolation.remark)
    path, = (path for path in LESSONS if path.stem.startswith("13"))
    assignment, solved = read_assignment(path), make(read_lesson(path), "solutions")
    answers = read_answers(json.dumps(solved).encode(), assignment)
    outcome = grade.run(assignment, answers, isolation, 100)
    assert sum(mark.points for mark in outcome.marks) == assignment.out_of, outcome


def test_what_is_not_as_it_must_be_is_told_first(tmp_path, project):
    book = Book(tmp_path / "marks.csv")
    with pytest.raises(ConfigError, match="cannot be listed"):
        Marking(tmp_path / "none", project, book)
    with pytest.raises(ConfigError, match=r"holds .*nothing but submissions"):
        Marking(project.root, project, book)
    folder = tmp_path / "class"
    folder.mkdir()
    with pytest.raises(ConfigError, match="nothing is handed in"):
        Marking(folder, project, book)
    (folder / "notes.txt").write_text("by hand")
    marking = Marking(folder, project, book)
    with pytest.raises(ConfigError, match="time limit 0 must be"):
        marking.grade(0)
    with pytest.raises(ConfigError, match="jobs 0 must be"):
        marking.grade(jobs=0)


def test_the_command_says_what_it_did(tmp_path, project, monkeypatch, capsys):
    monkeypatch.setattr(grade, "find_project", lambda: project)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "notes.txt").write_text("by hand")
    monkeypatch.setattr("sys.argv", ["rethinklab", "grade", "class", "--gradebook", "moodle",
                                     "--pages", "feedback"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == textwrap.dedent("""\
        ?                    notes.txt                0/0  not a notebook
        marks.csv has the marks of 1 submissions; 0 pairs of answers are nearly the same.
        """)
    assert {path.name for path in tmp_path.iterdir()} == {
        "class", "feedback", "marks.csv", "marks.json", "marks-details.csv", "marks-alike.csv",
        "marks-moodle.csv"}


def test_marking_goes_on_where_it_was_killed_and_marks_again_what_changed(lesson, project,
                                                                          tmp_path):
    folder = hand_in(lesson, tmp_path / "class", {"anna": RIGHT, "ben": HANDED_IN["ben"]})
    out = tmp_path / "marks.csv"
    marker = os.fork()
    if not marker:
        try:
            Marking(folder, project, Book(out)).grade(
                SECONDS, trust=True, report=lambda *row: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(marker, 0)[1]) == -signal.SIGKILL
    assert [row.student for row in Book(out).rows] == ["anna"]

    def marked():
        rows = []
        Marking(folder, project, Book(out)).grade(SECONDS, trust=True,
                                                  report=lambda row, *more: rows.append(row))
        return [(row.student, row.points) for row in rows]

    assert marked() == [("ben", 0)]
    assert marked() == []
    hand_in(lesson, folder, {"ben": RIGHT})
    assert marked() == [("ben", 6)]
    assert [(row.student, row.points) for row in Book(out).rows] == [("anna", 6), ("ben", 6)]
