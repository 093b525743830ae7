"""Images, networks and methods of one's own, by name or as they are: one study, found again by
other processes, or a refusal that says how to give them."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import own_things
import pytest
import typer.testing
from small_studies import outcome, write_pair

import rethinklab as rl
from rethinklab.cli import app
from rethinklab.errors import ConfigError, DataError, RethinkError
from rethinklab.experiments.queue import load_queue
from rethinklab.own import import_named, name_of

NAMED = {"dataset": "own_things:images", "model": "own_things:net", "method": "own_things:Taylor",
         "target": 0.5, "seeds": 1, "regimes": ["scratch-e"], "epochs": 1, "batch_size": 8}


def addresses(study):
    return [trial.address for trial in study.trials(study.load())]


def go(study, store, **options):
    return rl.run(study, store, **{"workers": 0, "progress": False, "device": "cpu", **options})


def test_workers_find_by_name_what_one_process_finds(tmp_path):
    study = rl.Study(**NAMED)
    one = go(study, tmp_path / "one")
    two = go(study, tmp_path / "two", workers=2)
    assert outcome(one) == outcome(two)
    assert len(one.frame) == 2


def test_the_command_line_and_a_queue_take_the_same_names_and_words(tmp_path):
    study = rl.Study(**NAMED)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in NAMED.items()
             if name not in ("dataset", "regimes")]
    call = ["run", "--data", NAMED["dataset"], "--regimes", "scratch-e", *words,
            "--store", str(tmp_path / "runs"), "--workers", "1", "--device", "cpu"]
    done = typer.testing.CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert f"Stored as {study.name}" in done.output
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in NAMED.items())
    (tmp_path / "queue.toml").write_text(f"[[study]]\nname = 'own'\n{lines}")
    (entry,) = load_queue(tmp_path / "queue.toml")
    assert entry.study() == study


def test_things_are_the_study_of_their_names():
    named = rl.Study(**NAMED)
    for method in ({"method": own_things.Taylor},
                   {"method": own_things.Taylor(0.5), "target": None}):
        given = rl.Study(**{**NAMED, "model": own_things.net, **method})
        assert given == named
        assert given.name == named.name
        assert addresses(given) == addresses(named)
    assert rl.Study(**{**NAMED, "model": own_things.Net}).network == "own_things:Net"
    assert "Taylor-net-own-things-images-0.5" in named.name
    assert rl.Study.from_dict(named.to_dict()) == named


def test_a_pruner_of_the_kit_gives_its_name_target_and_hyper_parameters():
    given = rl.Study(method=rl.pruners.Slimming(0.4, strength=0.003), seeds=1)
    named = rl.Study(method="slimming", target=0.4, seeds=1,
                     method_options={"strength": 0.003, "minimum": given.pruner.minimum})
    assert (given, given.pruner.strength) == (named, 0.003)
    assert given.pruner.minimum == rl.pruners.Slimming(0.4).minimum  # its own, not the scale's
    control = rl.pruners.RandomChoice(0.4, of="slimming", options={"strength": 0.003})
    assert rl.Study(method=control).pruner.base == rl.pruners.Slimming(0.4, strength=0.003)
    with pytest.raises(ConfigError, match="leave out target"):
        rl.Study(method=rl.pruners.L1Norm(0.4), target=0.5)


def test_images_in_memory_are_known_by_what_they_are(tmp_path):
    data = own_things.images()
    study = rl.Study(**{**NAMED, "dataset": data})
    assert addresses(study) == addresses(rl.Study(**NAMED))
    assert study.name != rl.Study(**{**NAMED, "dataset": data.subset(20)}).name
    with pytest.raises(ConfigError, match=r"images 'own' are in this process's memory.*workers=0"):
        go(study, tmp_path / "runs", workers=1)
    results = go(study, tmp_path / "runs")
    assert rl.load_results(study.name, tmp_path / "runs").plan(0) == results.plan(0)
    with pytest.raises(DataError, match="'gone' were in the memory of another process"):
        rl.load_data("memory:gone#0123")


def test_a_method_that_acts_during_training_is_found_by_its_name(tmp_path):
    study = rl.Study(**{**NAMED, "method": own_things.Penalised, "model": "own_things:Net"})
    training = study.trials(study.load())[1].stages[0].spec["during"]
    assert training["method"] == "own_things:Penalised"
    assert training["source"] == rl.pruners.method_digest(own_things.Penalised)
    assert len(go(study, tmp_path / "runs").frame) == 2
    control = rl.Study(**{**NAMED, "method": "random", "method_options": {"of": NAMED["method"]}})
    assert control.trials(control.load())[1].method_source


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported, and gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text, name="of_a_user"):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return name
    yield write
    sys.modules.pop("of_a_user", None)


@pytest.mark.parametrize(("name", "says"), [
    ("no_such_module:Fpgm", "no module 'no_such_module' in"),
    ("own_things:Tailor", "has no 'Tailor'. Did you mean 'Taylor'"),
    ("own_things:broken", "is of type list, and must be a class derived"),
    ("own_things:Net", "is another class, and must"),
    ("own_things:net", "is of type function, and must"),
    ("own_things.py:Taylor", "no module 'own_things.py'"),
    ("lone", "unknown method 'lone'.*package.module:Name")])
def test_a_method_that_is_not_there_says_what_is(name, says):
    with pytest.raises(ConfigError, match=says):
        rl.Study(**{**NAMED, "method": name})


def test_a_module_that_fails_says_why(module):
    with pytest.raises(ConfigError, match=r"'of_a_user' fails \(ZeroDivisionError"):
        rl.Study(**{**NAMED, "method": f"{module('1 / 0')}:Fpgm"})
    with pytest.raises(ConfigError, match="'absent_one', which 'of_a_user' imports; install it"):
        rl.Study(**{**NAMED, "method": f"{module('import absent_one')}:Fpgm"})


def test_an_edited_criterion_is_a_new_one(module):
    text = ("import rethinklab as rl\nclass Own(rl.pruners.ChannelPruner):\n"
            "    def score(self, layer):\n        return {}layer.weight.flatten(1).sum(1)\n")
    name = module(text.format("")) + ":Own"
    first = addresses(rl.Study(**{**NAMED, "method": name}))
    assert addresses(rl.Study(**{**NAMED, "method": name})) == first
    module(text.format("-"))
    import linecache

    linecache.clearcache()
    second = addresses(rl.Study(**{**NAMED, "method": name}))
    assert second[0] == first[0]  # the unpruned network knows nothing of it
    assert second[1] != first[1]


def closure():
    def inner(num_classes):
        return own_things.net(num_classes)
    return inner


class Local(rl.pruners.ChannelPruner):
    name = "local"


def local_method():
    class Local(rl.pruners.ChannelPruner):
        name = "local"
    return Local


@pytest.mark.parametrize(("given", "says"), [
    ({"model": own_things.net(2)}, r"built already \(Net\).*give the function"),
    ({"model": lambda num_classes: None}, "is a lambda.*top level of a module"),
    ({"model": closure()}, "'inner' .* inside the function closure"),
    ({"model": 3}, "must be a name or what builds the network"),
    ({"method": local_method()}, "'Local' .* inside the function local_method"),
    ({"method": local_method()(0.5), "target": None}, "inside the function"),
    ({"method": 0.5}, "must be a name, a class derived"),
    ({"dataset": Path("birds")}, "must be a name such as folder:~/birds or an rl.ImageData"),
    ({"dataset": "own_things:net"}, "cannot be made .*num_classes.*without arguments"),
    ({"dataset": "own_things:broken"}, "gives a list"),
    ({"dataset": "digit:foo"}, "unknown dataset 'digit:foo'")])
def test_what_could_not_be_found_again_is_refused_with_the_remedy(given, says):
    with pytest.raises(RethinkError, match=says):
        rl.Study(**{**NAMED, **given}).load()


def test_a_name_leads_back_to_the_thing_or_is_none():
    for thing in (own_things.net, own_things.Taylor, rl.pruners.ThiNet.fit):
        assert import_named("thing", name_of("thing", thing)) is thing
    shadowed = own_things.net
    own_things.net = own_things.Net
    try:
        with pytest.raises(ConfigError, match="is not what module own_things has by that name"):
            name_of("thing", shadowed)
    finally:
        own_things.net = shadowed


SCRIPT = """
import sys
import rethinklab as rl
from own_things import images, net

class Mine(rl.pruners.ChannelPruner):
    def score(self, layer, context):
        return context.weight_gradient.flatten(1).norm(dim=1)

if __name__ == "__main__":
    study = rl.Study(dataset=images(), model=net, method=Mine(0.5), seeds=1, epochs=1,
                     regimes=["pruned"])
    if sys.argv[1:] == ["named"]:
        from dataclasses import replace
        study = replace(study, dataset="own_things:images")
    try:
        print(len(rl.run(study, "runs", workers=len(sys.argv) - 1, progress=False).frame))
    except rl.RethinkError as error:
        print(error)
"""


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "2"), (["named"], "method '__main__:Mine' is defined in the script or notebook")])
def test_a_script_runs_its_own_classes_in_its_own_process(arguments, says, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    shutil.copy(own_things.__file__, tmp_path)
    done = subprocess.run([sys.executable, "script.py", *arguments], cwd=tmp_path, check=False,
                          capture_output=True, text=True)
    assert done.stdout.startswith(says), done.stdout + done.stderr


def test_words_of_the_command_line_change_the_recipe(tmp_path):
    images = write_pair(tmp_path)
    base = {"dataset": images, "model": "vgg11", "target": 0.5}
    quick = rl.Study(**base).large_recipe
    study = rl.Study(**base, epochs=3, lr=0.02, batch_size=16)
    whole = rl.Recipe(epochs=3, lr=0.02, batch_size=16)
    assert study == rl.Study(**base, recipe=whole)
    assert addresses(study) == addresses(rl.Study(**base, recipe=whole))
    assert rl.Study(**base, epochs=3).large_recipe == rl.Recipe(epochs=3, lr=quick.lr)
    longer = rl.Recipe(epochs=10, lr=0.2, finetune_epochs=4)
    assert rl.Study(**base, recipe=longer, epochs=5).large_recipe == rl.Recipe(
        epochs=5, lr=0.2, finetune_epochs=2)
    assert rl.Study.from_dict(study.to_dict()) == study
    for wrong, says in (({"epochs": 0}, "epochs 0"), ({"lr": -1}, "lr -1"),
                        ({"epochs": "3"}, "epochs .3."), ({"recipe": {"lr": 1}}, "an rl.Recipe"),
                        ({"recipe": 3}, "recipe 3 must be")):
        with pytest.raises(ConfigError, match=says):
            rl.Study(**base, **wrong)


def test_a_queue_changes_whatever_a_recipe_has(tmp_path):
    text = "[[study]]\nname = 'own'\ntarget = 0.5\nmodel = 'vgg11'\ndecay = 0.2\nepochs = 8\n"
    (tmp_path / "queue.toml").write_text(text + "finetune_epochs = 3\n")
    (entry,) = load_queue(tmp_path / "queue.toml")
    assert entry.study().recipe == rl.Recipe(epochs=8, lr=0.05, decay=0.2, finetune_epochs=3)
    with pytest.raises(ConfigError, match="Did you mean 'decay'"):
        rl.Recipe().changed(decai=0.2)
