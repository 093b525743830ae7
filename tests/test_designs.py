"""Designs: shares by hand, equal costs by brute force, masks by their statistics; all are built
and run."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import scramble_statistics

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners import L1Norm, Slimming, WeightLevel, mean_shares, stage_shares
from rethinklab.pruners.plan import make_plan
from rethinklab.pruners.shares import check_shares
from rethinklab.pruners.stages import layer_sides

# VGG-16 on CIFAR-10 after slimming removed 60 %: a public run of the released code, 182.6M MACs
WIDTHS = (40, 64, 128, 128, 254, 251, 229, 230, 115, 59, 45, 50, 96)
ORIGINAL = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
BY_HAND = [(40 + 64) / 128, 1.0, (254 + 251 + 229) / (3 * 256), (230 + 115 + 59) / (3 * 512),
           (45 + 50 + 96) / (3 * 512)]
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def vgg16():
    return rl.build_model("vgg16", variant="slimming", seed=1)


@pytest.fixture(scope="module")
def slimmed(vgg16, digits):
    layers = [name for name, m in vgg16.named_modules() if isinstance(m, torch.nn.Conv2d)]
    return L1Norm(dict(zip(layers, WIDTHS, strict=True))).fit(vgg16, digits)


@pytest.fixture(scope="module")
def narrow():
    return scramble_statistics(rl.build_model("vgg11", width=0.125, seed=2))


def parameters(widths, inputs=3):
    """Of a VGG without hidden layer: convolutions, normalisations, classifier."""
    total, before = 0, inputs
    for width in widths:
        total += 9 * before * width + 2 * width
        before = width
    return total + 10 * before + 10


def macs(widths, sides=(32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2)):
    pairs = zip((3, *widths), widths, sides, strict=False)
    return sum(9 * a * b * side**2 for a, b, side in pairs) + 10 * widths[-1]


def runs(plan, model, classes=10):
    fresh = plan.scratch(model, seed=3).eval()
    assert fresh(torch.randn(2, *plan.input_shape)).shape == (2, classes)
    for name, mask in plan.masks.items():
        assert not fresh.get_parameter(name)[~mask].any()
    return fresh


def test_guided_widths_of_the_reference_are_the_stage_averages(slimmed, vgg16):
    assert round(slimmed.after.macs / 1e6, 1) == 182.6  # the published count, twice over
    assert slimmed.after.macs == macs(WIDTHS)
    assert stage_shares(slimmed, vgg16) == {"channels": pytest.approx(BY_HAND, abs=1e-6)}
    plan = slimmed.guided(vgg16)
    wanted = [round(width * share) for width, share in
              zip(ORIGINAL, [s for s, n in zip(BY_HAND, (2, 2, 3, 3, 3), strict=True)
                             for _ in range(n)], strict=True)]
    assert list(plan.kept_widths.values()) == wanted
    assert wanted == [52, 52, 128, 128, *[245] * 3, *[135] * 3, *[64] * 3]
    assert plan.after.params == parameters(wanted)
    assert plan.after.params == pytest.approx(slimmed.after.params, rel=0.06)
    assert plan.after.macs == pytest.approx(slimmed.after.macs, rel=0.06)
    assert (plan.method, plan.target) == ("guided", slimmed.target)
    runs(plan, vgg16)


@pytest.mark.parametrize("at", ["params", "macs"])
def test_uniform_is_the_nearest_of_all_ratios_in_cost(at, slimmed, vgg16):
    """Every ratio at which some layer loses a channel, each priced by the formula."""
    plan = slimmed.uniform(vgg16, at=at)
    price = {"params": parameters, "macs": macs}[at]
    ratios = sorted({cut / width for width in set(ORIGINAL) for cut in range(width)})
    every = [[max(1, w - int(ratio * w + 1e-9)) for w in ORIGINAL] for ratio in ratios]
    goal = price(WIDTHS)
    best = min(every, key=lambda widths: abs(price(widths) - goal))
    chosen = price(list(plan.kept_widths.values()))
    assert abs(chosen - goal) <= abs(price(best) - goal)  # nearer: layers lose one by one
    assert getattr(plan.after, at) == chosen
    shares = [kept / width for kept, width in zip(plan.kept_widths.values(), ORIGINAL,
                                                  strict=True)]
    assert max(shares) - min(shares) <= 1 / min(ORIGINAL)
    assert getattr(plan.after, at) == pytest.approx(goal, rel=0.02)


def test_equal_parameters_and_equal_macs_are_two_things(slimmed, vgg16):
    one, other = (slimmed.uniform(vgg16, at=at) for at in ("params", "macs"))
    assert one.after.params < other.after.params  # slimming keeps the costly early layers
    with pytest.raises(ConfigError, match=r"at 'flops' must be macs or params"):
        slimmed.uniform(vgg16, at="flops")


def test_stages_of_vgg16_in_vgg19(slimmed, vgg16):
    other = rl.build_model("vgg19", variant="slimming", num_classes=100, seed=5)
    plan = slimmed.transfer(vgg16, other)
    wanted = [52, 52, 128, 128, *[245] * 4, *[135] * 4, *[64] * 4]
    assert list(plan.kept_widths.values()) == wanted
    assert plan.method == "transferred"
    assert plan.target == slimmed.target
    runs(plan, other, classes=100)


def test_another_number_of_stages_is_said(slimmed, vgg16):
    other = rl.build_model("resnet20", width=0.25)
    with pytest.raises(PlanError, match=r"5 stages.*ResNet has 3.*32, 16, 8.*as many stages"):
        slimmed.transfer(vgg16, other)


def test_other_images_have_other_sides_and_the_same_stages(slimmed, vgg16):
    plan = slimmed.transfer(vgg16, vgg16, input_shape=(3, 64, 64))
    assert plan.input_shape == (3, 64, 64)
    assert plan.kept_widths == slimmed.guided(vgg16).kept_widths


def test_hidden_linear_layers_are_a_stage_of_their_own(digits):
    model = scramble_statistics(rl.build_model("vgg11", width=0.25, seed=3))
    plan = Slimming(0.4, minimum=1).fit(model, digits)
    assert "classifier.0" in plan.keep
    shares = stage_shares(plan, model)["channels"]
    assert len(shares) == 6
    assert shares[-1] == pytest.approx(len(plan.keep["classifier.0"])
                                       / plan.widths["classifier.0"], abs=1e-6)
    guided = plan.guided(model)
    assert guided.kept_widths["classifier.0"] == plan.kept_widths["classifier.0"]
    moved = plan.transfer(model, rl.build_model("vgg16", width=0.25))
    assert len(moved.keep) == 14
    without = L1Norm(0.4).fit(model, digits).transfer(model, rl.build_model("vgg16", width=0.25))
    assert len(without.keep) == 13
    assert without.left_alone["classifier.0"] == "the design has no share for it"


@pytest.mark.parametrize("name", ["preresnet20", "densenet40"])
def test_networks_that_select_their_inputs(name, digits):
    model = scramble_statistics(rl.build_model(name, width=0.5, seed=4))
    plan = Slimming(0.4, minimum=1).fit(model, digits)
    assert plan.read
    sides = layer_sides(model, SHAPE)
    guided = plan.guided(model)
    for part, full in (("keep", plan.widths),
                       ("read", {n: m.in_features if isinstance(m, torch.nn.Linear)
                                 else m.in_channels for n, m in model.named_modules()
                                 if n in plan.read})):
        before, after = getattr(plan, part), getattr(guided, part)
        assert before.keys() == after.keys()
        for side in {sides.get(name, 0) for name in before}:
            stage = [name for name in before if sides.get(name, 0) == side]
            mean = sum(len(before[name]) / full[name] for name in stage) / len(stage)
            for layer in stage:
                assert len(after[layer]) == max(1, round(mean * full[layer])), layer
    assert guided == plan.guided(model)
    assert guided.read != plan.guided(model, seed=1).read
    assert guided.kept_widths == plan.guided(model, seed=1).kept_widths
    assert guided.after.params == pytest.approx(plan.after.params, rel=0.1)
    runs(guided, model)
    uniform = plan.uniform(model, at="params")
    assert uniform.read.keys() == plan.read.keys()
    assert uniform.keep.keys() == plan.keep.keys()
    assert uniform.after.params == pytest.approx(plan.after.params, rel=0.05)
    inputs = {n: m.in_features if isinstance(m, torch.nn.Linear) else m.in_channels
              for n, m in model.named_modules() if n in uniform.read}
    units = [(1 - len(kept) / width, 1 / width) for kept, width in
             [(uniform.read[n], inputs[n]) for n in inputs]
             + [(uniform.keep[n], uniform.widths[n]) for n in uniform.keep]]
    gone = max(share for share, _ in units)
    assert all(share <= gone < share + step + 1e-9 for share, step in units)
    runs(uniform, model)
    wider = rl.build_model(name, width=1.0, seed=4)
    moved = plan.transfer(model, wider)
    assert moved.read.keys() == plan.read.keys()
    assert moved.keep.keys() == plan.keep.keys()
    runs(moved, wider)


def test_streams_cannot_be_read_in_a_network_without_any(digits):
    model = scramble_statistics(rl.build_model("densenet40", width=0.5, seed=4))
    shares = stage_shares(Slimming(0.4, minimum=1).fit(model, digits), model)
    assert set(shares) == {"read"}
    with pytest.raises(PlanError, match="read a selection"):
        rl.make_pruner("transferred", 0.4, stages=shares).fit(
            rl.build_model("vgg11", width=0.125), digits)


def test_uniform_masks_have_one_density_at_random_places(narrow, digits):
    base = WeightLevel(0.9).fit(narrow, digits)
    plan, again, other = (base.uniform(narrow, seed=seed) for seed in (0, 0, 1))
    total = sum(m.numel() for m in base.masks.values())
    live = sum(int(m.sum()) for m in base.masks.values())
    for name, mask in plan.masks.items():
        assert int(mask.sum()) == round(mask.numel() * live / total), name
        assert not torch.equal(mask, other.masks[name])
    assert plan == again
    largest = base.uniform(narrow, choose="largest")
    assert largest.densities == plan.densities
    assert largest != plan
    weight = narrow.get_parameter("features.8.weight").detach().abs()
    kept = plan.masks["features.8.weight"]
    assert float(weight[kept].mean()) == pytest.approx(float(weight.mean()), rel=0.2)
    runs(plan, narrow)
    with pytest.raises(ConfigError, match="largest or random"):
        base.uniform(narrow, choose="smallest")


def test_guided_masks_have_the_probabilities_of_the_stage(digits):
    """Each position's share of a stage's kernels, counted in loops, comes back in the masks."""
    model = rl.build_model("vgg16", width=0.5, seed=6, variant="weight-level")
    masks, draws = {}, torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.2, 0.6, 0.2], [0.6, 0.9, 0.6], [0.2, 0.6, 0.2]])
    sides = layer_sides(model, SHAPE)
    for name, side in sides.items():
        shape = model.get_submodule(name).weight.shape
        masks[f"{name}.weight"] = torch.rand(shape, generator=draws) < corners * side / 32
    plan = make_plan(model, "mine", 0.5, SHAPE, {}, {}, {}, masks=masks)
    shares = stage_shares(plan, model)
    assert set(shares) == {"3x3"}
    guided = plan.guided(model, seed=2)
    for place, side in enumerate((32, 16, 8, 4, 2)):
        stage = [name for name in sides if sides[name] == side]
        for row, column in itertools.product(range(3), repeat=2):
            seen, again, kernels = 0, 0, 0
            for name in stage:
                seen += int(masks[f"{name}.weight"][:, :, row, column].sum())
                again += int(guided.masks[f"{name}.weight"][:, :, row, column].sum())
                kernels += masks[f"{name}.weight"][:, :, 0, 0].numel()
            p = seen / kernels
            assert shares["3x3"][place][row][column] == pytest.approx(p, abs=1e-6)
            assert abs(again / kernels - p) < 5 * (p * (1 - p) / kernels) ** 0.5 + 1e-9
    assert guided.after.nonzero_params == pytest.approx(plan.after.nonzero_params, rel=0.01)
    assert not torch.equal(guided.masks["features.0.weight"], masks["features.0.weight"])
    runs(guided, model)


@pytest.mark.parametrize("name", ["preresnet20", "densenet40"])
def test_masks_of_other_networks(name, digits):
    model = rl.build_model(name, width=0.5, seed=4, variant="weight-level")
    plan = WeightLevel(0.95).fit(model, digits)
    shares = stage_shares(plan, model)
    assert set(shares) == {"3x3", "1x1"}
    assert all(len(listed) == 3 for listed in shares.values())
    if name == "densenet40":  # a transition at the end of two stages
        assert [share is None for share in shares["1x1"]] == [False, False, True]
    guided = plan.guided(model)
    assert guided.masks.keys() == plan.masks.keys()
    assert all(mask.any() for mask in guided.masks.values())
    assert guided.after.nonzero_params == pytest.approx(plan.after.nonzero_params, rel=0.1)
    assert json.loads(json.dumps(shares)) == shares
    runs(guided, model)
    moved = plan.transfer(model, model)
    assert moved.masks == guided.masks
    if name == "densenet40":
        other = rl.build_model("preresnet20", width=0.5, variant="weight-level")
        with pytest.raises(PlanError, match=r"1x1 kernels on feature maps of side 8"):
            plan.transfer(model, other)


def test_a_mask_is_never_empty(narrow, digits):
    shares = {"3x3": [[[0.0] * 3, [0.0, 1e-9, 0.0], [0.0] * 3]] * 5}
    plan = rl.make_pruner("transferred", 0.99, stages=shares).fit(narrow, digits)
    assert {int(mask.sum()) for mask in plan.masks.values()} == {1}
    runs(plan, narrow)


def test_weights_from_vgg16_in_vgg19(digits):
    source = rl.build_model("vgg16", width=0.125, seed=1, variant="weight-level")
    other = rl.build_model("vgg19", width=0.125, seed=1, variant="weight-level", num_classes=100)
    plan = WeightLevel(0.8).fit(source, digits)
    moved = plan.transfer(source, other)
    assert len(moved.masks) == 16
    runs(moved, other, classes=100)
    assert stage_shares(moved, other)["3x3"][3] == [
        pytest.approx(row, abs=0.05) for row in stage_shares(plan, source)["3x3"][3]]


def test_plans_that_shares_cannot_say(narrow, digits):
    whole = rl.make_pruner("soft-filter", 0.5).rehearse(narrow, digits)
    with pytest.raises(PlanError, match="masks whole filters"):
        whole.guided(narrow)
    held = Slimming(0.4, masked=True).fit(narrow, digits)
    for verb in ("guided", "uniform"):
        with pytest.raises(PlanError, match="masked=False"):
            getattr(held, verb)(narrow)
    model = rl.build_model("resnet20", width=0.25)
    branches = make_plan(model, "sss", 0.5, SHAPE, {}, {}, {}, branches=("layer1.0",))
    with pytest.raises(PlanError, match="whole branches"):
        branches.guided(model)


def test_shares_of_seeds_are_averaged(digits):
    plans = []
    for seed in range(3):
        model = scramble_statistics(rl.build_model("preresnet20", width=0.5, seed=seed), seed)
        plans.append((Slimming(0.4, minimum=1).fit(model, digits), model))
    every = [stage_shares(plan, model) for plan, model in plans]
    mean = mean_shares(every)
    assert mean.keys() == {"channels", "read"}
    for part, listed in mean.items():
        for place, share in enumerate(listed):
            assert share == pytest.approx(sum(s[part][place] for s in every) / 3, abs=1e-6)
    assert mean_shares(every[:1]) == every[0]
    with pytest.raises(PlanError, match="not of the same"):
        mean_shares([every[0], {"channels": [0.5] * 3}])
    with pytest.raises(PlanError, match="not of the same stages"):
        mean_shares([{"channels": [0.5] * 3}, {"channels": [0.5] * 4}])
    with pytest.raises(PlanError, match="no shares"):
        mean_shares([])


probabilities = st.floats(0, 1)
matrices = st.lists(st.lists(probabilities, min_size=3, max_size=3), min_size=3, max_size=3)


@settings(max_examples=40)
@given(st.one_of(st.lists(probabilities, min_size=1, max_size=5),
                 st.lists(st.one_of(matrices), min_size=1, max_size=5)))
def test_shares_are_json_and_stay_what_they_are(listed):
    shares = check_shares(listed)
    assert list(shares.values()) == [listed]
    assert check_shares(json.loads(json.dumps(shares))) == shares
    assert mean_shares([shares, shares]) == {
        part: pytest.approx(values, abs=1e-6) if part == "channels" else values
        for part, values in mean_shares([shares]).items()}


@pytest.mark.parametrize(("stages", "says"), [
    ([], "must be a list"), ("0.5", "must be a list"), (None, "must be a list"),
    ([0.5, 1.2], r"1\.2"), ([0.5, True], "True"), ([0.5, None], "None"),
    ([float("nan")], "nan"), ([[0.5, 0.5, 0.5]] * 3, "3x3 lists"), ({"widths": [1.0]}, "widths"),
    ({"channels": [0.5], "3x3": [[[1.0] * 3] * 3]}, "of channels and read, or"),
    ({"3x3": [[[1.0] * 3] * 3], "1x1": [0.5, 0.5]}, "as many"), ({"channels": []}, "one or more"),
])
def test_shares_that_are_none(stages, says):
    with pytest.raises(ConfigError, match=says):
        rl.make_pruner("transferred", 0.5, stages=stages)
