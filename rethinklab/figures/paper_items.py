"""Every figure and table of the paper and its appendix, and what of the kit draws it.

Source of the list: Liu et al. (ICLR 2019). What its figures show is told from memory of the paper
and was not checked against its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rethinklab.errors import RethinkError, unknown_name
from rethinklab.figures.catalogue import FIGURES, Studies
from rethinklab.figures.export import METADATA
from rethinklab.figures.gallery import stem
from rethinklab.figures.style import TEXT_WIDTH, PaperFigure, paper_style
from rethinklab.results.paper_tables import TABLES

DPI = 150


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


# The pictures that the project shows: of each kind, the study or the group it is of.
SHOWN = {"pipeline": "", "regimes": "l1-vgg16-digits-quick",
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


def write_readme(out: str | Path, studies: Studies) -> list[Path]:
    """Write the pictures of `SHOWN` as PNG into `out`, and `out/README.md`: what of the paper is
    drawn by which function, from which recorded results; the paths."""
    folder, text = Path(out).expanduser(), readme(studies)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "README.md"]
        paths[0].write_text(text, encoding="utf-8")
        for kind, name in SHOWN.items():
            paths.append(folder / f"{stem(kind, name)}.png")
            with paper_style():
                shown(kind, name, studies).savefig(paths[-1], dpi=DPI, metadata=METADATA["png"])
    except OSError as error:
        raise RethinkError(f"{folder} cannot be written ({error.strerror}); choose another place "
                           "with --out.") from error
    return paths


def shown(kind: str, name: str, studies: Studies) -> PaperFigure:
    """A picture of `SHOWN`. Raises ConfigError where the studies do not give it."""
    found = FIGURES[kind].collect(studies).inputs
    if name not in found:
        raise unknown_name(f"input of the figure {kind}", name, found)
    return FIGURES[kind].draw(found[name], width=TEXT_WIDTH)


def readme(studies: Studies) -> str:
    """The text of the overview."""
    pictures = {stem(kind, name): shown(kind, name, studies).caption
                for kind, name in SHOWN.items()}
    return "\n".join([
        "# Figures and tables", "",
        "Made by `make figures`. `rethinklab figures --from data/results` draws all that the "
        "recorded results give: each as PDF and PNG, the numbers it shows as CSV, and where they "
        "are from as JSON.", "",
        *[line for name, caption in pictures.items()
          for line in (f"![{caption}]({name}.png)", f"`rl.figures.{name.partition('-')[0]}`: "
                       f"{caption}", "")],
        "## Of the paper", "",
        "What each place of the paper shows is told from memory and was not checked against its "
        "text.", "",
        "| place | what it shows | drawn by | from recorded results |", "|---|---|---|---|",
        *(row(item, studies) for item in ITEMS), "",
        "## Beyond it", "",
        "| figure | what it shows | from recorded results |", "|---|---|---|",
        *(f"| `rl.figures.{name}` | {kind.meaning} | {pictured(name, studies)} |"
          for name, kind in FIGURES.items() if not any(name in item.kinds for item in ITEMS)), ""])


def row(item: Item, studies: Studies) -> str:
    """A line of the overview for something of the paper."""
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
