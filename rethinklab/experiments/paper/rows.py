"""The rows of the paper as data: what is pruned how, and trained by which recipe.

Sources: Liu et al. (ICLR 2019) and its released code. Where the two differ, or the code has a
quirk that its numbers come from, the row follows the code and its note says so. Left out are the
detection study, whose Faster R-CNN the kit does not have, the lottery's ResNet-50 for CIFAR and
soft filter pruning on ImageNet, of which neither layout nor recipe is known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rethinklab.trainers.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """A row of the paper. dataset: "cifar10", "cifar100" or "imagenet". table: where the paper
    has it. method, model, target, options (of the method), model_options, regimes, pruned_model:
    as `Study` takes them. recipe: of the large network, as published. ratio: of FLOPs, large over
    pruned, where the target settles it; None where it follows from training. length: of the
    schedule, in standard ones. meaning: the row in words. note: which variant it is, and what is
    not as in the paper."""

    name: str
    table: str
    method: str
    model: str
    dataset: str
    target: Any
    regimes: tuple[str, ...]
    recipe: Recipe
    meaning: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    pruned_model: str | None = None
    ratio: float | None = None
    length: float = 1.0
    note: str = ""


CIFAR = Recipe()
EXTENDED = {"cifar": 300, "imagenet": 180}
# So small a share of warm-up is one epoch in every regime.
SOFT = Recipe(epochs=200, batch_size=128, weight_decay=5e-4, nesterov=True, decay=0.2,
              milestones=(0.3, 0.6, 0.8), warmup=0.001, counted_epochs=400)
SELECTION = Recipe(epochs=100, batch_size=128, nesterov=True, milestones=(), step=0.3)
RETRAINED = ("finetune", "scratch-e", "scratch-b")
CAPPED = ("finetune", "scratch-e", "scratch-b-capped")
LONGER = ("finetune", "finetune:0.5", "finetune:1", "scratch-e", "scratch-b")
LONGER_CAPPED = ("finetune", "finetune:0.5", "finetune:1", "scratch-e", "scratch-b-capped")
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
DETACHED = {"shortcut": "pad-detached"}


def imagenet_recipe(finetune: int, lr: float = 0.1) -> Recipe:
    """The recipe of torchvision's networks, lr 0.01 where there is no batch normalisation."""
    return Recipe(epochs=90, lr=lr, batch_size=256, milestones=(), step=1 / 3,
                  finetune_epochs=finetune)


# Network, its label in names and in words, target, and ratio of FLOPs, of L1-norm pruning.
L1 = (("vgg16", "VGG-16", "A", 1.5190), ("resnet56", "ResNet-56", "A", 1.1157),
      ("resnet56", "ResNet-56", "B", 1.3791), ("resnet110", "ResNet-110", "A", 1.1883),
      ("resnet110", "ResNet-110", "B", 1.6273), ("resnet34", "ResNet-34", "A", 1.1816),
      ("resnet34", "ResNet-34", "B", 1.3164))


def l1_rows() -> Iterator[Preset]:
    """Table 1, and with it longer fine-tuning and the extended schedule of the appendix."""
    for model, title, target, ratio in L1:
        imagenet = model == "resnet34"
        dataset = "imagenet" if imagenet else "cifar10"
        tail = "" if model == "vgg16" else f"-{target.lower()}"
        row = Preset(
            f"l1-{model}-{dataset}{tail}", "Table 1", "l1", model, dataset, target,
            CAPPED if imagenet else RETRAINED, imagenet_recipe(20) if imagenet else CIFAR,
            f"L1-norm filter pruning of {title} to {title}-{target}, {DATASETS[dataset]}",
            model_options=DETACHED if model in ("resnet56", "resnet110") else {}, ratio=ratio,
            note={"vgg16": "the VGG with a hidden layer of 512 in its head",
                  "resnet34": "torchvision's ResNet-34"}.get(
                model, "shortcuts that let no gradient through, a quirk of the released code"))
        yield row
        yield replace(
            row, name=f"{row.name}-longer", table="Appendix",
            regimes=LONGER_CAPPED if imagenet else LONGER,
            meaning=f"{row.meaning}, fine-tuned for longer",
            note=f"{row.note}; " + (
                "how much longer than 20 epochs is not known here: 45 and 90" if imagenet else
                "40, 80 and 160 epochs of fine-tuning"))
        epochs = EXTENDED["imagenet" if imagenet else "cifar"]
        yield replace(
            row, name=f"{row.name}-extended", table="Appendix", length=epochs / row.recipe.epochs,
            recipe=replace(row.recipe, epochs=epochs, finetune_epochs=20 if imagenet else 40),
            meaning=f"{row.meaning}, with a schedule of {epochs} epochs",
            note=f"{row.note}; fine-tuning as long as with the standard schedule")


# Target, pruned network, and ratio of FLOPs, of the networks that ThiNet's authors published.
THINET = (("imagenet_vgg16", "conv", "VGG-Conv", None, 3.2266),
          ("imagenet_vgg16", "gap", "VGG-GAP", "thinet_gap", 3.3116),
          ("imagenet_vgg16", "tiny", "VGG-Tiny", "thinet_tiny", 15.3526),
          ("resnet50", "30", "ResNet50-30%", None, 3.4785),
          ("resnet50", "50", "ResNet50-50%", None, 2.2350),
          ("resnet50", "70", "ResNet50-70%", None, 1.5687))
REGRESSION = (("imagenet_vgg16", "5x", "VGG-16-5x", None, 4.3975),
              ("resnet50", "2x", "ResNet-50-2x", "resnet_2x", 1.4948))


def reconstruction_rows() -> Iterator[Preset]:
    """Tables 2 and 3: networks whose widths the authors of the methods published."""
    for table, method, title, targets in (
            ("Table 2", "thinet", "ThiNet", THINET),
            ("Table 3", "regression", "Regression-based pruning", REGRESSION)):
        for model, target, pruned, published, ratio in targets:
            vgg = model != "resnet50"
            network = "vgg16" if vgg else model
            yield Preset(
                f"{method}-{network}-imagenet-{target}", table, method, model, "imagenet", target,
                CAPPED[1:] if published else CAPPED, imagenet_recipe(20, 0.01 if vgg else 0.1),
                f"{title} of {'VGG-16' if vgg else 'ResNet-50'} to {pruned}, ImageNet",
                pruned_model=published, ratio=ratio,
                note=("the published layout, trained from scratch only" if published else
                      "pruned by the kit; the paper's fine-tuned number is of the authors' Caffe "
                      "model, relative to its own base"))


SLIMMING = (("cifar10", "vgg19", 70), ("cifar10", "preresnet164", 40),
            ("cifar10", "preresnet164", 60), ("cifar10", "densenet40", 40),
            ("cifar10", "densenet40", 60), ("cifar100", "vgg19", 50),
            ("cifar100", "preresnet164", 40), ("cifar100", "preresnet164", 60),
            ("cifar100", "densenet40", 40), ("cifar100", "densenet40", 60),
            ("imagenet", "vgg11", 50))
AGGRESSIVE = (("cifar10", "preresnet164", 80), ("cifar10", "preresnet164", 90),
              ("cifar10", "densenet40", 80), ("cifar100", "densenet40", 80))
NETWORKS = {"vgg11": "VGG-11", "vgg16": "VGG-16", "vgg19": "VGG-19", "resnet50": "ResNet-50",
            "preresnet110": "PreResNet-110", "preresnet164": "PreResNet-164",
            "densenet40": "DenseNet-40", "densenetbc100": "DenseNet-BC-100"}


def slimming_rows() -> Iterator[Preset]:
    """Table 4, and the aggressive ratios of the appendix."""
    for table, rows in (("Table 4", SLIMMING), ("Appendix", AGGRESSIVE)):
        for dataset, network, percent in rows:
            vgg, imagenet = network.startswith("vgg"), dataset == "imagenet"
            masked = imagenet or table == "Appendix"
            options: dict[str, Any] = {"strength": 1e-4 if network == "vgg19" else 1e-5}
            note = "initial scales of 0.5" + (" and one linear layer" if network == "vgg19" else "")
            if masked:
                options["masked"] = True
                note += "; channels held at zero rather than cut out, so that layers may lose all"
            if imagenet:
                note += (", in Scratch-B too, where the paper cuts them out; the normalised "
                         "hidden layers are slimmed as well")
            yield Preset(
                f"slimming-{network}-{dataset}-{percent}", table, "slimming",
                "vgg11_bn" if imagenet else network, dataset, percent / 100, RETRAINED,
                imagenet_recipe(5) if imagenet else CIFAR,
                f"Network slimming of {NETWORKS[network]} by {percent}% of its channels, "
                f"{DATASETS[dataset]}", options=options,
                model_options={"variant": "slimming"} if vgg else {}, note=note)


def selection_rows() -> Iterator[Preset]:
    """Table 5: the pre-activation ResNet-50 without the branches that selection removed."""
    for depth, ratio in ((41, 1.1782), (32, 1.4508), (26, 1.7949)):
        yield Preset(
            f"sss-resnet50-imagenet-{depth}", "Table 5", "sss", "preresnet50", "imagenet", "zero",
            RETRAINED[1:], SELECTION,
            f"Sparse structure selection of ResNet-50 to ResNet-{depth}, ImageNet",
            pruned_model=f"sss_resnet{depth}", ratio=ratio,
            note="the published layout, trained from scratch only; without the augmentation of "
                 "ResNeXt that the paper's code has here")


def weight_rows() -> Iterator[Preset]:
    """Table 6: single weights, by magnitude."""
    cifar = [(dataset, network, percent)
             for dataset, shares in (("cifar10", (30, 80, 95)), ("cifar100", (30, 50, 95)))
             for network in ("vgg19", "preresnet110", "densenetbc100") for percent in shares]
    models = {"densenetbc100": "densenet_bc100", "vgg16": "vgg16_bn"}
    notes = {"vgg19": "biases in the convolutions, drawn by fan-in",
             "preresnet110": "bottleneck blocks, initial scales of 1",
             "densenetbc100": "the bottleneck network of 0.77M parameters; the released command "
                              "builds one of basic layers instead (bottleneck=False)",
             "vgg16": "torchvision's VGG-16 with batch normalisation",
             "resnet50": "torchvision's ResNet-50"}
    for dataset, network, percent in [*cifar, *[("imagenet", network, percent) for network in
                                                ("vgg16", "resnet50") for percent in (30, 60)]]:
        imagenet = dataset == "imagenet"
        yield Preset(
            f"weight-level-{network}-{dataset}-{percent}", "Table 6", "weight-level",
            models.get(network, network), dataset, percent / 100, RETRAINED,
            imagenet_recipe(10) if imagenet else CIFAR,
            f"Magnitude pruning of {NETWORKS[network]} by {percent}% of its convolution weights, "
            f"{DATASETS[dataset]}",
            model_options={} if imagenet else {"variant": "weight-level"}, note=notes[network])


# Percent of filters, and ratio of FLOPs that counts the removed filters alone: the layers that
# would read them are not discounted, as in the released code.
SOFT_RATIOS = {20: {10: 1.0895, 20: 1.2294, 30: 1.3768}, 32: {10: 1.0899, 20: 1.2295, 30: 1.3778},
               56: {10: 1.0902, 20: 1.2296, 30: 1.3784, 40: 1.6091},
               110: {10: 1.0903, 20: 1.2296, 30: 1.3788}}


def soft_rows() -> Iterator[Preset]:
    """The appendix on soft filter pruning, with new and with trained networks to begin with."""
    for depth, ratios in SOFT_RATIOS.items():
        for percent, ratio in ratios.items():
            for pretrained in (False, True):
                yield Preset(
                    f"soft-filter-resnet{depth}-cifar10-{percent}"
                    + ("-pretrained" if pretrained else ""), "Appendix", "soft-filter",
                    f"resnet{depth}", "cifar10", percent / 100,
                    ("pruned", "scratch-e", "scratch-b"), SOFT,
                    f"Soft filter pruning of ResNet-{depth} by {percent}% of its filters, "
                    f"CIFAR-10" + (", from a trained network" if pretrained else ""),
                    options={"pretrained": True} if pretrained else {},
                    model_options={"shortcut": "stride"}, ratio=ratio,
                    note="shortcuts of stride 2; Scratch-B counts 400 epochs of the large network "
                         "and stretches milestones of 200, as the released code does")


ROUNDS = (3, 7, 14)  # 20% each: about half, four fifths and 95% of the weights are gone
LOTTERY_RATES = (0.1, 0.01)


def lottery_rows() -> Iterator[Preset]:
    """Winning tickets: single weights (Figure 7) and whole filters (Table 8)."""
    for lr in LOTTERY_RATES:
        recipe = replace(CIFAR, lr=lr)
        for rounds in ROUNDS:
            gone = 1 - 0.8**rounds
            for iterative in (True, False):
                yield Preset(
                    f"lottery-vgg16-cifar10-{'iterative' if iterative else 'oneshot'}-"
                    f"{gone:.0%}-lr{lr:g}".replace("%", ""), "Figure 7", "lottery", "vgg16",
                    "cifar10", 0.2 if iterative else round(gone, 4), ("ticket", "scratch-e"),
                    recipe,
                    f"Winning ticket of VGG-16 without {gone:.0%} of its convolution weights, "
                    + (f"{rounds} rounds of 20%" if iterative else "in one shot")
                    + f", lr {lr:g}, CIFAR-10",
                    options={"rounds": rounds} if iterative else {},
                    model_options={"variant": "weight-level"},
                    note="biases in the convolutions, drawn by fan-in; which ratios the figure "
                         "has is not known here")
        for model, title, target, _ in L1:
            if model != "resnet34":
                yield Preset(
                    f"lottery-{model}-cifar10-{target.lower()}-lr{lr:g}", "Table 8", "lottery",
                    model, "cifar10", target, ("ticket", "scratch-e"), recipe,
                    f"Winning ticket of {title} pruned to {title}-{target}, lr {lr:g}, CIFAR-10",
                    options={"structured": True},
                    model_options={} if model == "vgg16" else DETACHED,
                    note="cut narrower, where the released code masks filters at full width")


PRESETS: dict[str, Preset] = {row.name: row for rows in (
    l1_rows, reconstruction_rows, slimming_rows, selection_rows, weight_rows, soft_rows,
    lottery_rows) for row in rows()}
