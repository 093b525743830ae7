"""`rethinklab data`: look after what is kept of images."""

from __future__ import annotations

import typer

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown",
                       help="Look after what is kept of folders of images.",
                       callback=lambda: None)  # else a lone command is the group itself


@data_app.command()
def clear() -> None:
    """Empty the cache of decoded folders, at once, and say what went.

    Images, CIFAR among them, stay where they are; the next run with `--data folder:PATH` decodes
    the folder anew.
    """
    from rethinklab.data.cache import clear as empty

    typer.echo(str(empty()))
