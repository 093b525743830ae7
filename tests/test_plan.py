"""Plans: data apart from weights, equal after a round trip, honoured or refused."""

from __future__ import annotations

import json
from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.pruners.targets import kept_count

VGG_16_A = [32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256]


@pytest.fixture(scope="module")
def vgg16():
    return rl.build_model("vgg16", width=0.25, seed=4)


@pytest.fixture(scope="module")
def plan(vgg16, digits):
    return rl.pruners.L1Norm("A").fit(vgg16, digits)


def test_target_a_of_the_full_network_is_the_published_one(digits):
    model = rl.build_model("vgg16")
    plan = rl.pruners.L1Norm("A").fit(model, digits)
    assert list(plan.kept_widths.values()) == VGG_16_A
    assert (plan.before.params, plan.after.params) == (14_987_722, 5_397_034)
    # Li et al. (ICLR 2017), Table 1: parameters and FLOPs pruned away, in their rounding.
    assert round(100 * (1 - plan.after.params / plan.before.params), 1) == 64.0
    assert round(100 * (1 - plan.after.macs / plan.before.macs), 1) == 34.2


def test_apply_inherits_and_scratch_does_not(plan, vgg16):
    inherited, fresh = plan.apply(vgg16), plan.scratch(vgg16, seed=1)
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in (inherited, fresh)]
    assert shapes[0] == shapes[1]
    first = list(plan.keep["features.0"])
    assert torch.equal(inherited.features[0].weight, vgg16.features[0].weight[first])
    for name, value in fresh.named_parameters():
        if value.ndim > 1:
            old = inherited.get_parameter(name)
            assert not (value == old).any(), f"{name} inherited a weight"


def test_scratch_initialises_for_the_pruned_widths(plan, vgg16, digits):
    big = rl.build_model("vgg16")
    fresh = rl.pruners.L1Norm("A").fit(big, digits).scratch(big, seed=0)
    conv = fresh.features[30]
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
    assert (fresh.features[31].weight == 0.5).all()


def test_scratch_depends_on_its_seed_only(plan, vgg16):
    torch.manual_seed(0)
    one = plan.scratch(vgg16, seed=1).features[0].weight
    torch.manual_seed(1)
    assert torch.equal(one, plan.scratch(vgg16, seed=1).features[0].weight)
    assert not torch.equal(one, plan.scratch(vgg16, seed=2).features[0].weight)


def test_scratch_resets_running_statistics(plan, vgg16):
    worn = plan.apply(vgg16)
    worn.train()(torch.randn(8, 3, 32, 32))
    trained = rl.build_model("vgg16", width=0.25, seed=4)
    trained.train()(torch.randn(8, 3, 32, 32))
    fresh = plan.scratch(trained)
    assert (fresh.features[1].running_mean == 0).all()
    assert (fresh.features[1].running_var == 1).all()


def test_a_parameter_without_a_rule_is_an_error_not_an_inheritance():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.head = nn.Linear(8, 2)
            self.scale = nn.Parameter(torch.full((1,), 3.0))

        def forward(self, images):
            return self.head(self.conv(images).mean((2, 3))) * self.scale

    data = rl.ImageData("x", *[rl.Images(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8),
                                         torch.tensor([0, 1, 0, 1]))] * 2, ("a", "b"),
                        (0.5,) * 3, (0.5,) * 3)
    model = Scaled()
    plan = rl.pruners.L1Norm(0.5).fit(model, data)
    with pytest.raises(PlanError, match=r"scale of Scaled.*initialise"):
        plan.scratch(model)
    fresh = plan.scratch(model, init=lambda net: nn.init.ones_(net.scale))
    assert float(fresh.scale.detach()) == 1.0


def test_silence_is_the_mask_form(plan, vgg16):
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(plan.silence(vgg16).eval()(images),
                              plan.apply(vgg16).eval()(images), atol=1e-5)


def test_round_trip_through_json_and_disk(plan, tmp_path):
    assert rl.Plan.from_json(plan.to_json()) == plan
    plan.save(tmp_path / "plan.json")
    assert rl.Plan.load(tmp_path / "plan.json") == plan


@settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5),
                       st.sets(st.integers(0, 63), min_size=1).map(lambda s: tuple(sorted(s))),
                       min_size=1), st.one_of(st.floats(0.01, 0.99), st.text()))
def test_any_plan_survives_the_round_trip(keep, target):
    plan = rl.Plan("l1", target, (3, 32, 32), dict.fromkeys(keep, 64), keep,
                   dict.fromkeys(keep, 0.5), {"fc": "output"})
    assert rl.Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("text", "says"), [
    ("{}", "not a pruning plan"), ("nonsense", "not a pruning plan"), ("[]", "not a pruning plan"),
    ('{"schema": 99}', "update rethinklab"), ('{"schema": 1}', "not a pruning plan")])
def test_texts_that_are_no_plan(text, says):
    with pytest.raises(PlanError, match=says):
        rl.Plan.from_json(text)


def test_a_plan_refuses_another_network(plan):
    with pytest.raises(PlanError, match=r"expects 16 channels in features.0.*has 8"):
        plan.apply(rl.build_model("vgg16", width=0.125))
    with pytest.raises(PlanError, match="does not have"):
        plan.apply(rl.build_model("vgg11", width=0.25))


def test_report_says_asked_got_and_left_alone(plan):
    lines = plan.report.splitlines()
    assert "features.0       16      -50%       8  50.0%" in lines
    assert "features.3       16       all      16  100.0%" in lines
    assert any(line.startswith("parameters: ") for line in lines)
    assert "  classifier.3: its channels are the network's output" in lines


def test_json_is_plain_data(plan):
    content = json.loads(plan.to_json())
    assert content["schema"] == 2
    assert content["keep"]["features.0"] == list(plan.keep["features.0"])


@given(st.integers(1, 2048), st.integers(0, 999))
def test_kept_count_truncates_exactly(width, per_mille):
    exact = floor(width * (1 - Fraction(per_mille, 1000)))
    if exact < 1:
        with pytest.raises(PlanError, match="would empty"):
            kept_count(per_mille / 1000, width, "layer")
    else:
        assert kept_count(per_mille / 1000, width, "layer") == exact


def test_a_masked_plan_without_its_tensors_is_refused(digits, tmp_path, plan):
    model = rl.build_model("vgg11", width=0.125)
    masked = rl.make_pruner("weight-level", 0.5).fit(model, digits)
    with pytest.raises(PlanError, match=r"Plan\.load"):
        type(masked).from_json(masked.to_json())
    for name in ("w-0.3", "w-0.5"):  # a dot in the name is no suffix
        masked.save(tmp_path / name)
    assert len({p.name for p in tmp_path.iterdir()}) == 4
    assert type(masked).load(tmp_path / "w-0.3") == masked
    plan.save(tmp_path / "w-0.3")  # over it: the tensors of the old plan go
    assert type(plan).load(tmp_path / "w-0.3") == plan
    masked.save(tmp_path / "lost.json")
    (tmp_path / "lost.json.safetensors").unlink()
    with pytest.raises(PlanError, match="masks"):
        type(masked).load(tmp_path / "lost.json")
