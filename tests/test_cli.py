"""The command line as scripts and people use it: exit codes, one clear sentence, real runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from image_folders import write_images

import rethinklab as rl
from rethinklab import cli
from rethinklab.errors import ConfigError


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run the command line in this process; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rethinklab", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path / "images", {"dark": 20, "light": 20})
    return f"folder:{tmp_path / 'images'}"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with images, and the store of the study that `SMALL` words."""
    folder = tmp_path_factory.mktemp("stored")
    write_images(folder / "images", {"dark": 20, "light": 20})
    rl.run(rl.Study(f"folder:{folder / 'images'}", "vgg11", width=0.0625, target=0.5, epochs=1,
                    batch_size=16, seeds=2), folder / "runs", workers=0, progress=False)
    return folder


@pytest.fixture
def ran(stored, tmp_path):
    """The images of a study that is stored here."""
    return shutil.copytree(stored / "runs", tmp_path / "runs") and f"folder:{stored / 'images'}"


SMALL = ("--model", "vgg11", "--width", "0.0625", "--target", "0.5", "--epochs", "1",
         "--batch-size", "16", "--seeds", "2", "--workers", "0")


def test_run_results_and_figures_on_ones_own_images(call, images, tmp_path):
    code, out, _ = call("run", "--data", images, *SMALL, "--out", "pictures")
    assert code == 0
    for word in ("Unpruned", "Fine-tuned", "Scratch-E", "Scratch-B", "params", "MACs", "epochs",
                 "Verdict", "2 seeds"):
        assert word in out
    assert {p.suffix for p in (tmp_path / "pictures").iterdir()} == {".pdf", ".png", ".csv",
                                                                    ".json"}
    code, names, _ = call("results")
    assert code == 0
    name = names.split()[-1]
    code, table, _ = call("results", "l1")
    assert code == 0
    assert table.strip() in out
    code, csv, _ = call("results", name, "--format", "csv")
    assert csv.count("\n") == 9  # a header, and two seeds of the unpruned network and 3 regimes
    assert csv.splitlines()[0].startswith("stage,address,regime,seed,test_accuracy")
    code, latex, _ = call("results", name, "--format", "latex")
    assert r"\toprule" in latex
    assert "Scratch-B" in latex
    code, drawn, _ = call("figures", "regimes", "--study", "l1", "--out", "more", "--format", "svg")
    assert code == 0
    assert (tmp_path / drawn.splitlines()[0]).suffix == ".svg"


@pytest.mark.slow
def test_figures_are_listed_recorded_drawn_again_and_reported(call, ran, tmp_path):
    code, out, _ = call("figures", "--list")
    assert code == 0
    assert "can be drawn: l1-vgg11" in out
    assert "missing: " in out
    code, out, err = call("record", "l1", "--out", "kept", "--as", "mine")
    assert code == 0
    assert "kept/mine/trials.csv" in out
    assert "not there: scales" in err
    code, out, _ = call("figures", "regimes", "learning_curves", "--from", "kept", "--out", "drawn",
                        "--width", "cvpr-column", "--format", "png")
    assert code == 0
    assert "drawn/learning_curves-mine.png" in out
    code, _, err = call("figures", "lottery", "--from", "kept")
    assert code == 2
    assert "not drawn: lottery" in err
    code, out, _ = call("figures", "regimes", "--from", "kept/mine", "--out", "one")
    assert "one/regimes-mine.pdf" in out
    trials = tmp_path / "kept" / "mine" / "trials.csv"
    trials.write_text(trials.read_text().replace("finetune", "fine-tune"))
    code, _, err = call("figures", "--from", "kept")
    assert (code, "Did you mean 'finetune'" in err) == (2, True)
    code, out, _ = call("report", "l1", "--out", "page.html")
    assert (code, out.strip()) == (0, "page.html")
    code, _, err = call("report", "l1", "--out", "page.html/page.html")
    assert code == 1
    assert "--out" in err


def test_an_interrupt_says_that_nothing_is_lost(call, images, monkeypatch):
    from rethinklab.experiments import runner

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_stages", interrupt)
    code, _, err = call("run", "--data", images, *SMALL)
    assert (code, "what was finished is stored" in err) == (130, True)


def test_a_fault_of_the_kit_is_one_line_too(call, images, monkeypatch):
    from rethinklab.experiments import runner

    def fault(*args, **options):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(runner, "run_stages", fault)
    code, _, err = call("run", "--data", images, *SMALL)
    assert code == 1
    assert "unexpected ZeroDivisionError: by nothing" in err
    monkeypatch.setenv("RETHINKLAB_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        call("run", "--data", images, *SMALL)


def test_one_study_against_another_and_all_formats(call, ran, tmp_path):
    code, out, _ = call("run", "--data", ran, *SMALL, "--method", "random")
    assert code == 0
    code, out, _ = call("compare", "l1", "random")
    assert code == 0
    assert "Fine-tuned (l1) minus Fine-tuned (random)" in out
    code, out, _ = call("compare", "l1", "random", "--regime", "scratch-e", "--other", "scratch-b")
    assert "Scratch-E (l1) minus Scratch-B (random)" in out
    code, out, _ = call("results", "l1", "random", "--format", "latex")
    assert out.count("vgg11 & ") == 2
    code, out, _ = call("results", "--format", "parquet", "--out", "all.parquet")
    assert code == 0
    whole = pd.read_parquet(tmp_path / "all.parquet")
    assert set(whole["method"]) == {"l1", "random"}
    assert len(whole) == 16
    code, out, _ = call("results", "--format", "csv", "--out", "all.csv")
    assert len(pd.read_csv(tmp_path / "all.csv")) == 16
    code, out, _ = call("results", "l1", "--format", "ledger")
    assert "backward_macs" in out
    code, _, err = call("results", "l1", "--format", "parquet")
    assert (code, "--out" in err) == (2, True)
    code, _, err = call("results", "l1", "--format", "excel")
    assert (code, "unknown format 'excel'" in err) == (2, True)


def test_a_grid_chooses_learning_rates_before_the_run(call, images):
    code, out, _ = call("run", "--data", images, *SMALL, "--seeds", "1", "--regimes",
                        "finetune,scratch-e", "--tune", "0.3,1")
    assert code == 0
    assert out.count("Fine-tuned") >= 3  # two rates, and the result
    code, _, err = call("run", "--data", images, *SMALL, "--tune", "3")
    assert (code, "learning-rate grid" in err) == (2, True)


def test_a_time_limit_stops_cleanly_and_the_same_command_goes_on(call, images):
    arguments = ("run", "--data", images, *SMALL, "--epochs", "3", "--seeds", "1")
    code, _, err = call(*arguments, "--time-limit", "0.01s")
    assert code == 4
    assert "goes on from there" in err
    code, _, _ = call(*arguments, "--time-limit", "1h")
    assert code == 0
    code, _, err = call(*arguments, "--time-limit", "soon")
    assert (code, "'soon'" in err) == (2, True)


def test_presets_come_with_published_numbers_and_ours(call, images):
    code, out, _ = call("run", "l1-vgg16-cifar10", "--data", images, "--width", "0.0625",
                        "--epochs", "1", "--batch-size", "16", "--seeds", "1", "--workers", "0")
    assert code == 0
    assert "93.41" in out
    code, out, _ = call("list", "presets")
    assert code == 0
    assert "l1-vgg16-cifar10" in out
    code, out, _ = call("status")
    assert code == 0


def test_doctor_works_where_torch_does_not(tmp_path):
    code = ("import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
            "sys.argv = ['rethinklab', 'doctor']\n"
            "from rethinklab import cli; cli.main()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "MISS  torch" in done.stdout
    assert "Traceback" not in done.stderr


def test_running_again_reuses_what_is_stored(call, ran, tmp_path):
    stored = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs" / "stages").iterdir()}
    code, out, _ = call("run", "--data", ran, *SMALL)
    assert code == 0
    assert "[" not in out.split("regime")[0], "nothing should have been trained"
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs" / "stages").iterdir()} == stored


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["run", "--model", "vg16"], 2, "Did you mean 'vgg16'"),
    (["run", "l1-vgg61-cifar10"], 2, "Did you mean 'l1-vgg16-cifar10'"),
    (["run", "--method", "l11"], 2, "Did you mean 'l1'"),
    (["run", "--model", "vgg13"], 2, "--target"),
    (["run", "--target", "1.0"], 2, "below 1"),
    (["run", "--target", "nan"], 2, "below 1"),
    (["run", "--model", "vgg16", "--target", "B"], 2, "Known: A"),
    (["run", "--target", "{oops"], 2, "JSON"),
    (["run", "--data", "folder:/does/not/exist"], 2, "is not a folder"),
    (["run", "--seeds", "many"], 2, "seeds"),
    (["run", "--lr", "nan"], 2, "lr"),
    (["run", "--workers", "999"], 2, "choose fewer"),
    (["run", "--device", "tpu9"], 2, "device"),
    (["run", "--nonsense"], 2, "No such option"),
    (["run", "--target", "0.5", "--model", "mynet.py"], 2, "package.module:function"),
    (["run", "--data", "."], 2, "say folder:."),
    (["list"], 2, "Known: datasets"),
    (["list", "model"], 2, "Did you mean 'models'"),
    (["run", "--data", "folder:~nobody-of-this-name/x"], 2, "cannot be read"),
    (["run", "--model", ".foo:bar", "--target", "0.5"], 2, "cannot be imported"),
    (["run", "--device", "meta"], 2, "device"),
    (["results"], 3, "no results store"),
    (["figures"], 3, "no results store"),
    (["figures", "regime"], 2, "Did you mean 'regimes'"),
    (["figures", "--width", "a4"], 2, "iclr"),
    (["figures", "--format", "bmp"], 2, "pdf, png"),
    (["figures", "--study", "l1", "--from", "."], 2, "give one of them"),
    (["record", "l1"], 3, "no results store"),
    (["report", "l1"], 3, "no results store"),
    (["figures", "--from", "nothing.csv"], 2, "nothing.csv"),
    (["lab", "--notebooks", "nowhere"], 2, "no folder"),
])
def test_bad_input_ends_in_a_sentence_and_an_exit_code(call, arguments, code, says, tmp_path):
    found, out, err = call(*arguments)
    assert found == code
    assert says in err
    assert "Traceback" not in out + err
    if "No such option" not in says:
        assert err.startswith("rethinklab: ")
        assert err.count("\n") == 1
    assert not list((tmp_path).glob("runs/stages/*"))


def bad_images(kind, root):
    if kind == "empty":
        root.mkdir()
    elif kind == "one class":
        write_images(root, {"cat": 5})
    else:
        write_images(root, {"cat": 5, "dog": 5})
        (root / "dog" / "003.png").write_bytes(b"\x89PNG\r\n")


@pytest.mark.parametrize(("kind", "says"), [("empty", "holds no images"),
                                            ("one class", "single class"),
                                            ("corrupt", "003.png")])
def test_bad_images_are_named(call, tmp_path, kind, says):
    bad_images(kind, tmp_path / "pictures")
    code, _, err = call("run", "--data", f"folder:{tmp_path / 'pictures'}", *SMALL)
    assert (code, says in err) == (2, True)


def test_stores_that_cannot_be_used_are_named_and_left_alone(call, images, tmp_path):
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "store.json").write_text('{"schema": 99}')
    code, _, err = call("run", "--data", images, *SMALL, "--store", "newer")
    assert (code, "newer rethinklab" in err) == (3, True)
    assert [p.name for p in (tmp_path / "newer").iterdir()] == ["store.json"]
    (tmp_path / "plain").write_text("x")
    code, _, err = call("run", "--data", images, *SMALL, "--store", "plain")
    assert (code, "cannot be written" in err) == (3, True)
    assert (tmp_path / "plain").read_text() == "x"


def test_divergence_is_a_failed_run(call, images):
    code, _, err = call("run", "--data", images, *SMALL, "--lr", "1e6")
    assert code == 1
    assert "diverged" in err
    assert "lower lr" in err


@pytest.mark.parametrize("what", ["models", "methods", "groups", "regimes", "datasets", "scales",
                                  "figures"])
def test_lists_name_and_explain(call, what):
    code, out, _ = call("list", what)
    assert code == 0
    assert all(len(line.split("  ", 1)) == 2 for line in out.splitlines()
               if not line.startswith("# "))  # headings
    assert what != "methods" or "# before training, weights\nrandom-mask " in out


def test_younger_methods_run_from_the_command_line(call, images):
    code, out, err = call("run", "--data", images, *SMALL, "--method", "snip")
    assert code == 0, err
    assert "Scratch-E minus Winning ticket" in out
    code, out, err = call("run", "--data", images, *SMALL, "--method", "inverted",
                          "--option", "of=fpgm", "--regimes", "finetune,scratch-e")
    assert code == 0, err
    assert "Scratch-E minus Fine-tuned" in out


def test_doctor_reports_and_names_what_is_missing(call, tmp_path):
    code, out, _ = call("doctor")
    assert code == 0
    assert "torch" in out
    (tmp_path / "file").write_text("x")
    code, out, _ = call("doctor", "--store", "file/runs")
    assert code == 1
    assert "MISS  store" in out


def test_help_teaches_and_loads_nothing_heavy():
    code = ("import sys; sys.argv = ['rethinklab', '--help']\n"
            "from rethinklab import cli\n"
            "try: cli.main()\n"
            "except SystemExit as stop: assert not stop.code\n"
            "assert not {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("demo", "Scratch-E", "Exit codes", "--install-completion"):
        assert word in done.stdout


def test_import_loads_nothing_heavy():
    code = ("import sys, rethinklab as rl; "
            "assert not {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules); "
            "rl.Recipe; rl.data; rl.figures; rl.Study")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_completion_offers_the_commands():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rethinklab")], capture_output=True, text=True,
        env={"_RETHINKLAB_COMPLETE": "complete_bash", "COMP_WORDS": "rethinklab de",
             "COMP_CWORD": "1", "PATH": ""}, check=False)
    assert "demo" in done.stdout.split()


def test_every_public_name_exists():
    for name in rl.__all__:
        assert getattr(rl, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        rl.nothing  # noqa: B018


def test_targets_and_options_are_read_as_they_are_meant():
    from rethinklab.cli.arguments import parse_factors, parse_options, parse_target

    assert [parse_target(t) for t in ("0.4", "30", "A", "macs:0.5", '{"conv": 8}')] == \
        [0.4, "30", "A", "macs:0.5", {"conv": 8}]
    assert parse_options(["of=slimming", "strength=0.01", "masked=true"]) == \
        {"of": "slimming", "strength": 0.01, "masked": True}
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_options(["strength"])
    assert parse_factors("0.3,1,3") == [0.3, 1.0, 3.0]
    with pytest.raises(ConfigError, match="learning-rate grid '1;3'"):
        parse_factors("1;3")
