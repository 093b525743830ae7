"""The catalogue of figures: what each shows, what it is drawn from, and where the paper has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rethinklab.errors import unknown_name
from rethinklab.evidence.comparisons import lottery_tables, ratio_tables
from rethinklab.evidence.efficiency import efficiency_tables
from rethinklab.evidence.groups import first, grouped, joint_label, of_studies
from rethinklab.experiments.results import Results
from rethinklab.figures.accuracy_budget import accuracy_budget
from rethinklab.figures.accuracy_ratio import accuracy_ratio
from rethinklab.figures.barrier import barrier
from rethinklab.figures.differences import differences
from rethinklab.figures.efficiency import efficiency
from rethinklab.figures.histograms import weight_layers, weights
from rethinklab.figures.kernels import kernels
from rethinklab.figures.latency import latency
from rethinklab.figures.layer_widths import layer_widths
from rethinklab.figures.learning_curves import learning_curves
from rethinklab.figures.lottery import lottery
from rethinklab.figures.movement import movement
from rethinklab.figures.overlap import overlap
from rethinklab.figures.pipeline import pipeline
from rethinklab.figures.regimes import regimes
from rethinklab.figures.scales import scales
from rethinklab.figures.sensitivity import sensitivity
from rethinklab.figures.sources import Found, Source
from rethinklab.figures.stage_ratios import stage_ratios
from rethinklab.figures.style import PaperFigure
from rethinklab.figures.targets import targets
from rethinklab.trainers.regimes import UNPRUNED

Collect = Callable[[Source], Found]
PREDEFINED = ("l1", "thinet", "regression", "soft-filter")
AUTOMATIC = ("slimming", "sss")
TRAINED_SOMEHOW = ("method", "options", "lr", "precision", "train_images", "test_images", "params",
                   "macs", "epochs")  # of the large network, and by which method it is pruned


@dataclass(frozen=True)
class FigureKind:
    """draw: from what `collect` finds, and a width in inches, to a figure. collect: the inputs
    that a source holds, by name. meaning: what it shows. paper: where the paper has it, if it
    does. needs: what must have been run, in words."""

    draw: Callable[..., PaperFigure]
    collect: Collect
    meaning: str
    needs: str
    paper: str = ""


def no_numbers(source: Source) -> Found:
    """For a schematic."""
    return Found({"": None})


def each_study(source: Source) -> Found:
    """The results of each study that trains what is left in more than one way."""
    found = Found()
    for name, results in source.studies().items():
        if len(set(results.regimes) - {UNPRUNED}) > 1:
            found.inputs[name] = results
        else:
            found.missing.append(f"{name}: it has one regime beside the unpruned network, and "
                                 "nothing to compare that with.")
    return found


def each_table(kind: str) -> Collect:
    """The table of evidence of each study."""
    return lambda source: source.tables(kind)


def across(group: Callable[[Sequence[Results]], Mapping[str, pd.DataFrame]]) -> Collect:
    """A table for each group of studies that belong together."""
    return lambda source: Found(dict(group(list(source.studies().values()))))


def both_kinds_of_target(source: Source) -> Found:
    """For each network: what stays of its layers by predefined and by automatic targets. How it
    was trained, and by which method, may differ: the architectures are what is compared."""
    made = Found()
    for name, group in _groups(source, TRAINED_SOMEHOW).items():
        marked = {study: table.assign(kind="predefined" if method in PREDEFINED else "automatic")
                  for study, (method, table) in group.items()
                  if method in (*PREDEFINED, *AUTOMATIC) and (table["unit"] == "channels").all()}
        if len({table["kind"].iloc[0] for table in marked.values()}) == 2:
            made.inputs[name] = _together(source, marked)
    return made


def stages_of_a_network(source: Source) -> Found:
    """For each method, network and data: what stays of the stages, at every target."""
    return Found({name: _together(source, {study: table for study, (_, table) in group.items()})
                  for name, group in _groups(source, ()).items()})


def _groups(source: Source, free: Sequence[str]) -> dict[str, dict[str, tuple[str, pd.DataFrame]]]:
    """{group: {study: (method, table of widths)}} of the studies that agree in all but their
    target and `free`."""
    tables = source.tables("widths").inputs
    studies = {name: results for name, results in source.studies().items() if name in tables}
    return {called: {name: (str(first(studies[name], "method")), tables[name]) for name in names}
            for called, names in grouped(studies, free).items()}


def _together(source: Source, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables below one another, each study called by method and target. Of studies that are
    called alike, which differ in how what is left was trained, the one with most seeds."""
    studies = source.studies()
    chosen: dict[str, str] = {}
    for name in tables:
        label = f"{first(studies[name], 'method')} {first(studies[name], 'target')}"
        before = chosen.get(label)
        if before is None or tables[before]["seed"].nunique() < tables[name]["seed"].nunique():
            chosen[label] = name
    whole = pd.concat([tables[name].assign(study=label) for label, name in chosen.items()],
                      ignore_index=True)
    used = [studies[name] for name in chosen.values()]
    return of_studies(whole, joint_label(used), used)


ANY_STUDY = "any study"
FIGURES: dict[str, FigureKind] = {
    "pipeline": FigureKind(pipeline, no_numbers, "the pipeline that is in question",
                           "nothing", "Figure 1"),
    "targets": FigureKind(targets, both_kinds_of_target,
                          "predefined against automatic target widths",
                          "a study by l1 and one by slimming, of one network", "Figure 2"),
    "efficiency": FigureKind(
        efficiency, across(efficiency_tables),
        "accuracy against parameters and MACs of found, uniform, guided and transferred designs",
        "a study by slimming or weight-level with scratch-e, and the same with --method uniform, "
        "guided or transferred", "Figures 3, 5 and 6"),
    "kernels": FigureKind(kernels, each_table("kernels"),
                          "how often each position of 3x3 kernels is kept, by stage",
                          "a study by weight-level", "Figure 4"),
    "lottery": FigureKind(lottery, across(lottery_tables),
                          "winning tickets against random initialisations",
                          "studies by lottery at several targets", "Figure 7"),
    "weights": FigureKind(weights, each_table("weights"),
                          "histograms of the weights of unpruned, fine-tuned and scratch-trained "
                          "networks", ANY_STUDY, "Figure 8"),
    "layer_widths": FigureKind(layer_widths, each_table("widths"),
                               "width of each layer before and after, over seeds",
                               "any study that prunes", "Table 7"),
    "stage_ratios": FigureKind(stage_ratios, stages_of_a_network, "what each stage keeps",
                               "any study that prunes", "Appendix"),
    "accuracy_ratio": FigureKind(accuracy_ratio, across(ratio_tables),
                                 "accuracy against the share removed, by regime",
                                 "studies that differ in their target", "Appendix"),
    "accuracy_budget": FigureKind(accuracy_budget, each_study,
                                  "accuracy against all computation spent, by regime", ANY_STUDY,
                                  "Appendix"),
    "regimes": FigureKind(regimes, each_study, "test accuracy by regime, every seed a dot",
                          ANY_STUDY),
    "differences": FigureKind(differences, each_study,
                              "paired differences with intervals and the band of equivalence",
                              "a study with inherited and with new weights"),
    "learning_curves": FigureKind(learning_curves, each_table("histories"),
                                  "accuracy and loss by epoch", ANY_STUDY),
    "weight_layers": FigureKind(weight_layers, each_table("weights"),
                                "histograms of the weights layer by layer", ANY_STUDY),
    "scales": FigureKind(scales, each_table("scales"),
                         "scales of batch normalisation before and after sparsity training",
                         "a study by slimming"),
    "movement": FigureKind(movement, each_table("movement"),
                           "how far training moves weights and how many keep their sign",
                           ANY_STUDY),
    "overlap": FigureKind(overlap, each_table("overlap"),
                          "what two seeds keep in common, against chance",
                          "a study that prunes, over two seeds or more"),
    "sensitivity": FigureKind(sensitivity, each_table("sensitivity"),
                              "accuracy with one layer at a time pruned", ANY_STUDY),
    "barrier": FigureKind(barrier, each_table("barrier"),
                          "error along the line between two trained networks",
                          "a study with two regimes that train"),
    "latency": FigureKind(latency, each_table("latency"), "MACs against measured latency",
                          ANY_STUDY),
}


def find_figure(name: str) -> FigureKind:
    """The kind of figure called `name`. Raises ConfigError with the nearest match."""
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]


def draw(kind: FigureKind, given: Any, width: float) -> PaperFigure:
    """The figure from one of its inputs."""
    return kind.draw(given, width=width)
