"""The commands that keep results and put them to the test: record, rerun."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethinklab.cli import options
from rethinklab.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rethinklab.results.rerun import Repetition
    from rethinklab.results.trained import Retraining


def record(
    studies: Annotated[list[str], typer.Argument(
        metavar="STUDY ...", help="Names of stored studies, or how they begin.")],
    store: options.Store = "runs",
    out: Annotated[str, typer.Option(help="Folder to write to.")] = "recorded",
    name: Annotated[str | None, typer.Option(
        "--as", help="What to call the folder of a single study. [default: its name]")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Record the results alone.")] = False,
    network: Annotated[str | None, typer.Option(
        metavar="NAME", help="Instead keep the network that the first seed pruned, as it was "
                             "before, among those that come with the kit (rl.load_trained).")
    ] = None,
) -> None:
    """Write each study as a folder of small tables to keep: results, and what the figures of
    weights, architectures and training need, without the networks themselves."""
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    for option, value in (("--as", name), ("--network", network)):
        if value is not None and len(studies) > 1:
            raise ConfigError(f"{option} gives a name to one study, and several were given.")
    found = load_studies(Store(store, create=False), studies)
    if network is not None:
        from rethinklab.results.trained import take_trained

        typer.echo(str(take_trained(next(iter(found.values())), network)))
        return
    for study, results in found.items():
        show_record(*results.save(Path(out) / (name or readable(study)), () if bare else None))


def readable(study: str) -> str:
    """The name of a study without the hash at its end."""
    return re.sub(r"-[0-9a-f]{6}$", "", study)


def show_record(written: Sequence[Path], missing: Sequence[str]) -> None:
    """Say what was recorded and what is not there."""
    for path in written:
        typer.echo(str(path))
    for reason in missing:
        typer.echo(f"not there: {reason}", err=True)


def rerun(
    addresses: Annotated[list[str] | None, typer.Argument(
        metavar="ADDRESS ...", help="Of recorded trials, as the column address has them.")] = None,
    number: Annotated[int, typer.Option(
        "--random", help="Draw so many of them instead, of those that can be run here.")] = 0,
    trained: Annotated[bool, typer.Option(
        "--trained", help="Train the networks that come with the kit anew instead.")] = False,
    draw: Annotated[int, typer.Option(help="Seed of that draw.")] = 0,
    recorded: Annotated[Path, typer.Option(
        "--from", help="Folder of recorded results, with their queue.")] = Path("data/results"),
    store: Annotated[str | None, typer.Option(
        help="Folder of results to run in. [default: a temporary one]")] = None,
    device: options.Device = "auto",
) -> None:
    """Run recorded trials anew, from their images on, and say whether the same comes out."""
    from rethinklab.experiments.store import Store
    from rethinklab.models.trained import trained_networks
    from rethinklab.results.rerun import pick
    from rethinklab.results.rerun import rerun as repeat
    from rethinklab.results.trained import retrain

    if bool(addresses) + bool(number) + trained != 1:
        raise ConfigError("give addresses of recorded trials, or --random and how many, or "
                          "--trained.")
    with tempfile.TemporaryDirectory() as temporary:
        place = Store(store or temporary)
        for name in trained_networks() if trained else ():
            _say(name, "", retrain(name, place, device))
        for address in addresses or (pick(recorded, number, draw) if number else ()):
            (trial,) = repeat(recorded, [address], place, device)
            _say(address, f"  {trial.regime} seed {trial.seed} of {trial.study}", trial)


def _say(name: str, what: str, again: Repetition | Retraining) -> None:
    typer.echo(f"{name}{what}\n    recorded {again.recorded:.4f} on {again.device}, now "
               f"{again.repeated:.4f} on {again.device_now}: {again.verdict}")
