"""The programs of README and guides run as printed, at a scale for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from image_folders import write_images

import rethinklab as rl
from rethinklab.experiments import scales

ROOT = Path(__file__).resolve().parent.parent


def python_blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)


@pytest.mark.slow
def test_the_python_tour_runs_as_printed(tmp_path, monkeypatch, capsys):
    tiny = replace(scales.SCALES["quick"], recipe=rl.Recipe(epochs=1, lr=0.05), width=0.0625,
                   seeds=2)
    monkeypatch.setitem(scales.SCALES, "quick", tiny)
    monkeypatch.chdir(tmp_path)
    whole = rl.load_data
    monkeypatch.setattr(rl, "load_data", lambda name: whole(name).subset(600, 200), raising=False)
    space: dict = {}
    (first,) = python_blocks("docs/start.md")
    (ten,) = python_blocks("README.md")
    assert len([line for line in ten.splitlines() if line.strip()]) <= 10
    for block in (first, ten, *python_blocks("docs/budgets.md"), *python_blocks("docs/methods.md")):
        exec(compile(block, "the tour", "exec"), space)
    assert space["small"] is not space["fresh"]
    assert "Verdict" in capsys.readouterr().out
    assert os.listdir(tmp_path / "runs" / "stages")


def test_the_criterion_of_the_guide_runs_a_study(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(rl.pruners, "METHODS", dict(rl.pruners.METHODS))
    space: dict = {}
    block = python_blocks("docs/own_criterion.md")[0]
    assert block == (ROOT / "rethinklab" / "pruners" / "l2.py").read_text()
    exec(compile(block, "own_criterion", "exec"), space)
    rl.pruners.METHODS["l2"] = space["L2Norm"]
    model = rl.build_model("vgg11", width=0.25, seed=2)
    plan = rl.make_pruner("l2", 0.5).fit(model, digits)
    norms = model.features[0].weight.detach().flatten(1).pow(2).sum(1)
    assert set(plan.keep["features.0"]) == set(norms.argsort()[len(norms) // 2 :].tolist())
    recipe = rl.Recipe(epochs=1, lr=0.02, batch_size=16)
    write_images(tmp_path / "images", {"dark": 20, "light": 20})
    study = rl.Study(dataset=f"folder:{tmp_path / 'images'}", model="vgg11", method="l2",
                     target=0.5, width=0.0625, seeds=1, recipe=recipe)
    results = rl.run(study, tmp_path / "runs", workers=0, progress=False)
    assert len(results.frame) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("guide", "begins", "says"), [
    ("own_criterion", "# taylor.py", "scratch-b"), ("own_network", "# net.py", "scratch-b"),
    ("figures", "import matplotlib", "")])
def test_the_programs_of_the_guides_run_as_printed(guide, begins, says, tmp_path):
    (program,) = [block for block in python_blocks(f"docs/{guide}.md")
                  if block.startswith(begins)]
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    write_images(tmp_path / "birds", {"robin": 20, "wren": 20})
    script = tmp_path / (begins[2:] if begins.startswith("#") else "figure.py")
    script.write_text(program)
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env={**os.environ, "MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert says or (tmp_path / "two_panels.pdf").read_bytes().startswith(b"%PDF")
