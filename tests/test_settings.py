"""Settings on top of a scale or of a row of the paper: what they change, and what becomes of it."""

from __future__ import annotations

import rethinklab as rl
from rethinklab.experiments.settings import study_settings


def test_other_settings_begin_with_those_of_the_first_look():
    for given in ({"lr": 0.2}, {"recipe": {"lr": 0.2}}):
        first = rl.Study(**study_settings(None, "quick", given))
        assert first.recipe == rl.Recipe(epochs=4, lr=0.2)
        named = rl.Study(**study_settings(None, "quick", {**given, "model": "vgg11"}), target=0.4)
        assert named.recipe == rl.Recipe(epochs=6, lr=0.2)
        row = rl.Study(**study_settings("l1-vgg16-cifar10", "paper", given))
        assert row.recipe == rl.Recipe(epochs=160, lr=0.2)


def test_a_row_with_other_settings_is_no_longer_that_row():
    row = "slimming-vgg19-cifar10-70"
    assert study_settings(row, "paper", {"seeds": 2})["preset"] == row
    control = study_settings(row, "paper", {"method": "random"})
    assert control["preset"] == ""
    assert control["method_options"] == {"of": "slimming", "options": {"strength": 1e-4}}
    assert rl.Study(**control).pruner.base.strength == 1e-4
    other = study_settings(row, "paper", {"method": "l1", "target": 0.4})
    assert (other["preset"], other["method_options"]) == ("", {})
    published = "sss-resnet50-imagenet-41"
    assert study_settings(published, "quick", {})["pruned_model"] == "sss_resnet41"
    own = study_settings(published, "quick", {"target": 0.5})
    assert "pruned_model" not in own
