"""The command line. `main` is the console script `orchestrator`; every noun has a module of its own."""

import io
import sys
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.cli.groups import RootGroup

app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"orchestrator {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run durable tasks by calling an app's webhook, step by step.

    Verbs talk to a server: --url, ORCHESTRATOR_URL, else the one that config.toml describes. The exit code is
    0 ok, 1 the run failed, 2 usage, 3 not found, 4 refused, 5 unreachable.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    # A terminal that cannot show a character shows another, and the command goes on.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="orchestrator")
