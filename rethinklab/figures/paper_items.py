"""Every figure and table of the paper and its appendix, and what of the kit draws it.

Source of the list: Liu et al. (ICLR 2019). What its figures show is told from memory of the paper
and was not checked against its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rethinklab.errors import RethinkError
from rethinklab.figures.catalogue import FIGURES
from rethinklab.figures.paper_tables import TABLES
from rethinklab.figures.sources import Source


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


def write_readme(out: str | Path, source: Source) -> Path:
    """Write `out/README.md`: what of the paper is drawn by which function, with the pictures that
    lie in `out`; where it is."""
    path = Path(out).expanduser() / "README.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(found.name for found in path.parent.iterdir())
        path.write_text(readme(names, source), encoding="utf-8")
    except OSError as error:
        raise RethinkError(f"{path} cannot be written ({error.strerror}); choose another place "
                           "with --out.") from error
    return path


def readme(files: Sequence[str], source: Source) -> str:
    """The text of the overview. files: names of the pictures at hand."""
    studies = sorted({results.label for results in source.studies().values()})
    return "\n".join([
        "# Figures and tables", "",
        "Made by `rethinklab figures --readme`, from the recorded results by `make figures`. Every "
        "figure is a PDF and a PNG, the numbers it shows are in the CSV of its name, and where "
        "they are from in the JSON.", "",
        "## Of the paper", "",
        "What each place of the paper shows is told from memory and was not checked against its "
        "text.", "",
        "| place | what it shows | drawn by | from recorded results |", "|---|---|---|---|",
        *(row(item, files) for item in ITEMS), "",
        "## Beyond it", "",
        "| figure | what it shows | from recorded results |", "|---|---|---|",
        *beyond(files), "",
        "## What was recorded", "", *(f"- {label}" for label in studies), ""])


def row(item: Item, files: Sequence[str]) -> str:
    """A line of the overview for something of the paper."""
    calls = [f"`rl.figures.{kind}`" if kind in FIGURES else
             f"`rethinklab figures {kind}`" for kind in item.kinds]
    pictures = [link for kind in item.kinds for link in links(kind, files, item.only)]
    if pictures:
        found = ", ".join(pictures)
    elif item.reason:
        found = f"none: {item.reason}"
    else:
        needs = [FIGURES[kind].needs for kind in item.kinds if kind in FIGURES]
        found = "none yet: it needs " + "; ".join(needs or ["`rethinklab figures` to write it"])
    return f"| {item.place} | {item.meaning} | {', '.join(calls) or '-'} | {found} |"


def beyond(files: Sequence[str]) -> Iterator[str]:
    """A line for each figure that the paper does not have."""
    for name, kind in FIGURES.items():
        if not any(name in item.kinds for item in ITEMS):
            found = ", ".join(links(name, files)) or f"none yet: it needs {kind.needs}"
            yield f"| `rl.figures.{name}` | {kind.meaning} | {found} |"


def links(kind: str, files: Sequence[str], only: Sequence[str] = ()) -> list[str]:
    """Links to the pictures of a kind of figure, or to the text of a table."""
    if kind in TABLES:
        return [f"[{kind}]({kind}.txt)"] if f"{kind}.txt" in files else []
    found = []
    for name in files:
        start, _, form = name.rpartition(".")
        if form == "png" and (start == kind or start.startswith(f"{kind}-")):
            study = start.removeprefix(kind).removeprefix("-")
            if not only or any(word in study for word in only):
                found.append(f"[{study or kind}]({name})")
    return found
