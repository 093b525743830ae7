"""The committed notebooks keep their form, and their outputs belong to their code."""

import ast
import re
import shutil
from pathlib import Path
from statistics import median

import nbformat
import pytest

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.experiments.queue import load_queue
from rethinklab.figures.style import say_scale
from rethinklab.notebook import SCALES, session, start
from rethinklab.notebook.checks.common import UNANSWERED, Wrong, answered, demand
from rethinklab.notebook.display import picture, show_figures
from rethinklab.notebook.execute import execute, main
from rethinklab.notebook.session import Session, counterpart, find_root
from rethinklab.notebook.source import make, read_lesson
from rethinklab.notebook.stamp import stamp, stored_stamp
from rethinklab.results import Results

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECORDED = sorted(path.parent.name for path in (ROOT / "data" / "results").glob("*/study.json"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    """All but the one that fetches the kit in Colab."""
    return [cell for cell in notebook.cells
            if cell.cell_type == "code" and "colab" not in cell.metadata.get("tags", ())]


def prose_cells(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def words(prose):
    """Words that a reader reads: no markup, no code of a folded solution, no reference list."""
    if prose.startswith("## References"):
        return 0
    prose = re.sub(r"```.*?```|<[^>]+>", " ", prose, flags=re.DOTALL)
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    return len(re.findall(r"\w[\w'’.-]*", prose))


SERIES = ["00_start_here", "01_networks_and_cost", "02_l1_norm", "03_thinet", "04_regression",
          "05_network_slimming", "06_sparse_structure_selection", "07_soft_filter_pruning",
          "08_weight_level", "09_lottery_ticket", "10_scratch_or_finetune",
          "11_weight_distributions", "12_architecture_patterns", "13_fair_budgets",
          "14_paper_figures", "15_your_own_model_and_data"]


def test_the_series_is_complete():
    assert [path.stem for path in NOTEBOOKS] == SERIES
    assert [path.stem for path in sorted((ROOT / "notebooks" / "source").glob("*.py"))] == SERIES


def test_made_from_its_source(path, notebook):
    source = read_lesson(ROOT / "notebooks" / "source" / f"{path.stem}.py")
    made = make(source, "public", path.stem)
    again = "run: make notebooks"
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in made.cells], again
    assert [cell.metadata for cell in notebook.cells] == [c.metadata for c in made.cells], again


def test_valid(notebook):
    nbformat.validate(notebook)


def test_opens_with_title_question_and_box(path, notebook):
    title, box = prose_cells(notebook)[:2]
    assert re.match(rf"# {path.stem[:2]} · \w+", title)
    assert title.count("?") == 1
    assert all(phrase in box for phrase in ("You will be able to", "You need", "Time"))


def test_set_up_is_one_short_cell(path, notebook):
    first, *others = code_cells(notebook)
    assert len(lines(first)) <= 6
    assert f"start({int(path.stem[:2])})" in first.source
    assert not any(line.startswith(("import ", "from ")) for cell in others
                   for line in lines(cell))


def test_code_cells_are_short(notebook):
    sizes = [len(lines(cell)) for cell in code_cells(notebook)]
    assert max(sizes) <= 25
    assert median(sizes) <= 6


def test_prose_cells_are_short(notebook):
    for prose in prose_cells(notebook):
        assert words(prose) <= 120, prose


def test_ends_with_limits_exercises_and_references(notebook):
    prose = "\n".join(prose_cells(notebook))
    for heading in ("What this does not show", "Exercises", "Recall", "References"):
        assert re.search(rf"^## .*{heading}", prose, flags=re.MULTILINE)
    assert re.search(r"\[doi:(\S+)\]\(https://doi\.org/\1\)", prose)
    found = re.findall(r"\*\*Exercise (\d)\.\*\* \*(?:Easy|Medium|Hard), \d+ minutes\.\*", prose)
    assert 3 <= len(found) <= 6
    assert found == [str(number) for number in range(1, len(found) + 1)]
    assert prose.count("<summary>Hint") == prose.count("<summary>Solution") == len(found)
    assert prose.count("<details>") == prose.count("</details>") == 2 * len(found)
    assert sum("lab.check(" in cell.source for cell in code_cells(notebook)) == len(found)
    questions = re.findall(r"^(?:\d+\.|-) .*\?$", prose, flags=re.MULTILINE)
    assert 3 <= len(questions) <= 8, "a list of questions under ## Recall"


def test_each_section_lets_the_reader_predict(notebook):
    prose = "\n".join(prose_cells(notebook))
    assert prose.count("**Predict.**") >= 4
    assert prose.count("**What you see.**") >= 4


def test_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run: make notebooks"


def test_outputs_are_fresh(path, notebook):
    assert stored_stamp(notebook) == stamp(notebook), (
        f"the code of {path.name} is not the code that made its outputs; run: make notebooks")


def test_outputs_carry_no_error_warning_or_place(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            shown = {**output, "data": {kind: content for kind, content in
                                        output.get("data", {}).items() if kind != "image/png"}}
            assert not re.search(r"0x[0-9a-f]{6}|/home/|/root/|/tmp/|/work/", str(shown))


def test_outputs_are_there(notebook):
    for cell in code_cells(notebook):
        last = ast.parse(cell.source).body[-1]
        assert not shows(last) or cell.outputs, f"no output under:\n{cell.source}\n" \
                                                "run: make notebooks"
        if "rl.figures." in cell.source:
            shown = [out.data for out in cell.outputs if out.output_type == "execute_result"]
            assert len(shown) == 1, cell.source
            assert "image/png" in shown[0], cell.source


def shows(statement):
    """Whether a cell that ends so has an output: an expression, or a loop that prints."""
    return isinstance(statement, ast.Expr) or "print(" in ast.unparse(statement)


def test_pictures_have_alternative_text(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 20


def test_pictures_name_the_scale_of_what_they_show(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                note = output.metadata["image/png"]["note"]
                assert re.search(r"\b(Quick|Classroom|Paper) scale;|\bscale cached\.", note), note


def test_relative_links_resolve(path, notebook):
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose_cells(notebook))):
        if not target.startswith(("http://", "https://", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_stamp_follows_code_and_not_prose(notebook):
    fresh = stamp(notebook)
    notebook.cells[0].source += " more"
    assert stamp(notebook) == fresh
    code_cells(notebook)[0].source += "\npass"
    assert stamp(notebook) != fresh


def test_start_says_versions_and_scale(capsys, monkeypatch):
    monkeypatch.delenv("RETHINKLAB_SCALE", raising=False)
    assert start(7).scale == "cached"
    text = capsys.readouterr().out
    assert "Notebook 07" in text
    assert "torch" in text
    assert SCALES["cached"] in text


def test_scale_from_argument_before_environment(monkeypatch):
    monkeypatch.setenv("RETHINKLAB_SCALE", "quick")
    assert start(0).scale == "quick"
    assert start(0, "cached").scale == "cached"


def test_wrong_scale_is_named(monkeypatch):
    monkeypatch.setenv("RETHINKLAB_SCALE", "qiuck")
    with pytest.raises(ConfigError, match=r"qiuck.*Did you mean 'quick'"):
        start(0)


def test_root_is_found_from_a_folder_below(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    assert find_root() == ROOT


def test_recorded_results_load():
    session = Session(0, "cached", ROOT)
    for name in RECORDED:
        assert isinstance(session.results(name), Results)
    with pytest.raises(ConfigError, match="unknown recorded study"):
        session.results("l1-vgg61")


USED = sorted({name for path in NOTEBOOKS
               for name in re.findall(r"[\w.-]+-(?:quick|classroom|paper)\b", path.read_text())
               if name in RECORDED})


def test_the_studies_of_the_notebooks_have_counterparts_at_the_other_scales():
    assert len(USED) >= 10
    entries = {entry.name: entry for entry in load_queue(ROOT / "data/results/queue.toml")}
    for name in USED:
        as_recorded, quick = Session(0, "classroom", ROOT).study(name), counterpart(
            entries[name], "quick")
        assert (quick.dataset, quick.images, len(quick.seed_numbers)) == ("digits", 600, 2)
        published = counterpart(entries[name], "paper")
        assert published.width == 1
        assert published.large_recipe.epochs >= 160
        assert (as_recorded.method, as_recorded.network) == (quick.method, quick.network)


def test_other_scales_run_the_study(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("rethinklab.notebook.session.run",
                        lambda study, store, **options: asked.append((study.scale, store)))
    monkeypatch.delenv("RETHINKLAB_STORE")
    (tmp_path / "data" / "results").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "results" / "queue.toml", tmp_path / "data" / "results")
    session = Session(0, "quick", tmp_path)
    session.results("l1-vgg16-digits-quick")
    monkeypatch.setenv("RETHINKLAB_STORE", str(tmp_path / "mine"))
    session.results("l1-vgg16-digits-quick")
    assert asked == [("quick", tmp_path / "runs"), ("quick", tmp_path / "mine")]
    with pytest.raises(ConfigError, match="Did you mean"):
        session.results("l1-vgg61-digits-quick")


def test_evidence_is_recorded_or_gathered_from_what_ran_here(monkeypatch, tmp_path):
    name = "l1-vgg16-digits-quick"
    recorded = Session(0, "cached", ROOT).evidence("widths", name)
    monkeypatch.setenv("RETHINKLAB_STORE", str(tmp_path))
    monkeypatch.setitem(session.QUICK, "images", 100)
    monkeypatch.setitem(session.QUICK_RECIPE, "epochs", 1)
    here = Session(0, "quick", ROOT).evidence("widths", name)
    assert list(recorded.columns) == list(here.columns)
    with pytest.raises(ConfigError, match="no table scales is recorded"):
        Session(0, "cached", ROOT).evidence("scales", name)
    with pytest.raises(ConfigError, match="Did you mean 'widths'"):
        Session(0, "cached", ROOT).evidence("width", name)


def test_checks_are_shown_and_for_marking_they_raise(capsys):
    def check(answer):
        answered(answer)
        demand(answer == 1, "It is not one.")
        return "it is one."

    lab = Session(0, "cached", ROOT)
    for answer in (1, 2, ...):
        lab.check(check, answer)
    assert capsys.readouterr().out == f"Right: it is one.\nNot yet: It is not one.\n{UNANSWERED}\n"
    lab.check(lambda answer: answer(), lambda: 1 / 0)
    assert "your code stopped with ZeroDivisionError" in capsys.readouterr().out
    strict = Session(0, "cached", ROOT, strict=True)
    strict.check(check, 1)
    for answer in (2, ...):
        with pytest.raises(Wrong):
            strict.check(check, answer)


def write(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_execution_writes_outputs_and_stamp_and_is_repeatable(tmp_path):
    path = write(tmp_path / "small.ipynb", "x = 2\nprint(x)\nprint(x)", "x + 1")
    execute(path)
    once = path.read_bytes()
    made = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in made.cells] == [1, 2]
    assert made.cells[0].outputs[0].text == "2\n2\n"
    assert stored_stamp(made) == stamp(made)
    execute(path)
    assert path.read_bytes() == once


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys):
    path = write(tmp_path / "broken.ipynb", "1 / 0")
    before = path.read_bytes()
    assert main([str(path)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([]) == 2


def test_prose_is_renewed_without_running_and_changed_code_is_told(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "00_small.py"
    source.write_text("# %% [markdown]\n# # 00 · Small\n\n# %%\nprint(1)\n")
    assert main([str(source)]) == 0
    source.write_text("# %% [markdown]\n# # 00 · Mended\n\n# %%\nprint(1)\n")
    assert main(["--prose", str(source)]) == 0
    made = nbformat.read(tmp_path / "00_small.ipynb", as_version=4)
    assert made.cells[0].source.startswith("# 00 · Mended")
    assert made.cells[-1].outputs[0].text == "1\n"
    before = (tmp_path / "00_small.ipynb").read_bytes()
    source.write_text("# %% [markdown]\n# # 00 · Mended\n\n# %%\nprint(2)\n")
    assert main(["--prose", str(source)]) == 1
    assert "its code has changed" in capsys.readouterr().err
    assert (tmp_path / "00_small.ipynb").read_bytes() == before


def test_notebooks_show_the_results_that_are_recorded(notebook):
    shown = "\n".join(str(cell.outputs) for cell in code_cells(notebook))
    for name in re.findall(r'lab\.results\("([^"]+)"\)', str(notebook.cells)):
        results = Session(0, "cached", ROOT).results(name)
        for mean in results.table()["accuracy"]:
            assert mean in shown, f"data/results/{name} has changed; run: make notebooks"


def test_what_the_prose_says_of_the_recorded_study_holds():
    """Sections 6 of notebooks 00 and 02 put this into words; mend them where it changes."""
    results = Session(0, "cached", ROOT).results("l1-vgg16-digits-quick")
    equal_epochs, equal_computation = results.verdicts()
    assert (equal_epochs.verdict, equal_computation.verdict) == ("not decided", "better")
    assert equal_epochs.low < 0 < equal_computation.low
    fine_tuned = results.accuracies("finetune")
    assert (results.accuracies("scratch-e") > fine_tuned).all()
    assert (results.accuracies("scratch-b") > fine_tuned).all()
    means = results.summary()["mean"]
    assert means["scratch-b"] > means["unpruned"]


def test_figures_appear_as_png_of_their_own_size_with_alternative_text():
    figure = rl.figures.regimes(Session(0, "cached", ROOT).results("l1-vgg16-digits-quick"))
    content, metadata = picture(figure)
    assert content == picture(figure)[0]
    width = int.from_bytes(content[16:20], "big")  # of a PNG's header
    assert width == 5.5 * 192  # two for each pixel of a screen, which has 96 in an inch
    assert metadata == {"alt": figure.caption, "note": figure.note, "width": 528}
    assert not show_figures()  # there is no notebook here


def test_figures_without_a_scale_of_their_own_say_that_of_the_notebook():
    results = Session(0, "cached", ROOT).results("l1-vgg16-digits-quick")
    plan = rl.pruners.L1Norm(target=0.5).fit(rl.build_model("vgg11", width=0.0625, seed=0),
                                             rl.load_data("digits").subset(20, 20))
    say_scale("Run in this notebook, scale quick.")
    try:
        assert rl.figures.regimes(results).note == results.label
        figure = rl.figures.widths(plan)
    finally:
        say_scale("")
    assert figure.note.endswith(". Run in this notebook, scale quick.")
    foot = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert figure.note in foot
    assert "scale" not in rl.figures.widths(plan).note
