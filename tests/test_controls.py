"""Controls: each keeps what it should of a plan, and changes what it is there to change."""

from __future__ import annotations

import pytest
import torch
from small_networks import scramble_statistics

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners import (
    CONTROLS,
    Guided,
    L1Norm,
    Lottery,
    RandomChoice,
    RandomWidths,
    Shuffled,
    Slimming,
    Transferred,
    Uniform,
    WeightLevel,
    stage_shares,
)

BASES = {"l1": ("vgg11", 0.5), "slimming": ("preresnet20", 0.3), "weight-level": ("vgg11", 0.8)}


@pytest.fixture(scope="module")
def models():
    return {name: scramble_statistics(rl.build_model(name, width=0.5, seed=8))
            for name in ("vgg11", "preresnet20")}


@pytest.fixture(scope="module")
def bases(models, digits):
    made = {"l1": L1Norm, "slimming": Slimming, "weight-level": WeightLevel}
    return {of: made[of](target).fit(models[name], digits)
            for of, (name, target) in BASES.items()}


def control(kind, of, models, digits, **options):
    name, target = BASES[of]
    return kind(target, of=of, **options).fit(models[name], digits)


@pytest.mark.parametrize("of", BASES)
@pytest.mark.parametrize("kind", [RandomChoice, Shuffled])
def test_numbers_in_each_layer_stay_and_the_choice_does_not(kind, of, models, bases, digits):
    base, plan = bases[of], control(kind, of, models, digits)
    assert plan.method == kind.name
    assert plan.kept_widths == base.kept_widths
    assert {n: len(r) for n, r in plan.read.items()} == {n: len(r) for n, r in base.read.items()}
    assert {n: int(m.sum()) for n, m in plan.masks.items()} == {
        n: int(m.sum()) for n, m in base.masks.items()}
    assert plan.after.macs == base.after.macs
    for part in ("keep", "read"):
        mine, theirs = getattr(plan, part), getattr(base, part)
        changed = [name for name in theirs if mine[name] != theirs[name]]
        cut = [name for name, kept in theirs.items() if len(kept) > 1]
        assert len(changed) > 0.7 * len(cut) or not cut, part
    for name, mask in base.masks.items():
        assert not torch.equal(plan.masks[name], mask), name


@pytest.mark.parametrize("of", BASES)
@pytest.mark.parametrize("kind", [RandomChoice, Shuffled])
def test_the_seed_alone_decides(kind, of, models, digits):
    one, again, other = (control(kind, of, models, digits, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_random_choice_does_not_look_at_the_weights(digits):
    """Over many seeds the filters of smallest norm are kept as often as the others."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, 4), torch.nn.AdaptiveAvgPool2d(1),
                                torch.nn.Flatten(), torch.nn.Linear(12, 10))
    with torch.no_grad():
        model[0].weight[:6] *= 0.01
    assert L1Norm(0.5).fit(model, digits).keep["0"] == tuple(range(6, 12))
    kept = [RandomChoice(0.5, seed=seed).fit(model, digits).keep["0"] for seed in range(60)]
    hits = [sum(index in chosen for chosen in kept) for index in range(12)]
    assert sum(hits) == 60 * 6
    assert min(hits) > 14  # 30 expected, standard deviation 4
    assert max(hits) < 46


def test_shuffling_moves_whole_kernels(models, bases, digits):
    base, plan = bases["weight-level"], control(Shuffled, "weight-level", models, digits)
    scattered = control(RandomChoice, "weight-level", models, digits)
    name = "features.4.weight"

    def patterns(masks):
        return sorted(tuple(kernel.flatten().tolist()) for kernel in masks[name].flatten(0, 1))

    assert patterns(plan.masks) == patterns(base.masks)
    assert patterns(scattered.masks) != patterns(base.masks)


@pytest.mark.parametrize(("of", "target"), [
    ("l1", {"features.0": 0.75, "features.4": 0.5, "features.8": 0.25}), ("l1", "macs:0.4"),
    ("slimming", 0.3)])
def test_uniform_has_one_ratio_at_the_same_cost(of, target, models, digits):
    model = models[BASES[of][0]]
    base = rl.make_pruner(of, target).fit(model, digits)
    plan = Uniform(target, of=of, at="macs").fit(model, digits)
    assert plan.after.macs == pytest.approx(base.after.macs, rel=0.02)
    ratios = [(1 - len(kept) / plan.widths[name], 1 / plan.widths[name])
              for name, kept in plan.keep.items()]
    low = max(ratio for ratio, _ in ratios)
    assert all(ratio <= low < ratio + step + 1e-9 for ratio, step in ratios), ratios
    if target != "macs:0.4":
        assert plan.keep != base.keep or plan.read != base.read


def test_uniform_masks_have_one_density(models, bases, digits):
    base, plan = bases["weight-level"], control(Uniform, "weight-level", models, digits,
                                                    choose="largest")
    total = sum(int(m.sum()) for m in base.masks.values())
    assert sum(int(m.sum()) for m in plan.masks.values()) == pytest.approx(total, abs=len(
        plan.masks))
    overall = total / sum(m.numel() for m in base.masks.values())
    for name, density in plan.densities.items():
        assert density == pytest.approx(overall, abs=1 / plan.masks[name].numel())
        weight = models["vgg11"].get_parameter(name).detach().abs()
        kept = plan.masks[name]
        assert float(weight[kept].min()) >= float(weight[~kept].max())
    spread = [max(p.densities.values()) - min(p.densities.values()) for p in (base, plan)]
    assert spread[0] > 10 * spread[1]


@pytest.mark.parametrize("of", ["l1", "slimming"])
def test_random_widths_cost_the_same_and_are_others(of, models, bases, digits):
    base, plan = bases[of], control(RandomWidths, of, models, digits, seed=2)
    assert plan.after.macs == pytest.approx(base.after.macs, rel=0.02)
    widths = plan.kept_widths
    assert widths != base.kept_widths
    shares = [widths[name] / width for name, width in plan.widths.items()]
    assert max(shares) - min(shares) > 0.2
    assert plan == control(RandomWidths, of, models, digits, seed=2)
    assert widths != control(RandomWidths, of, models, digits, seed=12).kept_widths


def test_masks_have_no_widths_to_draw(models, digits):
    with pytest.raises(PlanError, match="has no widths"):
        control(RandomWidths, "weight-level", models, digits)


@pytest.mark.parametrize("kind", CONTROLS.values())
@pytest.mark.parametrize("of", CONTROLS)
def test_a_control_of_a_control_is_refused(kind, of):
    with pytest.raises(ConfigError, match="another control"):
        kind(0.5, of=of)


def test_controls_train_the_large_network_as_their_method_does(digits):
    uniform = Uniform(0.5, of="slimming", options={"strength": 0.02})
    base = Slimming(0.5, strength=0.02)
    assert uniform.training_spec() == base.training_spec() != {}
    assert [type(c) for c in uniform.during(digits)] == [type(c) for c in base.during(digits)]
    with pytest.raises(ConfigError, match="strenght"):
        Uniform(0.5, of="slimming", options={"strenght": 0.02})
    with pytest.raises(PlanError):
        RandomChoice("A", of="weight-level")


def test_a_control_of_a_ticket_keeps_where_it_rewinds_to(models, digits):
    plan = Shuffled(0.5, of="lottery", options={"rewind": 3}).fit(models["vgg11"], digits)
    assert plan.rewind == 3
    assert plan.densities == Lottery(0.5).fit(models["vgg11"], digits).densities


@pytest.mark.parametrize("of", BASES)
def test_guided_is_the_plan_of_its_method_guided(of, models, bases, digits):
    name, target = BASES[of]
    plan = control(Guided, of, models, digits, seed=4)
    assert plan == bases[of].guided(models[name], seed=4)
    assert (plan.method, plan.target) == ("guided", target)
    cost = "nonzero_params" if plan.masks else "params"
    assert getattr(plan.after, cost) == pytest.approx(getattr(bases[of].after, cost), rel=0.1)
    if of != "l1":  # of which every stage keeps half already
        assert plan.kept_widths != bases[of].kept_widths or plan.masks != bases[of].masks
        assert plan != control(Guided, of, models, digits, seed=5)


@pytest.mark.parametrize(("of", "options"), [
    ("l1", {}), ("slimming", {}), ("weight-level", {}), ("weight-level", {"choose": "largest"})])
def test_uniform_is_the_plan_of_its_method_made_uniform(of, options, models, bases, digits):
    plan = control(Uniform, of, models, digits, seed=2, **options)
    assert plan == bases[of].uniform(models[BASES[of][0]], seed=2, **options)
    cost = "nonzero_params" if plan.masks else "params"
    assert getattr(plan.after, cost) == pytest.approx(getattr(bases[of].after, cost), rel=0.02)


def test_words_that_uniform_does_not_know():
    with pytest.raises(ConfigError, match=r"at 'flops' must be macs or params"):
        Uniform(0.5, at="flops")
    with pytest.raises(ConfigError, match=r"choose 'all' must be largest or random"):
        Uniform(0.5, choose="all")


@pytest.mark.parametrize("of", ["slimming", "weight-level"])
def test_transferred_to_the_same_network_is_guided(of, models, bases, digits):
    """The source's shares and the seed say all; the base method is not run again."""
    name, target = BASES[of]
    shares = stage_shares(bases[of], models[name])
    plan = Transferred(target, stages=shares, seed=3).fit(models[name], digits)
    guided = bases[of].guided(models[name], seed=3)
    assert (plan.keep, plan.read, plan.masks) == (guided.keep, guided.read, guided.masks)
    assert plan.method == "transferred"
    assert Transferred(target, stages=shares).training_spec() == {}


def test_designs_are_studies_with_an_identity_of_their_own(digits):
    data = digits.subset(40, 20)

    def plan_stage(**settings):
        study = rl.Study(model="vgg11", target=0.5, seeds=1, regimes=["scratch-e"], **settings)
        again = rl.Study.from_dict(study.to_dict())
        assert again == study
        assert again.name == study.name
        return study.trials(data)[1].stages[1]

    slim = {"of": "slimming", "options": {"strength": 0.02}}
    guided = plan_stage(method="guided", method_options=slim)
    assert guided.spec["options"]["options"]["strength"] == 0.02
    assert guided.needs[0].spec["during"]["options"] == {"strength": 0.02}
    uniform = [plan_stage(method="uniform", method_options={**slim, **more})
               for more in ({}, {"at": "macs"}, {"at": "params"})]
    assert uniform[0].address == uniform[2].address != uniform[1].address
    stages = [0.8, 1.0, 0.9, 0.3, 0.1]
    moved = [plan_stage(method="transferred", method_options={"stages": given})
             for given in (stages, {"channels": stages}, tuple(stages), stages[::-1])]
    assert moved[0].address == moved[1].address == moved[2].address != moved[3].address
    assert moved[0].spec["options"] == {"stages": {"channels": stages}}
    assert "during" not in moved[0].needs[0].spec


def test_a_design_is_trained_from_scratch_only_if_it_inherits_nothing():
    assert rl.Study(method="transferred").regime_names == ("scratch-e", "scratch-b")
    assert rl.Study(method="guided", method_options={"of": "lottery"}).regime_names == (
        "ticket", "scratch-e")
