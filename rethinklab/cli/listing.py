"""`rethinklab list`: what there is to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rethinklab.cli import options
from rethinklab.errors import unknown_name

OTHER = "controls of another method, and designs after one"


def list_(what: Annotated[str, typer.Argument(
              help="models, methods, presets, groups, regimes, datasets, scales, trained or "
                   "figures.")] = "",
          store: options.Store = "runs") -> None:
    """What there is to choose from. Presets come with published and own results."""
    if what == "presets":
        typer.echo(presets(Path(store)))
        return
    if what not in KINDS:
        raise unknown_name("list", what, [*KINDS, "presets"])
    meanings = KINDS[what]()
    wide = max(map(len, meanings))
    parts = method_groups() if what == "methods" else {"": list(meanings)}
    for heading, names in parts.items():
        if heading:
            typer.echo(f"# {heading}")
        for name in names:
            typer.echo(f"{name:{wide}}  {meanings[name]}")


def presets(store: Path) -> str:
    """The rows of the paper, with results of the project's and of a store beside."""
    from rethinklab.results import load_studies
    from rethinklab.results.beside_paper import overview_text
    from rethinklab.results.load import recorded_folder

    places = filter(None, (recorded_folder(), store if (store / "store.json").is_file() else None))
    return overview_text([results for place in places for results in load_studies(place).values()])


def models() -> dict[str, str]:
    """What each network is."""
    from rethinklab.models import MODELS

    return {name: text for name, (_, text) in MODELS.items()}


def methods() -> dict[str, str]:
    """What each pruning method does."""
    from rethinklab.pruners import METHODS

    return {name: first_sentence(pruner) for name, pruner in METHODS.items()}


def method_groups() -> dict[str, list[str]]:
    """The methods by when they look, before, during or after the training of the large network,
    and by what they cut."""
    from rethinklab.pruners import CONTROLS, METHODS

    found: dict[str, list[str]] = {f"{when} training, {cuts}": []
                                   for when in ("before", "during", "after")
                                   for cuts in ("channels", "weights")}
    found[OTHER] = ["transferred"]
    for name, pruner in METHODS.items():
        if name in CONTROLS:
            found[OTHER].append(name)
        elif name != "transferred":
            when = ("before" if pruner.before_training else
                    "during" if pruner.trained_with is not None else "after")
            found[f"{when} training, {pruner.cuts}"].append(name)
    return {heading: names for heading, names in found.items() if names}


def first_sentence(thing: Any) -> str:
    """Of a docstring."""
    first = (thing.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split()).partition(". ")[0].rstrip(".") + "."


def groups() -> dict[str, str]:
    """How many presets each group has."""
    from rethinklab.experiments import paper

    return {name: f"{len(members)} presets" for name, members in paper.groups().items()}


def regimes() -> dict[str, str]:
    """How each regime trains what is left."""
    from rethinklab.trainers.regimes import REGIMES

    return {name: regime.meaning for name, regime in REGIMES.items()}


def datasets() -> dict[str, str]:
    """What each data set holds."""
    from rethinklab.data import DATASETS

    return {name: text for name, (_, text) in DATASETS.items()}


def scales() -> dict[str, str]:
    """What each scale is for."""
    from rethinklab.experiments.scales import SCALES

    return {name: scale.meaning for name, scale in SCALES.items()}


def trained() -> dict[str, str]:
    """What each trained network of the kit is."""
    from rethinklab.models.trained import trained_networks

    return {name: f"{about['spec']['model']}, width {about['spec']['options'].get('width', 1)}, "
                  f"{100 * about['test_accuracy']:.2f} % of test images, of {about['study']}"
            for name, about in trained_networks().items()}


def figures() -> dict[str, str]:
    """What each figure and each table shows."""
    from rethinklab.figures.catalogue import FIGURES
    from rethinklab.results.paper_tables import TABLES

    drawn = {name: kind.meaning + (f" ({kind.paper})" if kind.paper else "")
             for name, kind in FIGURES.items()}
    return drawn | dict.fromkeys(TABLES, "the rows in the paper's layout, own results beside")


KINDS = {kind.__name__: kind for kind in (models, methods, groups, regimes, datasets, scales,
                                          trained, figures)}
