"""Every figure and table of the paper and its appendix, and what of the kit draws it.

Source of the list: Liu et al. (ICLR 2019). What its figures show is told from memory of the paper
and was not checked against its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rethinklab.figures.catalogue import FIGURES, Studies
from rethinklab.results.paper_tables import TABLES


@dataclass(frozen=True)
class Item:
    """place: where the paper has it. meaning: what it shows. kinds: figures and tables of the kit
    that show it. only: how the names of the studies in question begin, where not all are meant.
    reason: why there is none, where that is known."""

    place: str
    meaning: str
    kinds: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    reason: str = ""


ITEMS = (
    Item("Figure 1", "the three-stage pipeline", ("pipeline",)),
    Item("Figure 2", "predefined and automatic target architectures", ("targets",)),
    Item("Figure 3", "parameter efficiency of found against uniform designs, channels and weights",
         ("efficiency",)),
    Item("Figure 4", "how often positions of 3x3 kernels are kept, by stage", ("kernels",)),
    Item("Figure 5", "guided and transferred designs", ("efficiency",)),
    Item("Figure 6", "where pruning does not beat uniform designs", ("efficiency",),
         ("preresnet", "densenet"),
         "within the minutes of the quick scale these networks learn next to nothing on a CPU; the "
         "queue holds the studies at classroom scale"),
    Item("Figure 7", "winning tickets of single weights", ("lottery", "rows-of-figure7")),
    Item("Figure 8", "distributions of weights", ("weights", "weight_layers")),
    Item("Table 1", "L1-norm filter pruning", ("table1",)),
    Item("Table 2", "ThiNet", ("table2",)),
    Item("Table 3", "regression-based reconstruction", ("table3",)),
    Item("Table 4", "Network Slimming", ("table4",)),
    Item("Table 5", "Sparse Structure Selection", ("table5",)),
    Item("Table 6", "weight-level pruning", ("table6",)),
    Item("Table 7", "widths of a slimmed VGG-16", ("layer_widths",), ("slimming",)),
    Item("Table 8", "winning tickets of filters", ("table8",)),
    Item("Appendix", "soft filter pruning, aggressive ratios, longer fine-tuning, extended "
         "schedule", ("appendix",)),
    Item("Appendix", "fine-tuning for longer, as a picture", ("accuracy_budget",)),
    Item("Appendix", "what stays of each stage", ("stage_ratios",)),
    Item("Appendix", "detection on PASCAL VOC",
         reason="the kit has no detector, and no PASCAL VOC"),
)


# What the gallery shows of each kind, where there is a choice: the study or the group it is of.
SHOWN = {"regimes": "l1-vgg16-digits-quick",
         "differences": "l1-vgg11-digits-half-classroom",
         "accuracy_budget": "budgets-vgg11-digits-half-classroom",
         "learning_curves": "l1-vgg11-digits-half-classroom",
         "layer_widths": "slimming-vgg11-digits-half-classroom",
         "targets": "vgg11-digits-subset-classroom", "efficiency": "slimming-vgg16-digits-quick",
         "kernels": "weight-level-vgg11-digits-0.8-classroom",
         "lottery": "lottery-vgg16-digits-quick", "weights": "l1-vgg11-digits-half-classroom",
         "scales": "slimming-vgg11-digits-half-classroom",
         "movement": "l1-vgg11-digits-half-classroom",
         "overlap": "weight-level-vgg11-digits-0.8-classroom"}


def row(item: Item, studies: Studies) -> str:
    """A line of the gallery's table for something of the paper."""
    calls = [f"`rl.figures.{kind}`" if kind in FIGURES else
             f"`rethinklab figures {kind}`" for kind in item.kinds]
    found = [pictured(kind, studies, item.only) for kind in item.kinds]
    if not any(text.startswith("none") for text in found) or not item.reason:
        told = "; ".join(dict.fromkeys(found)) or f"none: {item.reason}"
    else:
        told = f"none: {item.reason}"
    return f"| {item.place} | {item.meaning} | {', '.join(calls) or '-'} | {told} |"


def pictured(kind: str, studies: Studies, only: Sequence[str] = ()) -> str:
    """How many pictures of a kind there can be. only: what the name of the study holds."""
    if kind in TABLES:
        return "a table"
    count = sum(not only or any(word in name for word in only)
                for name in FIGURES[kind].collect(studies).inputs)
    return (f"{count} picture" + "s" * (count != 1) if count else
            f"none yet: it needs {FIGURES[kind].needs}")
