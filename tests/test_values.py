"""Numbers of numpy and of torch mean what Python's mean, at every door of the kit."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, fields, is_dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.analysis.connectivity import interpolate
from rethinklab.analysis.mcnemar import mcnemar
from rethinklab.analysis.power import power_equivalence, power_t
from rethinklab.analysis.weights import bin_edges
from rethinklab.data.batches import batch_bounds, calibration_batch
from rethinklab.data.folder import check_size
from rethinklab.data.images import Images
from rethinklab.errors import ConfigError, PlanError, first_line
from rethinklab.experiments.engines.local import check_threads, check_workers
from rethinklab.experiments.engines.on_ray import gpu_share
from rethinklab.experiments.engines.on_slurm import Job
from rethinklab.experiments.time_limit import Countdown
from rethinklab.experiments.trial import Trial
from rethinklab.experiments.tuning import check_factors
from rethinklab.notebook.checks.common import number as answer
from rethinklab.pruners.shares import check_shares
from rethinklab.trainers.loop import epoch_window
from rethinklab.values import flag, listed, number, plain, whole

FLOATS = [np.float64, np.float32, np.float16, np.longdouble,
          lambda x: np.array(x), lambda x: np.array(x, dtype=np.float32),
          lambda x: torch.tensor(x), lambda x: torch.tensor(x, dtype=torch.float64),
          lambda x: torch.tensor(x, dtype=torch.bfloat16), lambda x: nn.Parameter(torch.tensor(x))]
WHOLES = [np.int64, np.int8, np.uint16, lambda x: np.array(x), lambda x: torch.tensor(x),
          lambda x: torch.tensor(x, dtype=torch.uint8)]


def typed(value):
    """A value with the types of all that is in it, since 1 == 1.0 == True in Python."""
    if isinstance(value, dict):
        return {name: typed(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [typed(entry) for entry in value]
    if is_dataclass(value):
        return type(value), typed(vars(value))
    return type(value), value


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("value", [0.1, 0.5, 0.3, 1e-4, 0.05, 2.5, -0.7, 100.0])
def test_a_float_of_any_precision_is_the_decimal_that_was_written(kind, value):
    assert typed(number("x", kind(value))) == (float, value)


@pytest.mark.parametrize("kind", WHOLES)
def test_a_whole_number_of_any_width_is_an_int(kind):
    assert typed(whole("x", kind(7))) == typed(number("x", kind(7))) == (int, 7)


def test_the_shortest_decimal_names_the_same_float32_and_no_shorter_one_does():
    """Against numpy's own printing, and struct's rounding, of random bit patterns."""
    random = np.random.default_rng(0)
    for value in random.integers(0, 2**32, 500, dtype=np.uint32).view(np.float32):
        if math.isfinite(value):
            found = plain(value)
            assert struct.unpack("f", struct.pack("f", found))[0] == value
            digits = len(Decimal(repr(found)).normalize().as_tuple().digits)
            assert digits <= len(Decimal(str(value)).normalize().as_tuple().digits)
    for extreme in (np.finfo(np.float32).max, np.finfo(np.float16).max, np.finfo(np.float16).tiny,
                    np.float32(0), np.float32(2**-149)):
        assert type(extreme)(plain(extreme)) == extreme


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True), np.array(True), "3", None,
                                   3.0, np.float64(3), torch.tensor(3.0), [3], np.arange(1),
                                   torch.tensor([3]), 3j, np.complex64(3), np.timedelta64(3, "s"),
                                   np.datetime64(3, "ns"), np.array("3"), math.nan,
                                   torch.tensor(3, device="meta")])
def test_what_is_no_whole_number(value):
    with pytest.raises(ConfigError, match=r"^n .* must be a whole number\.$"):
        whole("n", value)


@pytest.mark.parametrize("value", [True, np.False_, torch.tensor(True), "0.5", None, math.nan,
                                   -math.inf, np.float32("nan"), torch.tensor(math.inf), [0.5],
                                   np.array([0.5]), torch.tensor([0.5]), 1j, np.array("0.5")])
def test_what_is_no_number(value):
    with pytest.raises(ConfigError, match=r"^x .* must be a number\.$"):
        number("x", value)


@pytest.mark.parametrize(("value", "limits", "rule"), [
    (0, {"least": 1}, "of 1 or more"), (2, {"least": 0, "most": 1}, "from 0 to 1"),
    (0, {"above": 0}, "above 0"), (0.0, {"above": 0, "most": 16}, "above 0 and at most 16"),
    (1, {"above": 0, "below": 1}, "above 0 and below 1"), (17, {"above": 0, "most": 16}, "most")])
def test_limits_are_held_and_said(value, limits, rule):
    for given in (value, np.float64(value), torch.tensor(value)):
        with pytest.raises(ConfigError, match=f"^x [^ ]* must be a number .*{rule}"):
            number("x", given, **limits)


def test_whole_numbers_have_limits_and_may_be_written_with_a_point():
    assert whole("n", 10**400, 1) == 10**400
    assert typed(whole("n", np.float32(4), 1, floats=True)) == (int, 4)
    for value, more in ((0, {"least": 1}), (5, {"least": 1, "most": 4}), (4.5, {"floats": True}),
                        (math.inf, {"floats": True})):
        with pytest.raises(PlanError, match="must be a whole number"):
            whole("n", value, error=PlanError, **more)


def test_an_error_is_one_line_whatever_was_given():
    with pytest.raises(ConfigError, match=r"\[\[0, 0, 0\], \[0, 0, 0\]\] of a net must be odd\.$"):
        whole("n", np.zeros((2, 3), dtype=int), of="a net", rule="odd")


def test_a_flag_is_true_or_false():
    assert flag("f", np.True_) is True
    assert flag("f", torch.tensor(False)) is False
    for value in (1, 0, "yes", None, np.int64(1)):
        with pytest.raises(ConfigError, match="must be true or false"):
            flag("f", value)


def test_sequences_and_mappings_become_plain_throughout():
    given = {"a": np.array([[0.1, 1], [2, 3]], dtype=np.float32),
             "b": (np.int8(1), [torch.arange(2)]), "c": None, "d": "text",
             "e": {"f": np.bool_(True)}}
    wanted = {"a": [[0.1, 1.0], [2.0, 3.0]], "b": (1, [[0, 1]]), "c": None, "d": "text",
              "e": {"f": True}}
    assert typed(plain(given)) == typed(wanted)
    for three in (range(3), [0, 1, 2], (0, 1, 2), np.arange(3), torch.arange(3),
                  pd.Series(range(3)), [np.int64(0), torch.tensor(1), 2]):
        assert typed(listed(three)) == typed([0, 1, 2])
    for no_list in (3, np.int64(3), "012", b"012", {0, 1}, {"a": 1}, None):
        assert listed(no_list) is None


def test_the_first_line_of_an_error():
    assert first_line(ValueError("\n  one \ntwo")) == "one "
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError(" \n"), "no message") == "no message"


# The doors. Each takes (whole, share, wholes, shares), four functions that make a number or a
# sequence of Python's, and gives back what must not depend on who made it.

def python(value):
    return value


MAKERS = {
    "numpy": (np.int64, np.float32, np.array, np.array),
    "0-d arrays": (np.array, lambda x: np.array(x, dtype=np.float32), np.array,
                   lambda x: np.array(x, dtype=np.float32)),
    "tensors": (torch.tensor, torch.tensor, torch.tensor, torch.tensor),
}
SOURCE = {"name": "digits", "root": None, "size": None}


def data():
    pixels = torch.arange(40 * 3 * 16 * 16).remainder(251).to(torch.uint8).view(40, 3, 16, 16)
    images = Images(pixels, torch.arange(40) % 4)
    return rl.ImageData("made", images, images, tuple("abcd"), (0.5,) * 3, (0.25,) * 3)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 4))


def pixels(part):
    return part.pixels.sum().item(), part.labels.tolist()


def recipe(n, x, ns, xs):
    made = rl.Recipe(epochs=n(3), lr=x(0.1), batch_size=n(20), momentum=x(0.9), decay=x(0.2),
                     weight_decay=x(1e-4), milestones=xs([0.3, 0.6]), finetune_epochs=n(1),
                     warmup=x(0.1), counted_epochs=n(4))
    return asdict(made), hash(made), json.dumps(made.identity())


def stepped(n, x, ns, xs):
    return asdict(rl.Recipe(milestones=(), step=x(0.3)))


def study(n, x, ns, xs):
    made = rl.Study(model="vgg11", method="slimming", target=x(0.3), seeds=ns([2, 0]),
                    width=x(0.1), margin=x(0.7), images=n(100), hold_out=x(0.2),
                    recipe=rl.Recipe(epochs=n(2)), lrs={"finetune": x(0.05)},
                    model_options={"widths": ns([8] * 8)}, method_options={"minimum": n(2)})
    trials = made.trials(rl.ImageData(**{f.name: getattr(data(), f.name)
                                         for f in fields(rl.ImageData)}))
    return made.name, json.dumps(made.to_dict()), [trial.address for trial in trials]


def counted(n, x, ns, xs):
    made = rl.Study(model="vgg11", target={"features.0": n(4), "features.4": x(0.3)}, seeds=n(3),
                    size=n(32), width=n(1), margin=n(1))
    return made.name, json.dumps(made.to_dict())


def controlled(n, x, ns, xs):
    made = [rl.Study(method="random", target=x(0.3), model="vgg11", method_options={
                "of": "thinet", "options": {"images": n(20)}}),
            rl.Study(method="transferred", method_options={"stages": xs([0.5, 1, 1, 0.25, 0.3])})]
    return [(each.name, json.dumps(each.to_dict())) for each in made]


def trial(n, x, ns, xs):
    return Trial(SOURCE, "f" * 16, n(10), "vgg11", {"width": x(0.1)}, "l1", {}, x(0.3), "finetune",
                 n(1), rl.Recipe(epochs=n(2)), lr=x(0.02)).address


def pruners(n, x, ns, xs):
    p = rl.pruners
    return [asdict(made) for made in (
        p.L1Norm(x(0.3)), p.L1Norm({"0": n(4), "1": x(0.1)}), p.WeightLevel(x(0.3)),
        p.ThiNet(x(0.3), images=n(5), positions=n(2), seed=n(1), tune_epochs=n(1)),
        p.Regression(x(0.3), images=n(5), positions=n(2), seed=n(1), stream=x(0.2)),
        p.Slimming(x(0.3), strength=x(0.001), masked=np.False_, minimum=n(1)),
        p.SparseSelection(strength=x(0.001)), p.SoftFilter(x(0.3), pretrained=np.True_),
        p.Lottery(x(0.3), rounds=n(2), rewind=n(1), structured=np.False_),
        p.RandomChoice(x(0.3), seed=n(2)), p.Uniform(x(0.3), options={}, seed=n(2)),
        p.Transferred(x(0.6), stages=xs([0.5, 0.1]), seed=n(3)))]


def plans(n, x, ns, xs):
    network = small()
    kept = [rl.pruners.L1Norm(target).fit(network, data()) for target in (
        x(0.3), {"0": n(5)}, {"0": x(0.4)})]
    fresh = kept[0].scratch(network, seed=n(3))
    return [(plan.target, plan.keep, plan.asked) for plan in kept], \
        [p.sum().item() for p in fresh.parameters()]


def origin(n, x, ns, xs):
    return rl.Origin(rl.Recipe(epochs=n(2)), seed=n(3))


def trained(n, x, ns, xs):
    found = rl.train(small(), data(), rl.Recipe(epochs=n(2), lr=x(0.1), batch_size=n(20)),
                     seed=n(3), device="cpu", progress=False, first_epoch=n(0), last_epoch=n(1))
    return found.test_accuracy, [p.sum().item() for p in found.model.parameters()], \
        epoch_window(rl.Recipe(epochs=n(4)), n(1), n(3))


def built(n, x, ns, xs):
    models = [rl.build_model("vgg11", num_classes=n(4), width=x(0.1), seed=n(2), in_channels=n(1)),
              rl.build_model("vgg11", widths=ns([4, 5, 6, 7, 8, 9, 10, 11]), width=x(0.05)),
              rl.build_model("densenet_bc100", width=x(0.1), bottleneck=np.False_)]
    return [[(tuple(p.shape), p.sum().item()) for p in model.parameters()] for model in models]


def loaded(n, x, ns, xs):
    found = rl.load_data("digits", images=n(60), hold_out=x(0.1), seed=n(1))
    return found.name, found.fingerprint, len(found.train)


def parts(n, x, ns, xs):
    held = data().hold_out(x(0.3), seed=n(1))
    some = data().subset(n(12), test=n(8), seed=n(1))
    images, labels = calibration_batch(data(), n(6), seed=n(2))
    return held.name, pixels(held.train), pixels(some.train), pixels(some.test), \
        images.sum().item(), labels.tolist(), batch_bounds(10, n(4)), check_size(n(32))


def described(n, x, ns, xs):
    task = data()
    return rl.ImageData("made", task.train, task.test, tuple("abcd"), mean=xs([0.1, 0.2, 0.3]),
                        std=xs([0.3, 0.4, 0.5]), pad=n(2), flip=np.True_).fingerprint


def compared(n, x, ns, xs):
    a, b = xs([91.5, 92.25, 90.75, 91.0]), xs([91.0, 92.0, 91.0, 90.5])
    return rl.compare_paired(a, b, margin=x(0.7), alpha=x(0.1)), \
        rl.compare_paired(a, b, margin=n(1)), \
        mcnemar(ns([1, 0, 1, 1]), ns([0, 0, 1, 1]), alpha=x(0.1)).high


def powers(n, x, ns, xs):
    return rl.pairs_for(x(0.8), x(0.5), x(0.7), alpha=x(0.1), most=n(500)), \
        rl.pairs_for(x(0.8), n(0), x(0.7), margin=n(1)), power_t(n(6), x(0.5), x(0.7)), \
        power_equivalence(n(6), x(0.1), x(0.3), x(0.5), x(0.1)), bin_edges(x(0.3), n(6)).tolist()


def mixed(n, x, ns, xs):
    state = {"w": torch.ones(2), "n": torch.tensor(3)}
    other = {"w": torch.zeros(2), "n": torch.tensor(5)}
    return [value.tolist() for value in interpolate(state, other, x(0.3)).values()]


def scanned(n, x, ns, xs):
    from rethinklab.pruners.sensitivity import sensitivity

    return sensitivity(small(), data(), xs([0.1, 0.6]), fraction=x(0.3), seed=n(1)).to_dict()


def shared(n, x, ns, xs):
    return check_shares(xs([0.5, 0.1])), check_shares({"3x3": [xs([[0.1] * 3] * 3)]}), \
        check_factors(xs([0.3, 1.0, 3.0]))


def engines(n, x, ns, xs):
    job = Job.settle(n(1), x(2.0), {"cpus": n(2)})
    return check_workers(n(1), n(1)), check_threads(n(1)), job, \
        gpu_share("cuda", n(2), 1, x(0.3)), Countdown(n(9)).end > 0


def lessons(n, x, ns, xs):
    return answer(n(3)), answer(x(0.1))


DOORS = [recipe, stepped, study, counted, controlled, trial, pruners, plans, origin, trained, built,
         loaded, parts, described, compared, powers, mixed, scanned, shared, engines, lessons]


@pytest.mark.parametrize("makers", MAKERS)
@pytest.mark.parametrize("door", DOORS)
def test_a_door_does_not_know_who_made_a_number(door, makers):
    expected = door(python, python, python, python)
    assert typed(door(*MAKERS[makers])) == typed(expected)


@pytest.mark.parametrize("seeds", [range(3), np.arange(3), torch.arange(3), [0, np.int64(1), 2], 3,
                                   np.int64(3), torch.tensor(3)])
def test_seeds_are_a_count_or_any_sequence(seeds):
    assert typed(rl.Study(seeds=seeds).seeds) == typed((0, 1, 2))


@pytest.mark.parametrize(("wrong", "says"), [
    ({"seeds": np.array([1.5])}, "seed 1.5 must be a whole number from 0"),
    ({"seeds": torch.tensor([1, 1])}, r"seeds \[1, 1\] must be distinct"),
    ({"seeds": np.array([])}, r"seeds \[\] must be 1 or more"),
    ({"seeds": True}, "seeds True must be"), ({"seeds": "3"}, "seeds '3' must be"),
    ({"margin": np.float32("nan")}, "margin nan must be a number above 0"),
    ({"width": True}, "width True must be a number"),
    ({"lrs": {"finetune": np.inf}}, "lr inf of finetune must be a number above 0")])
def test_numbers_of_numpy_are_refused_like_any_other(wrong, says):
    with pytest.raises(ConfigError, match=says):
        rl.Study(**wrong)


@pytest.mark.parametrize("milestones", [0.5, "half", [0.6, 0.3], np.array([0.5, 1.5]), [True],
                                        [None]])
def test_milestones_rise(milestones):
    with pytest.raises(ConfigError, match="must rise between 0 and 1"):
        rl.Recipe(milestones=milestones)
