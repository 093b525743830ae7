"""What is handed in: which files are submissions, which cells answers, and what tables say."""

import json

import pytest
from tiny_lesson import RIGHT, STEM, handed_in, snapshot, tiny_project

from rethinklab.notebook.grading.answers import NotANotebook, needed, read_answers
from rethinklab.notebook.grading.collect import collect
from rethinklab.notebook.grading.lesson import read_assignment
from rethinklab.notebook.grading.marks import Row, write_marks
from rethinklab.notebook.grading.run import Mark
from rethinklab.notebook.grading.watch import Watched


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
        "answer found by its place: sum_up, twice, last",)


def test_remarks_on_cells_come_in_a_fixed_order(lesson, assignment):
    notebook = handed_in(lesson, **RIGHT)
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    notebook.cells.remove(cells["sum_up"])
    notebook.cells.append(cells["twice"])
    cells["check-last"].source = "pass"
    cells["last"].metadata["nbgrader"]["grade_id"] = "lastt"
    assert read(notebook, assignment).remarks == (
        "answer cell missing: sum_up, last",
        "answer in several cells, which were joined: twice", "unknown exercise: lastt",
        "checks were edited, which has no effect: last")
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


def test_a_spreadsheet_sees_text(tmp_path):
    mark = Mark("sum_up", "raised", 0, 2, "=cmd|' /C calc'!A0\nand\0more")
    row = Row("@élan", STEM, (mark,), 2, ("-1 of what",))
    for path in write_marks([row], tmp_path / "marks.csv"):
        text = path.read_text(encoding="utf-8-sig")
        assert text.count("\n") == 2
        assert "'@élan" in text
        assert not any(cell.startswith(("=", "@", "-")) for cell in text.split(","))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marks-details.csv", "marks.csv"]


def test_watched_files_come_back(tmp_path):
    folder = tmp_path / "sub"
    (folder / "anna").mkdir(parents=True)
    (folder / "ben").mkdir()
    files = {folder / "anna" / "a": b"1", folder / "ben" / "b": b"2", folder / "c": b"3"}
    for path, content in files.items():
        path.write_bytes(content)
    watched = Watched([folder], tmp_path / "aside")
    assert watched.restore() == []
    (folder / "anna" / "a").write_bytes(b"changed")
    (folder / "ben" / "b").unlink()
    (folder / "ben").rmdir()
    (folder / "ben").symlink_to(tmp_path)
    (folder / "c").unlink()
    (folder / "c").mkdir()
    (folder / "d").write_bytes(b"new")
    remarks = watched.restore()
    assert snapshot(folder) == {**files, folder / "d": b"new"}
    assert len(remarks) == 4
    assert remarks[-1].endswith("d is new since the grading began")
    assert [path.name for path in sorted((tmp_path / "aside").iterdir())] == ["000-c", "001-a"]
    assert not (tmp_path / "b").exists()
    assert watched.restore() == []
