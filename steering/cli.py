"""The command `lens`: assembled here. Errors are one line and exit code 2; results go to stdout."""

import logging
import os
import sys
import warnings

import typer

from lens.errors import LensError
from steering.commands import chain, organism
from steering.commands.check import check
from steering.commands.dose import dose
from steering.commands.edit import edit
from steering.commands.options import console
from steering.commands.study import app as study
from steering.commands.sweep import sweep

app = typer.Typer(
    name="lens",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From texts to measured effect: read, probe, steer and edit language models.\n\n"
    "Start with [bold]lens demo[/bold]; it needs nothing but this package.",
)
for command in (chain.demo, chain.collect, sweep, chain.steer, dose, edit, check):
    app.command()(command)
app.add_typer(study, name="study")
app.add_typer(organism.app, name="organism")


def main() -> None:
    """Run the command: warnings as one line, our own errors as one line with exit code 2."""
    warnings.showwarning = lambda message, *_: console(stderr=True).print(
        f"Note: {message}", style="yellow", markup=False
    )
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        app()
    except LensError as error:
        console(stderr=True).print(f"Error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except OSError as error:
        console(stderr=True).print(f"Error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
