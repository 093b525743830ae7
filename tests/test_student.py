"""Student versions: no solutions in them, valid, not executed, and no file is lost."""

import ast

import nbformat
import pytest
from tiny_lesson import STEM, tiny_project

from rethinklab import cli
from rethinklab.errors import ConfigError, RethinkError
from rethinklab.notebook.grading import handout
from rethinklab.notebook.grading.handout import choose_lessons, write_handout
from rethinklab.notebook.session import Session, find_root
from rethinklab.notebook.source import make, read_lesson
from rethinklab.results.load import recorded_folder


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    lesson = tiny_project(tmp_path / "project").sources / f"{STEM}.py"
    for name in (STEM, "01_next", "12_last"):
        (folder / f"{name}.py").write_text(lesson.read_text())
    return folder


@pytest.mark.parametrize("kind", ["student", "solutions"])
def test_made_notebooks_are_valid_and_not_executed(sources, tmp_path, kind):
    path, = write_handout(["0"], tmp_path / "out", kind, sources=sources)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert all(ast.parse(cell.source) for cell in code)
    assert "[01 · Next](01_next.ipynb)" in notebook.cells[0].source


def test_only_the_solutions_version_has_solutions(sources, tmp_path):
    student, = write_handout(["00"], tmp_path / "student", sources=sources)
    solved, = write_handout(["00"], tmp_path / "solved", "solutions", sources=sources)
    for secret in ("sum(numbers", "2 * x", "BEGIN SOLUTION", "strict=True"):
        assert secret not in student.read_text()
        assert secret in solved.read_text()
    for stub in ("total = ...", "def twice(x):\\n", "Add them up."):
        assert stub in student.read_text()


def test_the_same_lessons_by_number_and_by_name(sources):
    def chosen(*names):
        return [path.stem for path in choose_lessons(names, sources)]

    assert chosen() == [STEM, "01_next", "12_last"]
    assert chosen("12", "0", "00") == chosen("12_last", STEM) == [STEM, "12_last"]
    with pytest.raises(ConfigError, match=r"unknown lesson '00_tinny'. Did you mean '00_tiny'"):
        chosen("00_tinny")


def test_nothing_is_overwritten_without_being_asked_to(sources, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "01_next.ipynb").write_text("work of an hour")
    with pytest.raises(ConfigError, match=r"01_next.ipynb exists; --force replaces it"):
        write_handout([], out, sources=sources)
    assert [path.name for path in out.iterdir()] == ["01_next.ipynb"]
    assert (out / "01_next.ipynb").read_text() == "work of an hour"
    assert len(write_handout([], out, force=True, sources=sources)) == 3
    nbformat.read(out / "01_next.ipynb", as_version=4)


def test_one_broken_lesson_and_nothing_is_written(sources, tmp_path):
    (sources / "01_next.py").write_text('# %% exercise="alone"\nx = 1\n')
    with pytest.raises(ConfigError, match=r"01_next.py: exercise 'alone' must have one check"):
        write_handout([], tmp_path / "out", sources=sources)
    assert not (tmp_path / "out").exists()


def test_the_command(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(handout, "find_sources", lambda: sources)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["rethinklab", "student", "12", "--out", "out"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == "out/12_last.ipynb\n"
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "--force" in capsys.readouterr().err


def test_a_project_without_lessons_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "find_root", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"no lessons in .*call this inside"):
        handout.find_sources()


@pytest.mark.parametrize("address", ["", "https://example.org/kit"])
def test_nothing_leads_to_an_address_that_is_not_set(address, sources, monkeypatch):
    monkeypatch.setattr("rethinklab.notebook.source._home", lambda: address)
    made = make(read_lesson(sources / f"{STEM}.py"), "student", STEM)
    fetching = [cell for cell in made.cells if "colab" in cell.metadata.get("tags", ())]
    assert len(fetching) == bool(address)
    assert ("Open in Colab" in made.cells[0].source) == bool(address)


def test_lessons_are_copied_out_and_never_over_work(tmp_path):
    cli.notebooks.lessons(tmp_path / "mine")
    first = tmp_path / "mine" / "00_start_here.ipynb"
    assert len(list(first.parent.glob("*.ipynb"))) == 16
    first.write_text("work")
    with pytest.raises(ConfigError, match=r"00_start_here\.ipynb already"):
        cli.notebooks.lessons(tmp_path / "mine")
    assert first.read_text() == "work"
    cli.notebooks.lessons(tmp_path / "mine", force=True)
    assert nbformat.read(first, as_version=4).cells
    (tmp_path / "file").write_text("")
    with pytest.raises(RethinkError, match="another folder"):
        cli.notebooks.lessons(tmp_path / "file" / "mine")


def test_an_installed_package_brings_lessons_and_records(tmp_path, monkeypatch):
    kit = tmp_path / "package" / "kit"
    for part in ("notebooks", "data/results"):
        (kit / part).mkdir(parents=True)
    monkeypatch.setattr("rethinklab.home.PACKAGE", kit.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETHINKLAB_STORE")
    assert find_root() == kit
    assert recorded_folder() == kit / "data" / "results"
    assert Session(0, "cached", kit).store == tmp_path / "runs"
    with pytest.raises(ConfigError, match="rethinklab lessons DIR"):
        cli.notebooks.lab()
