"""The rows of the paper against its tables: networks, targets, budgets, printed numbers.

Epochs, milestones, sizes and widths are those of the released code of Liu et al. (ICLR 2019), of
its README and of the definitions; ImageNet networks are built without memory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from test_published_sizes import imagenet_size, size

import rethinklab as rl
from rethinklab.errors import ConfigError
from rethinklab.experiments.paper import (
    PRESETS,
    expand,
    find,
    group,
    groups,
    preset,
)
from rethinklab.experiments.scales import SCALES
from rethinklab.experiments.study import Study
from rethinklab.pruners.targets import PUBLISHED
from rethinklab.trainers.regimes import find_regime, settle_regime

CIFAR_PRESETS, IMAGENET_PRESETS = group("cifar"), group("imagenet")
ALL_PRESETS = "RETHINKLAB_ALL_PRESETS"
SAMPLE = ["l1-resnet56-cifar10-b", "slimming-densenet40-cifar100-80",
          "soft-filter-resnet20-cifar10-10-pretrained", "lottery-vgg16-cifar10-iterative-49-lr0.01",
          "weight-level-vgg19-cifar100-95", "thinet-vgg16-imagenet-tiny",
          "sss-resnet50-imagenet-26"]


def study_at(name: str, scale: str) -> Study:
    needs = scale in ("paper", "short") and name in IMAGENET_PRESETS
    return Study(**preset(name, scale, data="imagenet:/images" if needs else None))


def scratch_b(name: str, ratio: float):
    (regime,) = [r for r in find(name).regimes if r.startswith("scratch-b")]
    return find_regime(regime).budget(study_at(name, "paper").large_recipe, ratio)


# Parameters of the large and the pruned network, epochs of Scratch-B, falls of its learning rate.
@pytest.mark.parametrize(("name", "full", "pruned", "epochs", "falls"), [
    ("l1-vgg16-cifar10", 14_987_722, 5_397_034, 243, (121, 182)),
    ("l1-resnet56-cifar10-a", 853_018, 773_336, 178, (89, 133)),
    ("l1-resnet56-cifar10-b", 853_018, 735_712, 220, (110, 165)),
    ("l1-resnet110-cifar10-a", 1_727_962, 1_688_522, 190, (95, 142)),
    ("l1-resnet110-cifar10-b", 1_727_962, 1_168_424, 260, (130, 195))])
def test_cifar_rows_pruned_by_l1_norm(name, full, pruned, epochs, falls, digits):
    study = study_at(name, "paper")
    model = rl.build_model(study.network, **study.model_options)
    plan = study.pruner.fit(model, digits)  # 3x32x32 and 10 classes, as CIFAR-10
    assert (plan.before.params, plan.after.params) == (full, pruned)
    budget = scratch_b(name, plan.flops_ratio)
    assert (budget.epochs, budget.drops) == (epochs, falls)
    assert plan.flops_ratio == pytest.approx(find(name).ratio, abs=6e-5)


@pytest.mark.parametrize(("name", "pruned", "full_params", "params", "epochs", "falls"), [
    ("l1-resnet34-imagenet-a", "resnet34_a", 21_797_672, 20_151_764, 106, (35, 70, 105)),
    ("l1-resnet34-imagenet-b", "resnet34_b", 21_797_672, 19_469_372, 118, (39, 78, 117)),
    ("thinet-vgg16-imagenet-conv", "thinet_conv", 138_357_544, 131_452_552, 180, (60, 120)),
    ("thinet-vgg16-imagenet-gap", "thinet_gap", 138_357_544, 8_322_696, 180, (60, 120)),
    ("thinet-vgg16-imagenet-tiny", "thinet_tiny", 138_357_544, 1_325_368, 180, (60, 120)),
    ("thinet-resnet50-imagenet-30", "thinet_30", 25_557_032, 8_669_158, 180, (60, 120)),
    ("thinet-resnet50-imagenet-50", "thinet_50", 25_557_032, 12_385_704, 180, (60, 120)),
    ("thinet-resnet50-imagenet-70", "thinet_70", 25_557_032, 16_949_086, 141, (47, 94)),
    ("regression-vgg16-imagenet-5x", "vgg_5x", 138_357_544, 130_879_294, 180, (60, 120)),
    ("regression-resnet50-imagenet-2x", "resnet_2x", 25_557_032, 19_710_544 - 13_120, 134,
     (44, 88, 132)),
    ("sss-resnet50-imagenet-41", "sss_resnet41", None, None, 117, (35, 70, 105)),
    ("sss-resnet50-imagenet-32", "sss_resnet32", None, None, 145, (43, 86, 129)),
    ("sss-resnet50-imagenet-26", "sss_resnet26", None, None, 179, (53, 106, 159))])
def test_imagenet_rows_of_published_networks(name, pruned, full_params, params, epochs, falls):
    row = find(name)
    assert row.pruned_model == pruned or row.target in PUBLISHED[row.method, row.model]
    large, small = imagenet_size(row.model), imagenet_size(pruned)
    if params:
        assert (large.params, small.params) == (full_params, params)
    ratio = large.flops / small.flops
    assert ratio == pytest.approx(row.ratio, abs=6e-5)
    budget = scratch_b(name, ratio)
    assert (budget.epochs, budget.drops) == (epochs, falls)
    assert scratch_b(name, row.ratio) == budget


@pytest.mark.parametrize(("name", "options", "params"), [
    ("slimming-vgg19-cifar10-70", {}, 20_035_018),
    ("slimming-vgg19-cifar100-50", {"num_classes": 100}, 20_081_188),
    ("slimming-preresnet164-cifar10-40", {}, 1_703_258),
    ("slimming-densenet40-cifar100-60", {"num_classes": 100}, 1_100_428),
    ("slimming-vgg11-imagenet-50", {"num_classes": 1000}, 132_885_224),
    ("weight-level-vgg19-cifar10-30", {}, 20_040_522),
    ("weight-level-preresnet110-cifar100-50", {"num_classes": 100}, 1_169_972),
    ("weight-level-densenetbc100-cifar10-95", {}, 769_162),
    ("weight-level-vgg16-imagenet-30", {"num_classes": 1000}, 138_365_992),
    ("weight-level-resnet50-imagenet-60", {"num_classes": 1000}, 25_557_032),
    ("soft-filter-resnet20-cifar10-10", {}, 269_722),
    ("soft-filter-resnet32-cifar10-10", {}, 464_154),
    ("lottery-vgg16-cifar10-iterative-79-lr0.1", {}, 14_728_266),
    ("lottery-vgg16-cifar10-a-lr0.1", {}, 14_987_722)])
def test_large_networks_of_the_other_rows(name, options, params):
    row = find(name)
    assert size(row.model, **row.model_options, **options).params == params


@pytest.mark.parametrize(("percent", "zeros", "epochs", "falls"), [
    # filters that widths 16, 32 and 64 lose; falls at int(60 r), int(120 r), int(160 r)
    (10, (1, 3, 6), 436, (65, 130, 174)), (20, (3, 6, 12), 491, (73, 147, 196)),
    (30, (4, 9, 19), 551, (82, 165, 220)), (40, (6, 12, 25), 643, (96, 193, 257))])
def test_soft_filter_pruning_of_resnet_56(percent, zeros, epochs, falls, digits):
    study = study_at(f"soft-filter-resnet56-cifar10-{percent}", "paper")
    model = rl.build_model(study.network, **study.model_options)
    plan = study.pruner.fit(model, digits)
    lost = {}
    for mask in plan.masks.values():
        dead = int((~mask.flatten(1).any(1)).sum())
        assert lost.setdefault(len(mask), dead) == dead
    assert tuple(lost[width] for width in (16, 32, 64)) == zeros
    budget = scratch_b(study.preset, plan.flops_ratio)
    assert (budget.epochs, budget.drops) == (epochs, falls)


@pytest.mark.parametrize("depth", [20, 32, 110])
def test_ratios_of_soft_filter_pruning_are_those_of_the_masks(depth, digits):
    for percent in (10, 20, 30):
        study = study_at(f"soft-filter-resnet{depth}-cifar10-{percent}", "paper")
        plan = study.pruner.fit(rl.build_model(study.network, **study.model_options), digits)
        assert plan.flops_ratio == pytest.approx(find(study.preset).ratio, abs=6e-5)
        assert int(400 * plan.flops_ratio) == int(400 * find(study.preset).ratio)


def test_soft_filter_rows_have_their_own_constants_wherever_cifar_is_read():
    for name in PRESETS:
        soft = name.startswith("soft-filter")
        assert study_at(name, "paper").normalise == ("own" if soft else None)
        assert study_at(name, "quick").normalise is None, "digits have those of digits"
    row = "soft-filter-resnet20-cifar10-10"
    assert preset(row, "quick", data="cifar100")["normalise"] == "own"
    assert "normalise" not in preset(row, "paper", data="folder:/images")


def test_learning_rates_of_soft_filter_pruning():
    recipe = find("soft-filter-resnet56-cifar10-30").recipe
    rates = [recipe.lr_at(epoch) for epoch in range(200)]
    expected = [0.01] + [0.1] * 59 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40
    assert rates == pytest.approx(expected)


def test_recipes_of_imagenet_and_of_longer_and_lower_schedules():
    lengths = {name: find(name).recipe.finetune_epochs for name in IMAGENET_PRESETS}
    assert lengths["l1-resnet34-imagenet-a"] == 20
    assert lengths["weight-level-resnet50-imagenet-30"] == 10
    assert lengths["slimming-vgg11-imagenet-50"] == 5
    rates = {name: find(name).recipe.lr for name in IMAGENET_PRESETS}
    plain = {name for name, lr in rates.items() if lr == 0.01}  # VGG without normalisation
    assert plain == {f"thinet-vgg16-imagenet-{t}" for t in ("conv", "gap", "tiny")} | {
        "regression-vgg16-imagenet-5x"}
    for name, epochs in (("l1-resnet56-cifar10-a", 300), ("l1-resnet34-imagenet-b", 180)):
        extended = find(f"{name}-extended")
        assert extended.recipe.epochs == epochs
        assert find_regime("finetune").budget(extended.recipe, 1.1).epochs == (
            find_regime("finetune").budget(find(name).recipe, 1.1).epochs)
    longer = study_at("l1-vgg16-cifar10-longer", "paper")
    assert [find_regime(r).budget(longer.large_recipe, 1.5).epochs
            for r in longer.regime_names if r.startswith("finetune")] == [40, 80, 160]
    assert {find(n).recipe.lr for n in group("table8")} == {0.1, 0.01}


@pytest.mark.parametrize("rounds", [3, 7, 14])
def test_rounds_and_one_shot_leave_the_same_share(rounds):
    left = 0.8**rounds
    for lr in ("0.1", "0.01"):
        stem = f"lottery-vgg16-cifar10-{{}}-{100 * (1 - left):.0f}-lr{lr}"
        iterative, oneshot = find(stem.format("iterative")), find(stem.format("oneshot"))
        assert (iterative.target, iterative.options["rounds"]) == (0.2, rounds)
        assert 1 - oneshot.target == pytest.approx(left, abs=1e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_every_preset_is_a_study_at_every_scale(scale):
    names = set()
    for name, row in PRESETS.items():
        study = study_at(name, scale)
        assert (study.preset, study.scale, study.network) == (name, scale, row.model)
        regimes = [r for r in study.regime_names if scale != "short" or r != "lr-rewind"]
        assert regimes == list(map(settle_regime, row.regimes))
        names.add(study.name)
        if scale == "paper":
            assert (study.width, study.large_recipe) == (1.0, row.recipe)
        elif scale == "short":
            assert (study.width, study.dataset) == (1.0, study_at(name, "paper").dataset)
        else:
            assert study.dataset == "digits"
            kept = ("momentum", "weight_decay", "nesterov", "decay")
            if row.recipe.step is None:
                kept += ("milestones",)
            assert all(getattr(study.large_recipe, k) == getattr(row.recipe, k) for k in kept)
            assert study.large_recipe.lr_at(0) == study.large_recipe.lr  # no room for a warm-up
            counted = row.recipe.counted_epochs
            assert counted is None or study.large_recipe.counted_epochs == (
                2 * study.large_recipe.epochs)
    assert scale != "paper" or len(names) == len(PRESETS)  # no row is there twice


@pytest.mark.parametrize(("name", "epochs", "finetune", "drops", "counted"), [
    ("l1-vgg16-cifar10", 32, 8, (16, 24), None),
    ("l1-vgg16-cifar10-extended", 60, 8, (30, 45), None),
    ("soft-filter-resnet56-cifar10-30", 40, 10, (12, 24, 32), 80),
    ("l1-resnet34-imagenet-a", 18, 4, (6, 12), None),
    ("weight-level-vgg16-imagenet-30", 18, 2, (6, 12), None),
    ("sss-resnet50-imagenet-41", 20, 5, (6, 12, 18), None)])
def test_a_short_row_has_a_fifth_of_its_schedule(name, epochs, finetune, drops, counted):
    published, short = PRESETS[name].recipe, study_at(name, "short").large_recipe
    assert (short.epochs, short.drops, short.counted_epochs) == (epochs, drops, counted)
    assert find_regime("finetune").budget(short, 1.5).epochs == finetune
    assert replace(short, epochs=published.epochs, finetune_epochs=published.finetune_epochs,
                   counted_epochs=published.counted_epochs) == published


def test_a_short_study_has_rewinding_and_penalties_that_reach_as_far():
    """A penalty moves a scale by at most its strength times the sum of the learning rates."""
    def reach(study: Study) -> float:
        recipe = study.large_recipe
        return study.method_options["strength"] * sum(map(recipe.lr_at, range(recipe.epochs)))

    for name in ("slimming-vgg19-cifar10-70", "slimming-preresnet164-cifar10-40"):
        published, short = (study_at(name, scale) for scale in ("paper", "short"))
        assert reach(short) == pytest.approx(reach(published))
        assert short.regime_names == ("finetune", "lr-rewind", "scratch-e", "scratch-b")
        assert (short.margin, len(short.seed_numbers)) == (0.5, 6)
    for method in ("slimming", "sss"):
        published, short = (Study(model="vgg16", method=method, scale=scale,
                                  target=None if method == "sss" else 0.5)
                            for scale in ("paper", "short"))
        assert reach(short) == pytest.approx(reach(published))


@pytest.mark.parametrize(("name", "regimes"), [
    ("soft-filter-resnet56-cifar10-30", ("pruned", "lr-rewind", "scratch-e", "scratch-b")),
    ("thinet-resnet50-imagenet-30", ("finetune", "lr-rewind", "scratch-e", "scratch-b-capped")),
    ("lottery-vgg16-cifar10-a-lr0.1", ("ticket", "scratch-e")),
    ("sss-resnet50-imagenet-41", ("scratch-e", "scratch-b"))])  # a published layout
def test_only_what_inherits_is_rewound(name, regimes):
    assert study_at(name, "short").regime_names == regimes


def test_a_row_without_relief_has_the_defaults_of_its_scale():
    quick = Study(**preset("l1-vgg16-cifar10", "quick"))
    plain = Study(model="vgg16", target="A", seeds=2)
    assert replace(quick, preset="").name == plain.name
    low = Study(**preset("lottery-vgg16-cifar10-a-lr0.01", "quick"))
    assert low.large_recipe.lr == 0.005  # a tenth, as at the published scale
    assert Study(**preset("slimming-vgg19-cifar10-70", "quick")).method_options["strength"] == 0.01
    assert Study(**preset("slimming-vgg19-cifar10-70")).method_options["strength"] == 1e-4


def test_rows_of_much_work_take_fewer_images_at_quick_scale():
    def images(name: str) -> int | None:
        return Study(**preset(name, "quick")).images

    assert images("weight-level-vgg19-cifar10-30") is images("weight-level-resnet50-imagenet-30") \
        is images("lottery-vgg16-cifar10-oneshot-96-lr0.1") is None
    assert images("l1-resnet56-cifar10-a") == 10_000 // 56
    assert images("l1-resnet110-cifar10-a") == 100  # no fewer, however deep
    # 14 rounds are 16 trainings, four times those of a usual row
    assert images("lottery-vgg16-cifar10-iterative-96-lr0.1") == 10_000 // 64
    # Scratch-B of a network with a fifth of its weights is five times as long: 7 trainings, not 4
    assert images("weight-level-vgg19-cifar10-80") == int(10_000 / (19 * 7 / 4))
    assert images("weight-level-densenetbc100-cifar10-95") == 100
    assert Study(**preset("slimming-preresnet164-cifar10-40", "classroom")).images is None


def test_images_can_be_others_and_imagenet_must_be_named():
    assert preset("l1-vgg16-cifar10", "quick", data="folder:/birds")["dataset"] == "folder:/birds"
    assert preset("l1-vgg16-cifar10", data="cifar100")["dataset"] == "cifar100"
    assert preset("slimming-vgg19-cifar100-50")["dataset"] == "cifar100"
    with pytest.raises(ConfigError, match=r"--data imagenet:PATH"):
        preset("l1-resnet34-imagenet-a")


@pytest.mark.parametrize("name", PRESETS if os.environ.get(ALL_PRESETS) else SAMPLE)
def test_presets_rehearse_on_digits_at_quick_scale(name, digits):
    assert Study(**preset(name, "quick")).rehearse(digits) > 1


def test_names_say_what_a_row_is():
    for name, row in PRESETS.items():
        assert name.startswith(f"{row.method}-")
        assert f"-{row.dataset}" in name
        assert re.search(r"\d+", row.model)[0] in name
        if isinstance(row.target, float) and "iterative" not in name:
            assert f"-{100 * row.target:.0f}" in name


def test_groups_cover_every_row():
    by_data = Counter([*CIFAR_PRESETS, *IMAGENET_PRESETS])
    by_place = Counter(n for g, names in groups().items() if g not in ("cifar", "imagenet")
                       for n in names)
    assert by_data == by_place == Counter(list(PRESETS))
    assert {n for n, row in PRESETS.items() if row.dataset.startswith("cifar")} == set(
        CIFAR_PRESETS)
    sizes = {name: len(names) for name, names in groups().items()}
    # pruned networks in the tables; Table 8 has five at two learning rates
    assert [sizes[f"table{n}"] for n in (1, 2, 3, 4, 5, 6, 8)] == [7, 6, 2, 11, 3, 22, 10]
    assert expand("table3") == group("table3") == [
        "regression-vgg16-imagenet-5x", "regression-resnet50-imagenet-2x"]
    assert expand("l1-vgg16-cifar10") == ["l1-vgg16-cifar10"]


def test_wrong_names_get_the_nearest():
    with pytest.raises(ConfigError, match="'l1-vgg16-cifar10'"):
        preset("l1-vgg16-cifar")
    with pytest.raises(ConfigError, match="'table1'"):
        expand("tabel1")
    with pytest.raises(ConfigError, match="group of presets"):
        group("all")
    with pytest.raises(ConfigError, match="scale"):
        preset("l1-vgg16-cifar10", "huge")


def test_presets_and_groups_load_nothing_heavy():
    code = ("import sys; from rethinklab.experiments import paper; paper.groups(); "
            "paper.preset('l1-vgg16-cifar10', 'quick'); "
            "assert not {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_step_schedule_has_as_many_falls_at_every_scale():
    for name, falls in (("sss-resnet50-imagenet-41", 3), ("l1-resnet34-imagenet-a", 2)):
        for scale in ("quick", "classroom"):
            recipe = preset(name, scale, data="imagenet:somewhere")["recipe"]
            assert len(recipe.milestones) == falls
            assert recipe.step is None
