"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from rethinklab.cli import (
    data,
    doctor,
    figures,
    listing,
    notebooks,
    recording,
    results,
    run,
    store,
)
from rethinklab.errors import RethinkError, first_line

TRACEBACK = "RETHINKLAB_TRACEBACK"

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Is it the weights or the architecture? Prune a network, then train what is left three
    ways: fine-tuned from the weights it inherited, from scratch for as many epochs (Scratch-E),
    and from scratch with as much computation (Scratch-B); over paired seeds, with a verdict.

    Begin with `rethinklab demo`. Then `rethinklab run --data folder:PATH` asks the question of
    your own images, and `rethinklab lab` opens the notebooks.""",
    epilog="Exit codes: 0 done, 1 a run failed, 2 wrong input, 3 the store is at fault, "
           "4 time was up, 130 interrupted. Whatever was finished is stored, and the next run goes "
           "on from it.")
for command in (figures.figures, recording.record, figures.report, recording.rerun, figures.summary,
                notebooks.lessons, notebooks.student, notebooks.grade, run.demo, run.run,
                listing.list_, results.results, results.compare, results.status, doctor.doctor,
                notebooks.lab):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(store.store_app, name="store")
app.add_typer(data.data_app, name="data")


def main() -> None:
    """Entry point: one clear sentence and an exit code instead of a traceback."""
    warnings.showwarning = lambda message, *where, **more: typer.echo(f"note: {message}", err=True)
    try:
        app()
    except RethinkError as error:
        typer.echo(f"rethinklab: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        reason = first_line(error, "no message")
        typer.echo(f"rethinklab: unexpected {type(error).__name__}: {reason}. This looks like a "
                   f"fault of the kit; {TRACEBACK}=1 shows where it is.", err=True)
        sys.exit(1)
