"""What is handed in: which files are submissions, which cells answers, and what tables say."""

import json

import pytest
from tiny_lesson import RIGHT, STEM, handed_in, tiny_project

from rethinklab.errors import ConfigError
from rethinklab.notebook.grading.answers import Answers, NotANotebook, needed, read_answers
from rethinklab.notebook.grading.collect import collect
from rethinklab.notebook.grading.handback import alike, gradebook, write_pages
from rethinklab.notebook.grading.lesson import read_assignment
from rethinklab.notebook.grading.marks import Book, Row
from rethinklab.notebook.grading.run import Mark


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    return tiny_project(tmp_path_factory.mktemp("project")).sources / f"{STEM}.py"


@pytest.fixture(scope="module")
def assignment(lesson):
    return read_assignment(lesson)


def test_what_is_accepted_as_a_submission(tmp_path):
    for name in ("anna/02_b.ipynb", "anna/.ipynb_checkpoints/02_b-checkpoint.ipynb",
                 "anna/03_nothing.ipynb", "anna/02_b/x.ipynb", "ben_1_02_b.ipynb",
                 "02_b_cleo.ipynb", "02_b.ipynb", "notes.ipynb", "marks.csv", "notes.txt",
                 "__MACOSX/x", ".DS_Store", "dan/02_b.ipynb", "02_b_dan.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "eve").mkdir()
    (tmp_path / "gus").mkdir()
    (tmp_path / "gus" / "02_b.ipynb").symlink_to(tmp_path / "anna" / "02_b.ipynb")
    found = collect(tmp_path, ["02_b", "02_b_c"], [tmp_path / "marks.csv"])
    assert [(one.student, one.notebook) for one in found if one.content] == [
        ("anna", "02_b"), ("ben_1", "02_b"), ("cleo", "02_b")]
    told = {(one.student, one.notebook): one.remark for one in found if not one.content}
    assert told == {
        ("", "02_b.ipynb"): "the name has no student in it",
        ("", "notes.ipynb"): "the name is not STUDENT_NN_topic.ipynb or NN_topic_STUDENT.ipynb of "
                             "a lesson",
        ("", "notes.txt"): "not a notebook",
        ("anna", "02_b"): "a folder, where a notebook is expected",
        ("anna", "03_nothing.ipynb"): "not the name of a lesson",
        ("dan", "02_b"): "handed in twice (02_b.ipynb); keep one",
        ("eve", ""): "an empty folder",
        ("gus", "02_b"): "a link or a device, not a file"}


def read(notebook, assignment):
    return read_answers(json.dumps(notebook).encode(), assignment)


def test_answers_are_known_by_name_else_by_place(lesson, assignment):
    notebook = handed_in(lesson, **RIGHT)
    assert read(notebook, assignment).given == RIGHT
    assert read(notebook, assignment).remarks == ()
    for cell in notebook.cells:
        cell.metadata = {}
    assert read(notebook, assignment).given == RIGHT
    assert read(notebook, assignment).remarks == (
        "answer found above its check: sum_up, twice, last",)


def test_remarks_on_cells_come_in_a_fixed_order(lesson, assignment):
    notebook = handed_in(lesson, **RIGHT)
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    notebook.cells.remove(cells["sum_up"])
    notebook.cells.append(cells["twice"])
    cells["last"].metadata["nbgrader"]["grade_id"] = "lastt"
    assert read(notebook, assignment).remarks == (
        "answer cell missing: sum_up, last", "answer in several cells, which were joined: twice")
    assert read(notebook, assignment).given["twice"] == "\n".join([RIGHT["twice"]] * 2)


@pytest.mark.parametrize(("content", "why"), [
    (b"", "empty"), (b"\xff\xfe", "not text"), (b"{", "not JSON"), (b"[" * 10**5, "not JSON"),
    (b"7", "no cells"), (b'{"cells": 7}', "no cells"), (b'{"cells": [' + b"1," * 3000 + b"1]}",
                                                        "3001 cells")])
def test_what_is_not_a_notebook(content, why, assignment):
    with pytest.raises(NotANotebook, match=why):
        read_answers(content, assignment)


def test_odd_cells_are_passed_over(assignment):
    cells = [7, {}, {"cell_type": "code"}, {"cell_type": "code", "source": 7},
             {"cell_type": "code", "source": ["x", 7], "metadata": {"nbgrader": 7, "tags": 7}},
             {"cell_type": "code", "source": "", "metadata": {"nbgrader": {"grade_id": []}}}]
    assert read({"cells": cells}, assignment).given == {}


def test_what_an_answer_needs():
    cells = ["import math", "a = math.pi", "b = c", "def f():\n    return a", "not python("]
    assert needed("f()", cells, {"b"}) == [cells[0], cells[1], cells[3]]
    assert needed("f = 1\n[a for a in range(3)]", cells, ()) == []
    assert needed("print(b)", cells, {"b"}) == []


def test_what_an_answer_seldom_needs_is_told(lesson, assignment):
    sly = {**RIGHT, "twice": "import gc\ntwice = lambda x: gc.get_referrers(x).__class__"}
    assert read(handed_in(lesson, **sly), assignment).remarks == (
        "to be read, for it uses what an answer seldom needs: twice (__class__, gc)",)


def row(student, points=0, verdict="raised", diagnosis="", **more):
    mark = Mark("sum_up", verdict, points, 2, diagnosis)
    return Row(student, STEM, (mark,), 2, **{"remarks": (), "key": student, **more})


def test_a_spreadsheet_sees_text(tmp_path):
    book = Book(tmp_path / "marks.csv")
    book.add(row("@élan", diagnosis="=cmd|' /C calc'!A0\nand\0more", remarks=("-1 of what",)))
    for path in book.tables:
        text = path.read_text(encoding="utf-8-sig")
        assert text.count("\n") == 2
        assert "'@élan" in text
        assert not any(cell.startswith(("=", "@", "-")) for cell in text.split(","))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "marks-details.csv", "marks.csv", "marks.json"]


def test_marks_are_read_back_as_they_were_and_what_a_person_changed_is_not_replaced(tmp_path):
    book = Book(tmp_path / "marks.csv")
    for one in (row("ben", remarks=("a", "b; c")), row("anna", 2, "right", "=so"),
                row("cleo", judged=False)):
        book.add(one)
    again = Book(book.out)
    assert again.rows == book.rows == sorted(book.rows, key=lambda one: one.student)
    assert again.keep(["ben", "cleo"]) == {"ben"}
    old = [path.read_bytes() for path in book.tables]
    again.write()
    book.tables[1].write_bytes(old[1])  # as a marker leaves it that is killed between two files
    assert [one.student for one in Book(book.out).rows] == ["ben"]
    book.out.write_text("by hand")
    with pytest.raises(ConfigError, match=r"marks.csv exists and is not as marking left it; --fo"):
        Book(book.out)
    assert Book(book.out, force=True).rows == []
    for name, why in (("no/marks.csv", "there is no folder"), ("marks.txt", r"ends in \.csv")):
        with pytest.raises(ConfigError, match=why):
            Book(tmp_path / name)
    book.json.write_text("{}")
    with pytest.raises(ConfigError, match=r"marks.json is not what marking writes"):
        Book(book.out)


def test_a_page_for_each_student_shows_text_and_no_markup(tmp_path):
    paths = write_pages([row("ben", diagnosis="<script>alert(1)</script>"), row("anna"),
                         row("ben", 2, "right")], tmp_path / "pages")
    assert [path.name for path in paths] == ["anna.html", "ben.html"]
    text = paths[1].read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count(f"<h2>{STEM}: ") == 2


def test_gradebooks_have_the_columns_that_moodle_and_canvas_ask_for():
    rows = [row("anna", 2, "right"), row("ben"), Row("", "notes.txt", (), 0, ("not a notebook",))]
    assert gradebook(rows, "moodle").decode("utf-8-sig").splitlines() == [
        f"username,{STEM}", "anna,2", "ben,0"]
    assert gradebook(rows, "canvas").decode("utf-8-sig").splitlines() == [
        f"Student,ID,SIS User ID,SIS Login ID,Section,{STEM}", "    Points Possible,,,,,2",
        "anna,,,anna,,2", "ben,,,ben,,0"]
    with pytest.raises(ConfigError, match=r"unknown gradebook 'modle'\. Did you mean 'moodle'"):
        gradebook(rows, "modle")


def test_a_copy_is_found_though_its_names_and_comments_differ():
    long = ("def survivors(scales, share):\n    kept = {}\n    for name, own in scales.items():\n"
            "        limit = own.abs().sort().values[int(share * len(own))]\n"
            "        kept[name] = (own.abs() > limit).nonzero()\n    return kept")
    copied = long.replace("kept", "result").replace("limit", "t") + "  # all mine"
    own = ("def survivors(scales, share):\n    return {key: [i for i, x in enumerate(values)\n"
           "            if abs(x) >= sorted(map(abs, values))[round(share * len(values))]]\n"
           "            for key, values in scales.items()}")
    answered = [(student, STEM, Answers({"a": source, "b": "x = 1"}, {}, ()))
                for student, source in (("anna", long), ("ben", copied), ("cleo", own))]
    assert alike(answered)[1:] == [[STEM, "a", "anna", "ben", "100%"]]
