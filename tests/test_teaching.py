"""What goes with the notebooks: the teacher's page, the glossary, the list of lessons."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rethinklab.notebook.key import marking_key, rows, with_key
from rethinklab.notebook.source import exercises, make, read_lesson, solution, stub

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted((NOTEBOOKS / "source").glob("*.py"))


@pytest.fixture(scope="module")
def instructor():
    return (NOTEBOOKS / "INSTRUCTOR.md").read_text(encoding="utf-8")


def test_the_marking_key_is_that_of_the_lessons(instructor):
    key = marking_key(NOTEBOOKS / "source")
    assert with_key(instructor, key) == instructor, "run: python -m rethinklab.notebook.key"
    assert key.count("\n| 0") + key.count("\n| 1") == sum(
        len(exercises(read_lesson(path))) for path in LESSONS)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_has_a_plan_and_a_place_in_the_six_weeks(path, instructor):
    number = path.stem[:2]
    title = read_lesson(path).cells[0].source.splitlines()[0].removeprefix("# ")
    assert f"### {title}\n" in instructor
    plan = instructor.split(f"### {title}\n")[1].split("###")[0]
    for part in ("Aim", "Plan", "Wrong predictions", "Ask"):
        assert f"**{part}.**" in plan
    weeks = instructor.split("## Six weeks")[1].split("## Lesson by lesson")[0]
    assert f"[{number}]({path.stem}.ipynb)" in weeks


@pytest.mark.parametrize("page", ["INSTRUCTOR.md", "GLOSSARY.md"])
def test_links_of_the_pages_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", (NOTEBOOKS / page).read_text(encoding="utf-8")):
        if "://" not in target:
            assert (NOTEBOOKS / target.split("#")[0]).exists(), target


def test_the_glossary_names_each_word_once_in_order_with_its_lesson():
    page = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([^|]+?) \| [^|]+ \| \[\d\d\]\(", page, flags=re.MULTILINE)
    assert len(words) > 30
    assert [w.lower() for w in words] == sorted({w.lower() for w in words})


def test_words_of_the_glossary_are_used_in_their_lesson():
    page = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
    for word, stem in re.findall(r"^\| ([^|]+?) \| [^|]+ \| \[\d\d\]\((\w+)\.ipynb\)", page,
                                 flags=re.MULTILINE):
        text = (NOTEBOOKS / "source" / f"{stem}.py").read_text(encoding="utf-8").lower()
        first = re.split(r"[ ,-]", word.lower())[0].rstrip("s")
        assert first in text, f"{word} is not in {stem}"


def test_the_list_of_lessons_has_their_questions():
    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    for path in LESSONS:
        title, question = re.match(r"# \d\d · (.+)\n\n\*\*(.+)\*\*",
                                   read_lesson(path).cells[0].source).groups()
        link = f"[{title}](../notebooks/{path.stem}.ipynb)"
        assert f"| {path.stem[:2]} | {link} | {question} |" in page


def test_the_key_reads_difficulty_minutes_and_points():
    found = list(rows(read_lesson(NOTEBOOKS / "source" / "00_start_here.py")))
    assert found[0] == ("mean_difference", "Easy", 5, 1)
    assert found[-1] == ("halves_macs", "Medium", 10, 2)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_slides_leave_out_exercises_and_begin_at_headings(path):
    for cell in make(read_lesson(path), "public", path.stem).cells:
        slide = cell.metadata["slideshow"]["slide_type"]
        if cell.source.startswith("#") and cell.cell_type == "markdown":
            assert slide == "slide"
        if "nbgrader" in cell.metadata or cell.source.startswith("<details>"):
            assert slide == "skip"


def test_a_stub_keeps_names_and_signatures_and_no_solution():
    source = ("### BEGIN SOLUTION\nhelper = 3\nanswer = helper + 1\n### END SOLUTION")
    assert stub(source) == "answer = ..."
    assert solution(source) == "helper = 3\nanswer = helper + 1"
    inside = "def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION"
    assert stub(inside) == "def f(x):\n    ..."
    assert stub("### BEGIN SOLUTION\na, b = 1, 2\n### END SOLUTION") == "a = ...\nb = ..."


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_student_versions_hold_no_solution(path):
    lesson = read_lesson(path)
    answers = {cell.metadata["exercise"]: cell.source for cell in lesson.cells
               if "exercise" in cell.metadata}
    made = make(lesson, "student", path.stem)
    text = "\n".join(cell.source for cell in made.cells)
    assert "<summary>Solution" not in text
    assert text.count("<summary>Hint") == len(answers)
    for source in answers.values():
        assert stub(source) in text
        assert source not in text
        assert solution(source) not in text


def test_the_run_times_are_measured_for_each_lesson(instructor):
    """Seconds of the cells, as `benchmarks.notebooks` measured them on the device that it names."""
    table = instructor.split("## How long the notebooks compute")[1].split(
        "<!-- run times: made by `python -m benchmarks.notebooks --write` -->")[1]
    assert re.search(r", on (cpu|cuda) \([^)]+\), \d+ cores", table)
    found = re.findall(r"^\| (\d\d_\w+) \| \d+ \| \d+ \|$", table, flags=re.MULTILINE)
    assert found == [path.stem for path in LESSONS]
