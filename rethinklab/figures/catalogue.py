"""The catalogue of figures: what each shows, what it is drawn from, and where the paper has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rethinklab.errors import RethinkError, unknown_name
from rethinklab.figures.accuracy_budget import accuracy_budget
from rethinklab.figures.accuracy_ratio import accuracy_ratio
from rethinklab.figures.barrier import barrier
from rethinklab.figures.differences import differences
from rethinklab.figures.efficiency import efficiency
from rethinklab.figures.forest import forest
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
from rethinklab.figures.stage_ratios import stage_ratios
from rethinklab.figures.style import PaperFigure
from rethinklab.figures.targets import targets
from rethinklab.results import TABLES, Results
from rethinklab.results.comparisons import lottery_tables, ratio_tables
from rethinklab.results.efficiency import efficiency_tables
from rethinklab.results.groups import grouped, joint_label, of_studies
from rethinklab.results.stored import StoredStudy
from rethinklab.results.summary import forest_table
from rethinklab.trainers.regimes import UNPRUNED

Studies = Mapping[str, Results]
PREDEFINED = ("l1", "thinet", "regression", "soft-filter")
AUTOMATIC = ("slimming", "sss")
TRAINED_SOMEHOW = ("method", "options", "lr", "precision", "train_images", "test_images", "params",
                   "macs", "epochs")  # of the large network, and by which method it is pruned


@dataclass
class Available:
    """What there is to draw from. inputs: by name. missing: what there is not, in sentences with
    the remedy."""

    inputs: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


Collect = Callable[[Studies], Available]


@dataclass(frozen=True)
class FigureKind:
    """draw: from one of the inputs that `collect` finds, and a width in inches, to a figure.
    source: the kind of table that it is drawn from, study by study, or what makes its inputs of
    all studies. meaning: what it shows. needs: what must have been run, in words. paper: where the
    paper has it, if it does."""

    draw: Callable[..., PaperFigure]
    source: Collect | str
    meaning: str
    needs: str
    paper: str = ""

    def collect(self, studies: Studies, cheap: bool = False) -> Available:
        """What the studies give to draw from, by name. cheap: leave out what would have to be
        computed from networks, for a quick look."""
        return (each_table(self.source, studies, cheap) if isinstance(self.source, str) else
                self.source(studies))


def no_numbers(studies: Studies) -> Available:
    """For a schematic."""
    return Available({"": None})


def all_studies(studies: Studies) -> Available:
    """The comparisons of all studies that count, in one table."""
    table = forest_table(studies)
    return Available({} if table.empty else {"": table})


def each_study(studies: Studies) -> Available:
    """The results of each study that trains what is left in more than one way."""
    available = Available()
    for name, results in studies.items():
        if len(set(results.regimes) - {UNPRUNED}) > 1:
            available.inputs[name] = results
        else:
            available.missing.append(f"{name}: it has one regime beside the unpruned network, and "
                                 "nothing to compare that with.")
    return available


def each_table(kind: str, studies: Studies, cheap: bool = False) -> Available:
    """The table of that kind of each study."""
    available = Available()
    for name, results in studies.items():
        if cheap and TABLES[kind].computed and isinstance(results.source, StoredStudy):
            available.missing.append(f"{name}: computed from its networks when it is drawn.")
            continue
        try:
            available.inputs[name] = results.table(kind)
        except RethinkError as reason:  # Missing, or the images are gone, say
            available.missing.append(f"{name}: {reason}")
    return available


def across(group: Callable[[Sequence[Results]], Mapping[str, pd.DataFrame]]) -> Collect:
    """A table for each group of studies that belong together."""
    return lambda studies: Available(dict(group(list(studies.values()))))


def both_kinds_of_target(studies: Studies) -> Available:
    """For each network: what stays of its layers by predefined and by automatic targets. How it
    was trained, and by which method, may differ: the architectures are what is compared."""
    available = Available()
    for name, group in _groups(studies, TRAINED_SOMEHOW).items():
        marked = {}
        for results, table in group:
            method = results.settings.get("method")
            if method in (*PREDEFINED, *AUTOMATIC) and (table["unit"] == "channels").all():
                kind = "predefined" if method in PREDEFINED else "automatic"
                marked[results] = table.assign(kind=kind)
        if len({table["kind"].iloc[0] for table in marked.values()}) == 2:
            available.inputs[name] = together(marked)
    return available


def stages_of_a_network(studies: Studies) -> Available:
    """For each method, network and data: what stays of the stages, at every target."""
    return Available({name: together(dict(group)) for name, group in _groups(studies, ()).items()})


def _groups(studies: Studies, free: Sequence[str]) -> dict[str, list[tuple[Results, pd.DataFrame]]]:
    """The studies with their tables of widths, by the name of the group that agrees in all but
    their target and `free`."""
    tables = each_table("widths", studies).inputs
    return {called: [(studies[name], tables[name]) for name in names] for called, names in
            grouped({name: studies[name] for name in tables}, free).items()}


def together(tables: Mapping[Results, pd.DataFrame]) -> pd.DataFrame:
    """The tables of studies below one another, each called by method and target. Of studies that
    are called alike, which differ in how what is left was trained, the one with most seeds."""
    chosen: dict[str, Results] = {}
    for results, table in tables.items():
        called = f"{results.settings.get('method', '')} {results.settings.get('target', '')}"
        before = chosen.get(called)
        if before is None or tables[before]["seed"].nunique() < table["seed"].nunique():
            chosen[called] = results
    whole = pd.concat([tables[results].assign(study=called) for called, results in chosen.items()],
                      ignore_index=True)
    used = list(chosen.values())
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
    "kernels": FigureKind(kernels, "kernels",
                          "how often each position of 3x3 kernels is kept, by stage",
                          "a study by weight-level", "Figure 4"),
    "lottery": FigureKind(lottery, across(lottery_tables),
                          "winning tickets against random initialisations",
                          "studies by lottery at several targets", "Figure 7"),
    "weights": FigureKind(weights, "weights",
                          "histograms of the weights of unpruned, fine-tuned and scratch-trained "
                          "networks", ANY_STUDY, "Figure 8"),
    "layer_widths": FigureKind(layer_widths, "widths",
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
    "forest": FigureKind(forest, all_studies,
                         "training from scratch against inherited weights, all studies at once",
                         "studies with scratch-e or scratch-b, and finetune, over three seeds"),
    "learning_curves": FigureKind(learning_curves, "histories",
                                  "accuracy and loss by epoch", ANY_STUDY),
    "weight_layers": FigureKind(weight_layers, "weights",
                                "histograms of the weights layer by layer", ANY_STUDY),
    "scales": FigureKind(scales, "scales",
                         "scales of batch normalisation before and after sparsity training",
                         "a study by slimming"),
    "movement": FigureKind(movement, "movement",
                           "how far training moves weights and how many keep their sign",
                           ANY_STUDY),
    "overlap": FigureKind(overlap, "overlap",
                          "what two seeds keep in common, against chance",
                          "a study that prunes, over two seeds or more"),
    "sensitivity": FigureKind(sensitivity, "sensitivity",
                              "accuracy with one layer at a time pruned", ANY_STUDY),
    "barrier": FigureKind(barrier, "barrier",
                          "error along the line between two trained networks",
                          "a study with two regimes that train"),
    "latency": FigureKind(latency, "latency", "MACs against measured latency",
                          ANY_STUDY),
}


def find_figure(name: str) -> FigureKind:
    """The kind of figure called `name`. Raises ConfigError with the nearest match."""
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]
