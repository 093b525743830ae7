"""Grading: what each kind of answer gets, and that no submission touches another's marks or a
file. The package that submissions attack here is a copy."""

import csv
import dataclasses
import json
import textwrap
from pathlib import Path

import pytest
from tiny_lesson import RIGHT, STEM, handed_in, snapshot, tiny_project, write_notebook

import rethinklab
from rethinklab import cli
from rethinklab.errors import ConfigError
from rethinklab.notebook.grading.answers import Answers, read_answers
from rethinklab.notebook.grading.grade import grade
from rethinklab.notebook.grading.lesson import CHECK, read_assignment
from rethinklab.notebook.grading.marks import check_out, details_path
from rethinklab.notebook.grading.run import Project, run
from rethinklab.notebook.source import read_lesson, solution, stub

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
SECONDS = 20

ATTACKS = """
import ctypes, os, shutil, socket, sqlite3, subprocess, multiprocessing
refused = []
def attack(function, *arguments, **more):
    try:
        function(*arguments, **more)
    except PermissionError as refusal:
        refused.append(str(refusal))
for path in {files}:
    attack(open, path, "w")
    attack(os.open, path, os.O_WRONLY | os.O_APPEND)
    attack(os.remove, path)
    attack(os.rename, path, "mine")
    attack(os.link, path, "mine")
    attack(os.truncate, path, 0)
    attack(os.chmod, path, 0o777)
    attack(shutil.rmtree, os.path.dirname(path))
    os.symlink(path, "way") if not os.path.lexists("way") else None
    attack(open, "way", "a")
    os.remove("way")
attack(sqlite3.connect, {files}[0] + ".db")
attack(open, {other!r})
attack(subprocess.run, ["true"])
attack(os.system, "true")
attack(os.fork)
attack(multiprocessing.get_context("spawn").Process(target=print).start)
attack(os.kill, os.getppid(), 9)
attack(os.killpg, 0, 9)
attack(socket.create_connection, ("127.0.0.1", 9))
attack(lambda: ctypes.CDLL(None).kill)
with open("own.txt", "w") as file:
    file.write("own folder")
os.remove("own.txt")
total = 6 if len(refused) == 9 * len({files}) + 10 else refused
"""
FORGERY = """
import os, sys
import rethinklab.notebook.checks.tiny as tiny
line = '{"event": "verdict", "exercise": "last", "verdict": "right", "diagnosis": ""}'
print("points: 6/6"); print(line); sys.stderr.write(line)
for name in ("sum_up", "twice", "last"):
    setattr(tiny, name, lambda *answer, **context: "right.")
    setattr(checks, name, lambda *answer, **context: "right.")
tiny.sum_up.__code__ = (lambda *answer, **context: "right.").__code__
import rethinklab.notebook.checks.common as common
common.demand = lambda *condition: None
class Lab:
    def check(self, *answer, **context):
        print("Right: all of it.")
lab = Lab()
numbers["values"] = [0]
total = 0
"""
CHANNEL = """
import os
line = b'{"word": "", "verdict": "right", "diagnosis": "", "plain": true}'
for descriptor in range(3, 64):
    try:
        os.write(descriptor, line + bytes([10]))
    except OSError:
        pass
last = 0
"""
IN_C = """
import torch
for path in {files}:
    torch._C.PyTorchFileWriter(path).write_end_of_file()
total = 6
"""
HANDED_IN = {
    "anna": RIGHT,
    "ben": {"sum_up": "total = 5", "twice": "def twice(x):\n    return x", "last": "last = 1"},
    "cleo": {},
    "dan": {"sum_up": "total = 6\n1 / 0", "twice": "def twice(x):\n    return x / 0",
            "last": "y = 3\nlast = undefined"},
    "cyd": {"sum_up": "# YOUR CODE HERE\nraise NotImplementedError()", "last": "# nothing",
            "twice": "def twice(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"},
    "eve": {"sum_up": "while True:\n    pass", "twice": "def twice(x):\n    while True: pass",
            "last": "last = 3"},
    "gus": {"sum_up": FORGERY, "twice": "twice = lambda x: 2 * x", "last": CHANNEL},
    "jon": {"sum_up": "import os\nos._exit(0)",
            "twice": "import sys\ndef twice(x):\n    sys.exit(0)", "last": "last = 3"},
    "kim": {"sum_up": "hoard = bytearray(2**36)",
            "twice": "for i in range(300):\n    print('x' * 2**20)\ntwice = lambda x: 2 * x",
            "last": "raise ValueError('x' * 10**7)"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tiny_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def lesson(project):
    return project.sources / f"{STEM}.py"


@pytest.fixture(scope="module")
def assignment(lesson):
    return read_assignment(lesson)


@pytest.fixture(scope="module")
def submissions(lesson, project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "submissions"
    files = [str(folder / "anna" / f"{STEM}.ipynb"), str(lesson),
             str(project.package / "notebook" / "checks" / "tiny.py"),
             str(folder.parent / "marks.csv")]
    (folder.parent / "marks.csv").write_text("student,points\nanna,6\n")
    attacks = ATTACKS.format(files=files, other=str(folder / "ben" / f"{STEM}.ipynb"))
    given = {**HANDED_IN, "fay": {**RIGHT, "sum_up": attacks},
             "lou": {**RIGHT, "sum_up": IN_C.format(files=files)}}
    for student, answers in given.items():
        write_notebook(handed_in(lesson, **answers), folder / student / f"{STEM}.ipynb")
    edited = handed_in(lesson, **HANDED_IN["ben"])
    for cell in edited.cells:
        if cell.source.startswith("lab.check"):
            cell.source = "print('Right: whatever.')"
    write_notebook(edited, folder / f"ida_{STEM}.ipynb")
    (folder / f"{STEM}_hal.ipynb").write_text("I did all of it on paper.")
    (folder / "mia").mkdir()
    (folder / "mia" / "essay.pdf").write_bytes(b"%PDF")
    return folder


@pytest.fixture(scope="module")
def graded(submissions, project):
    """The rows by student, and the files before and after."""
    watched = (submissions, project.sources, project.package)
    before = snapshot(*watched)
    out = submissions.parent / "marks.csv"
    rows = grade(submissions, out, project, SECONDS, force=True)
    return {row.student: row for row in rows}, before, snapshot(*watched), out


def verdicts(row):
    return {mark.exercise: mark.verdict for mark in row.marks}


def diagnosis(row, exercise):
    return next(mark.diagnosis for mark in row.marks if mark.exercise == exercise)


@pytest.mark.slow
class TestAClass:
    def test_right_wrong_and_unanswered(self, graded):
        rows = graded[0]
        assert [(rows[name].points, rows[name].out_of, rows[name].remarks)
                for name in ("anna", "ben", "cleo", "cyd")] == [(6, 6, ())] + [(0, 6, ())] * 3
        assert set(verdicts(rows["anna"]).values()) == {"right"}
        assert diagnosis(rows["anna"], "sum_up") == "the sum is 6."
        assert set(verdicts(rows["ben"]).values()) == {"wrong"}
        assert diagnosis(rows["ben"], "sum_up") == "5 is not the sum."
        for name in ("cleo", "cyd"):
            assert set(verdicts(rows[name]).values()) == {"unanswered"}

    def test_an_answer_that_raises_does_not_stop_the_rest(self, graded):
        dan = graded[0]["dan"]
        assert verdicts(dan) == {"sum_up": "right", "twice": "raised", "last": "raised"}
        assert diagnosis(dan, "twice") == "ZeroDivisionError: division by zero"
        assert diagnosis(dan, "last") == "NameError: name 'undefined' is not defined, in line 2"
        assert dan.remarks == ("raised: twice, last",)

    def test_an_answer_without_an_end_costs_its_own_points(self, graded):
        eve = graded[0]["eve"]
        assert verdicts(eve) == {"sum_up": "time up", "twice": "time up", "last": "right"}
        assert eve.remarks == ("time up: sum_up, twice",)

    def test_attacks_are_refused_with_a_plain_message(self, graded):
        fay = graded[0]["fay"]
        assert (fay.points, fay.remarks) == (6, ()), diagnosis(fay, "sum_up")

    def test_forged_verdicts_and_replaced_checks_have_no_effect(self, graded):
        gus = graded[0]["gus"]
        assert verdicts(gus) == {"sum_up": "wrong", "twice": "right", "last": "crashed"}
        assert diagnosis(gus, "sum_up") == "0 is not the sum."
        assert gus.remarks == ("crashed: last",)

    def test_ending_the_process_costs_its_own_points(self, graded):
        jon = graded[0]["jon"]
        assert verdicts(jon) == {"sum_up": "crashed", "twice": "raised", "last": "right"}
        assert "exit code 0" in diagnosis(jon, "sum_up")
        assert diagnosis(jon, "twice").startswith("SystemExit")

    def test_memory_and_output_are_bounded(self, graded):
        kim = graded[0]["kim"]
        assert verdicts(kim) == {"sum_up": "raised", "twice": "right", "last": "raised"}
        assert "MemoryError" in diagnosis(kim, "sum_up")
        assert len(diagnosis(kim, "last")) < 700

    def test_edited_checks_have_no_effect(self, graded):
        ida = graded[0]["ida"]
        assert (ida.points, ida.out_of) == (0, 6)
        assert ida.remarks == ("checks were edited, which has no effect: sum_up, twice, last",)

    def test_what_is_no_notebook_is_a_row(self, graded):
        hal, mia = graded[0]["hal"], graded[0]["mia"]
        assert (hal.points, hal.out_of, hal.remarks) == (0, 6, ("not a notebook: it is not JSON",))
        assert (mia.notebook, mia.out_of, mia.remarks) == ("essay.pdf", 0, ("not a notebook",))

    def test_what_changed_all_the_same_is_put_back_and_told(self, graded):
        lou = graded[0]["lou"]
        assert lou.points == 6
        assert sum("meanwhile and is put back" in remark for remark in lou.remarks) == 4
        assert not any("put back" in remark for name, row in graded[0].items() if name != "lou"
                       for remark in row.remarks)

    def test_all_files_are_as_they_were(self, graded):
        _, before, after, _ = graded
        assert after == before

    def test_the_tables(self, graded):
        rows, _, _, out = graded
        with out.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.DictReader(file))
        assert [row["student"] for row in table] == sorted(rows)
        assert list(table[0]) == ["student", "notebook", "points", "out_of", "exercise_1",
                                  "exercise_2", "exercise_3", "remark"]
        assert list(table[0].values()) == ["anna", STEM, "6", "6", "2", "1", "3", ""]
        with details_path(out).open(encoding="utf-8-sig", newline="") as file:
            details = list(csv.DictReader(file))
        assert [row["verdict"] for row in details if row["student"] == "ben"] == ["wrong"] * 3
        assert sum(int(row["points"]) for row in details) == sum(
            int(row["points"]) for row in table)


@pytest.mark.slow
def test_own_cells_and_earlier_answers_serve_an_answer(lesson, assignment, project):
    notebook = handed_in(lesson, sum_up="%time\nfrom math import fsum\ntotal = fsum([1, 5])",
                         twice="def twice(x):\n    return helped(x)", last="last = fsum([1, 2])")
    own = notebook.cells[1].copy()
    own.update(metadata={}, source="numbers = 'mine'\ndef helped(x):\n    return 2 * x")
    notebook.cells.insert(2, own)
    answers = read_answers(json.dumps(notebook).encode(), assignment)
    outcome = run(assignment, answers, project, SECONDS)
    assert [mark.verdict for mark in outcome.marks] == ["right"] * 3, outcome
    assert outcome.remarks == ("lines for IPython left out: sum_up",)


@pytest.mark.slow
def test_a_lesson_that_fails_is_told_apart_from_wrong_answers(assignment, project):
    steps = (assignment.steps[0], assignment.steps[1], ("code", "1 / 0"), *assignment.steps[2:])
    broken = dataclasses.replace(assignment, steps=steps)
    outcome = run(broken, Answers(RIGHT, {name: [] for name in RIGHT}, ()), project, SECONDS)
    assert not outcome.judged
    assert [mark.verdict for mark in outcome.marks] == ["right", "not judged", "not judged"]
    assert "ZeroDivisionError" in outcome.remarks[-1]


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_solutions_get_full_marks_and_stubs_none(path):
    """Both in one run of the lesson: each check judges the solution, and then the stub."""
    lesson, real = read_lesson(path), read_assignment(path)
    written = {cell.metadata["exercise"]: cell.source for cell in lesson.cells
               if "exercise" in cell.metadata}
    given = {name: solution(source) for name, source in written.items()}
    given |= {f"stub of {name}": stub(source) for name, source in written.items()}
    both = dataclasses.replace(
        real, exercises=tuple(exercise for one in real.exercises for exercise in (
            one, dataclasses.replace(one, name=f"stub of {one.name}"))),
        steps=tuple(made for kind, text in real.steps for made in (
            [(kind, text), (kind, f"stub of {text}")] if kind == CHECK else [(kind, text)])))
    outcome = run(both, Answers(given, {name: [] for name in given}, ()),
                  Project(ROOT, Path(rethinklab.__file__).parent), 3600)
    assert outcome.judged, outcome.remarks
    wrong = [mark for mark in outcome.marks if mark.verdict != (
        "unanswered" if mark.exercise.startswith("stub of ") else "right")]
    assert not wrong


def test_what_is_not_as_it_must_be_is_told_first(tmp_path, project):
    with pytest.raises(ConfigError, match="cannot be listed"):
        grade(tmp_path / "none", tmp_path / "marks.csv", project)
    (tmp_path / "class").mkdir()
    with pytest.raises(ConfigError, match="nothing is handed in"):
        grade(tmp_path / "class", tmp_path / "marks.csv", project)
    with pytest.raises(ConfigError, match="time limit 0 must be"):
        grade(tmp_path / "class", tmp_path / "marks.csv", project, 0)
    with pytest.raises(ConfigError, match="workers 0 must be"):
        grade(tmp_path / "class", tmp_path / "marks.csv", project, workers=0)
    with pytest.raises(ConfigError, match=r"holds .*nothing but submissions"):
        grade(project.root, tmp_path / "marks.csv", project)
    with pytest.raises(ConfigError, match="there is no folder"):
        check_out(tmp_path / "no" / "marks.csv", force=False)
    (tmp_path / "marks-details.csv").write_text("by hand")
    with pytest.raises(ConfigError, match=r"marks-details.csv exists; --force"):
        grade(tmp_path / "class", tmp_path / "marks.csv", project)


def test_the_command_says_what_it_did(tmp_path, project, monkeypatch, capsys):
    monkeypatch.setattr("rethinklab.notebook.grading.grade.find_project", lambda: project)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "notes.txt").write_text("by hand")
    monkeypatch.setattr("sys.argv", ["rethinklab", "grade", "class"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == textwrap.dedent("""\
        ?                    notes.txt                0/0  not a notebook
        marks.csv has the marks, marks-details.csv what was wrong.
        """)


@pytest.mark.slow
def test_two_at_a_time_give_the_same_tables_as_one(lesson, project, tmp_path):
    for student, answers in (("anna", RIGHT), ("ben", HANDED_IN["ben"])):
        write_notebook(handed_in(lesson, **answers), tmp_path / "class" / f"{student}_{STEM}.ipynb")
    tables = []
    for workers in (1, 2):
        out = tmp_path / f"marks-{workers}.csv"
        grade(tmp_path / "class", out, project, SECONDS, workers)
        tables.append([out.read_bytes(), details_path(out).read_bytes()])
    assert tables[0] == tables[1]
