"""The commands that show stored results in words and tables: results, compare, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethinklab.cli import options
from rethinklab.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from rethinklab.results import Results

FORMATS = ("table", "csv", "latex", "parquet", "ledger")


def results(
    studies: Annotated[list[str] | None, typer.Argument(
        metavar="[STUDY ...]",
        help="Names of studies, or how they begin; without one, all are listed.")] = None,
    store: options.Store = "runs",
    format: Annotated[str, typer.Option(help="table, csv, latex, parquet or ledger.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None,
) -> None:
    """Show stored results: tables and verdicts of studies, also while they run.

    Examples:

    rethinklab results l1-vgg16

    rethinklab results l1-vgg16 slimming-vgg19 --format latex (one table, a row a study)

    rethinklab results --format parquet --out all.parquet (every trial in the store)
    """
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    place = Store(store, create=False)
    names = place.studies()
    if not studies and (format in ("table", "ledger") or not names):
        typer.echo("\n".join(names) if names else "No study is stored here yet.")
        return
    results = list(load_studies(place, studies or ()).values())
    if format == "parquet":
        if out is None:
            raise ConfigError("format parquet is no text; say where to with --out FILE.parquet.")
        whole_frame(results).to_parquet(out, index=False)
    elif out is not None:
        out.write_text(formatted(results, format) + "\n")
    else:
        typer.echo(formatted(results, format))


def formatted(results: Sequence[Results], format: str) -> str:
    """Results as tables with verdicts, as CSV of every trial, as one LaTeX table, or what the
    trials cost in all."""
    from rethinklab.results.paper_tables import study_table

    if format == "csv":
        return str(whole_frame(results).to_csv(index=False, lineterminator="\n")).rstrip()
    if format == "latex":
        return study_table(results).latex
    if format == "ledger":
        return "\n\n".join(f"{one.name}\n{one.ledger().to_string(float_format='{:,.1f}'.format)}"
                           for one in results)
    return "\n\n".join(map(str, results))


def whole_frame(results: Sequence[Results]) -> pd.DataFrame:
    """Every trial of every study as one table."""
    import pandas as pd

    return pd.concat([one.to_frame() for one in results], ignore_index=True)


def compare(
    first: Annotated[str, typer.Argument(help="A study, or how its name begins.")],
    second: Annotated[str, typer.Argument(help="Another, such as the same with a control.")],
    regime: Annotated[str, typer.Option(help="Regime of the first.")] = "finetune",
    other: Annotated[str | None, typer.Option(
        help="Regime of the second. [default: the same]")] = None,
    store: options.Store = "runs",
) -> None:
    """Compare two studies, paired by seed: a method against another, or against its control.

    Example: rethinklab compare l1-vgg16 random-vgg16 --regime finetune
    """
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    a, b = load_studies(Store(store, create=False), [first, second]).values()
    typer.echo(str(a.against(b, regime, other)))


def status(study: Annotated[str | None, typer.Argument(
               help="A study, or how its name begins. [default: all that are not done]")] = None,
           store: options.Store = "runs") -> None:
    """What runs, where, and how long it has to go, also in other processes and on other nodes."""
    from rethinklab.experiments.progress import status as find_status
    from rethinklab.experiments.store import Store

    typer.echo(str(find_status(Store(store, create=False), study)))
