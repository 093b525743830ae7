"""The catalogue of figures: what each shows, what it is drawn from, and where the paper has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rethinklab.errors import unknown_name
from rethinklab.evidence.comparisons import lottery_tables, ratio_tables
from rethinklab.evidence.efficiency import efficiency_tables, free_name
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
from rethinklab.figures.sources import Found, Source, tables_with_names
from rethinklab.figures.stage_ratios import stage_ratios
from rethinklab.figures.style import PaperFigure
from rethinklab.figures.targets import targets

Collect = Callable[[Source], Found]
PREDEFINED = ("l1", "thinet", "regression", "soft-filter")
AUTOMATIC = ("slimming", "sss", "weight-level")


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
    """The results of each study."""
    return Found(dict(source.studies()))


def each_table(kind: str) -> Collect:
    """The table of evidence of each study."""
    return lambda source: source.tables(kind)


def across(group: Callable[[Sequence[Results]], Mapping[str, pd.DataFrame]]) -> Collect:
    """A table for each group of studies that belong together."""
    return lambda source: Found(dict(group(list(source.studies().values()))))


def both_kinds_of_target(source: Source) -> Found:
    """For each network: what stays of its layers by predefined and by automatic targets."""
    made = Found()
    for name, tables in _alike(source, ("model", "dataset", "scale")).items():
        marked = [table.assign(kind="predefined" if method in PREDEFINED else "automatic")
                  for method, table in tables if method in (*PREDEFINED, *AUTOMATIC)
                  and (table["unit"] == "channels").all()]
        if len({table["kind"].iloc[0] for table in marked}) == 2:
            made.inputs[name] = _together(marked)
    return made


def stages_of_a_network(source: Source) -> Found:
    """For each method, network and data: what stays of the stages, at every target."""
    groups = _alike(source, ("method", "model", "dataset", "scale"))
    return Found({name: _together([table for _, table in tables])
                  for name, tables in groups.items()})


def _alike(source: Source, by: Sequence[str]) -> dict[str, list[tuple[str, pd.DataFrame]]]:
    """(method, table of widths) of the studies that agree in these columns, and in others that
    are not part of the name: of the network, the images it saw, and the options of one method."""
    studies = source.studies()
    groups: dict[tuple[str, ...], list[tuple[str, pd.DataFrame]]] = {}
    for table in tables_with_names(source.tables("widths").inputs):
        first = studies[table["study"].iloc[0]].frame.iloc[0]
        more = ("width", "train_images", *(("options",) if "method" in by else ()))
        key = tuple(str(first.get(column)) for column in (*by, *more))
        groups.setdefault(key, []).append((str(first["method"]), _kept(table, studies)))
    named: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    for key, tables in groups.items():
        named[free_name("-".join(key[: len(by)]), named)] = tables
    return named


def _kept(table: pd.DataFrame, studies: Mapping[str, Results]) -> pd.DataFrame:
    """The table with its study called by what sets it apart: method and target."""
    results = studies[table["study"].iloc[0]]
    first = results.frame.iloc[0]
    named = table.assign(study=f"{first['method']} {first['target']}")
    named.attrs["label"] = results.label
    return named


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    labels = dict.fromkeys(str(table.attrs.get("label", "")) for table in tables)
    whole = pd.concat(list(tables), ignore_index=True)
    whole.attrs = {"label": " | ".join(labels)}
    return whole


ANY_STUDY = "any study"
FIGURES: dict[str, FigureKind] = {
    "pipeline": FigureKind(pipeline, no_numbers, "the pipeline that is in question",
                           "nothing", "Figure 1"),
    "targets": FigureKind(targets, both_kinds_of_target,
                          "predefined against automatic target widths",
                          "of one network a study by l1 and one by slimming", "Figure 2"),
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
