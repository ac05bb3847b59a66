"""Two peculiarities of the command tree: errors become an exit code, and every verb's modules load late."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from orchestrator.cli.failures import CommandError

# Each with its module below and what it is good for, in the order of a newcomer's way through them.
COMMANDS = {
    "demo": ("demo", "Import a real data set with ten workers: a server, a sample app, ten live bars, a summary."),
    "serve": ("serving", "Run the server until it is asked to stop (Ctrl-C, SIGTERM)."),
    "worker": ("worker", "Register and run Python tasks, until interrupted."),
    "app": ("apps", "Install apps by their manifest; start, stop, look at them."),
    "task": ("tasks", "List tasks, launch them, pause and resume their schedules."),
    "exec": ("executions", "List executions, look into one, follow, abort and retry it."),
    "import": ("imports", "See import batches, deliver refused ones again, export what arrived."),
    "subscription": ("subscriptions", "Tell an endpoint when executions end."),
    "events": ("events", "See executions end, as it happens."),
    "token": ("tokens", "Make, list and revoke bearer tokens."),
    "workspace": ("workspaces", "Make and list workspaces; show and rotate their secrets."),
    "node": ("nodes", "List the nodes that share a database."),
    "db": ("database", "Upgrade, check, copy or purge the database."),
    "doctor": ("doctor", "Look into the settings, the data directory, the server, the token and the work that waits."),
}


class LateCommand(TyperCommand):
    """Stands in the tree for a command whose module is imported when it is called: no verb waits for another's."""

    def __init__(self, name: str, help: str, module: str) -> None:  # noqa: A002 - Typer's own name for it
        super().__init__(name, help=help)
        self._module = module

    @cached_property
    def real(self) -> Any:
        """The command itself."""
        with _without_collections():
            group = get_group(import_module(f"orchestrator.cli.{self._module}").app)
        group.name = self.name
        # A noun with its verbs, or the one verb of that name.
        return group.commands.get(str(self.name), group)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the real command, which is then the one that runs."""
        return self.real.make_context(info_name, args, parent, **extra)


class RootGroup(TyperGroup):
    """The command `orchestrator`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (module, help_) in COMMANDS.items():
            self.add_command(LateCommand(name, help_, module))

    def list_commands(self, _ctx: Any) -> list[str]:
        """The commands in their own order, not the alphabet's."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an expected error is a message and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            # It brings Rich, which `serve` does not need.
            from orchestrator.cli.printing import print_error  # noqa: PLC0415

            print_error(error)
            raise typer.Exit(error.exit_code) from error


@contextmanager
def _without_collections() -> Iterator[None]:
    """Garbage is not looked for meanwhile: modules stay, and to look through them again and again took a tenth longer.

    Nor is it later on among what was loaded here.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
