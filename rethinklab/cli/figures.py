"""The commands that write figures and pages from results: figures, report, summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethinklab.cli import options
from rethinklab.errors import ConfigError, RethinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rethinklab.figures.catalogue import Studies

StudyOption = Annotated[list[str] | None, typer.Option(
    "--study", help="A stored study, or how its name begins; repeat for more. [default: all]")]
FromOption = Annotated[Path | None, typer.Option(
    "--from", help="Recorded results instead: the folder of one study, or of many.")]


def figures(
    names: Annotated[list[str] | None, typer.Argument(
        help="Which figures and tables; all by default. See `rethinklab list figures`.")] = None,
    study: StudyOption = None,
    recorded: FromOption = None,
    store: options.Store = "runs",
    out: Annotated[str, typer.Option(help="Folder to write to.")] = "pictures",
    format: Annotated[str, typer.Option(help="By commas: pdf, png, svg, pgf.")] = "pdf,png",
    width: Annotated[str, typer.Option(
        help="iclr, neurips, icml or cvpr (or icml-column, cvpr-column), or inches.")] = "iclr",
    list_: Annotated[bool, typer.Option(
        "--list", help="Only say which can be made from what is there, and what is missing.")
    ] = False,
) -> None:
    """Draw figures and tables from stored results, each with its numbers and its origin.

    Examples:

    rethinklab figures --list

    rethinklab figures regimes differences --study l1-vgg16 --format pdf --width icml-column

    rethinklab figures table1 --from data/results
    """
    from rethinklab.figures.export import check_formats
    from rethinklab.figures.gallery import check_names, make
    from rethinklab.figures.style import inches

    formats = list(dict.fromkeys(form.strip() for form in format.split(",") if form.strip()))
    check_names(names or [])
    check_formats(formats)
    across = inches(width)
    studies = open_studies(store, study or [], recorded)
    if list_:
        show_overview(studies, names or [])
        return
    count = 0
    for drawn in make(studies, names or [], out, formats, across):
        count += bool(drawn.paths)
        for path in drawn.paths:
            typer.echo(str(path))
        if drawn.reason and names:  # of all figures the reasons are for --list
            typer.echo(f"not drawn: {' '.join(filter(None, (drawn.kind, drawn.name)))}: "
                       f"{drawn.reason}", err=True)
    if not count:
        raise ConfigError("nothing could be drawn; `rethinklab figures --list` says what is "
                          "missing.")


def open_studies(store: str, names: Sequence[str], recorded: Path | None) -> Studies:
    """The studies that figures are drawn from: of a store, or as they were recorded."""
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    if recorded is not None and names:
        raise ConfigError("--study names a stored study and --from a recorded one; give one of "
                          "them.")
    return load_studies(Store(store, create=False) if recorded is None else recorded, names)


def show_overview(studies: Studies, names: Sequence[str]) -> None:
    """Which figures can be made, from what, and what is missing for the others."""
    from rethinklab.figures.gallery import overview
    from rethinklab.results.paper_tables import TABLES

    for name, meaning, inputs, missing in overview(studies, cheap=True):
        if names and name not in names:
            continue
        typer.echo(f"{name}: {meaning}")
        typer.echo(f"    can be drawn: {', '.join(i or 'yes' for i in inputs) or 'not yet'}")
        for reason in missing:
            typer.echo(f"    missing: {reason}")
    typer.echo(f"tables: {', '.join(TABLES)}: always; own results where there are any")


def report(
    study: Annotated[str, typer.Argument(help="A stored study, or how its name begins.")],
    store: options.Store = "runs",
    out: Annotated[Path | None, typer.Option(
        help="The page to write. [default: STUDY.html]")] = None,
) -> None:
    """Write one page that opens offline: tables, verdicts, figures and where they are from."""
    from rethinklab.experiments.store import Store
    from rethinklab.figures.report import write_report
    from rethinklab.results import load_studies

    (results,) = load_studies(Store(store, create=False), [study]).values()
    typer.echo(str(write_report(results, out)))


def summary(
    recorded: Annotated[Path, typer.Option(
        "--from", help="Folder of recorded results.")] = Path("data/results"),
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("RESULTS.md"),
    readme: Annotated[Path | None, typer.Option(
        help="Also put the answer in short between the marks of this page.")] = None,
) -> None:
    """Say in words and tables what the recorded results answer, published numbers beside."""
    from rethinklab.results import load_studies
    from rethinklab.results.summary import write_summary

    try:
        paths = write_summary(load_studies(recorded), out, readme)
    except OSError as error:
        raise RethinkError(f"the summary cannot be written ({error}).") from error
    for path in paths:
        typer.echo(str(path))
