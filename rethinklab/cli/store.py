"""`rethinklab store`: look after a results store."""

from __future__ import annotations

from typing import Annotated

import typer

from rethinklab.cli import options

DAMAGED = 3

store_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown",
    help="""Look after a results store: what it holds, damage, leftovers, and taking studies to
    another machine.""")


@store_app.command(name="list")
def list_(store: options.Store = "runs") -> None:
    """The studies of a store, how much of each is done, and the space that it all takes."""
    from rethinklab.experiments.store import Store
    from rethinklab.experiments.upkeep import overview

    typer.echo(str(overview(Store(store, create=False))))


@store_app.command()
def check(store: options.Store = "runs") -> None:
    """Look for damage, leftovers and unfinished studies. Changes nothing.

    Reads every file and compares it with the hash it was stored with. Ends with exit code 3 where
    something is damaged; `rethinklab store repair` moves that aside.
    """
    from rethinklab.experiments.upkeep import check as find

    findings = find(store)
    for finding in findings:
        typer.echo(str(finding))
    damaged = sum(finding.is_damage for finding in findings)
    if damaged:
        typer.echo(f"{damaged} damaged; `rethinklab store repair --store {store}` moves what is "
                   "damaged aside, and the next run makes it anew.")
        raise typer.Exit(DAMAGED)
    left = sum(finding.kind == "leftover" for finding in findings)
    typer.echo("Nothing is damaged." + (
        f" {left} left over; `rethinklab store gc --store {store}` removes that." if left else ""))


@store_app.command()
def repair(store: options.Store = "runs") -> None:
    """Move damaged stages and studies into STORE/quarantine, and write a lost store.json anew.

    Nothing is deleted. The next run of a study makes anew what it lacks.
    """
    from rethinklab.experiments.upkeep import repair as mend

    done = mend(store)
    typer.echo("\n".join(done) if done else "Nothing is damaged.")


@store_app.command()
def gc(
    store: options.Store = "runs",
    checkpoints: Annotated[bool, typer.Option(
        "--checkpoints", help="Also checkpoints of unfinished stages, which then begin anew."
    )] = False,
    unreferenced: Annotated[bool, typer.Option(
        "--unreferenced", help="Also results that no study of the store uses; not while a study "
                               "is being started.")] = False,
) -> None:
    """Remove what killed runs left behind. What a run works on stays."""
    from rethinklab.experiments.upkeep import gc as clear

    cleared = clear(store, checkpoints=checkpoints, unreferenced=unreferenced)
    for path in cleared.removed:
        typer.echo(f"removed {path}")
    for address in cleared.in_use:
        typer.echo(f"in use {address}")
    if cleared.kept:
        typer.echo(cleared.kept)
    typer.echo(f"{len(cleared.removed)} removed, {cleared.freed / 1e6:,.1f} MB freed.")


@store_app.command()
def export(
    file: Annotated[str, typer.Argument(help="What to write: something.tar.gz or .tar.")],
    studies: Annotated[list[str] | None, typer.Argument(
        metavar="[STUDY ...]", help="Names of studies, or how they begin. [default: all]")] = None,
    store: options.Store = "runs",
) -> None:
    """Write studies with all their results into one file, for `rethinklab store import`.

    Example: rethinklab store export birds.tar.gz l1-vgg16
    """
    from rethinklab.experiments.archive import export as pack

    names = pack(store, file, studies or None)
    typer.echo(f"{file} holds " + ", ".join(names) + ".")


@store_app.command(name="import")
def import_(
    file: Annotated[str, typer.Argument(help="What `rethinklab store export` wrote.")],
    store: options.Store = "runs",
) -> None:
    """Take the studies and results of an archive that are not in the store yet.

    Each is checked against its hashes first. Ends with exit code 3 where something was refused.
    """
    from rethinklab.experiments.archive import import_ as unpack

    report = unpack(store, file)
    for word, items in (("took", report.took), ("skipped", report.skipped),
                        ("refused", report.refused)):
        for item in items:
            typer.echo(f"{word} {item}")
    typer.echo(f"{len(report.took)} taken, {len(report.skipped)} skipped, "
               f"{len(report.refused)} refused.")
    if report.refused:
        raise typer.Exit(DAMAGED)
