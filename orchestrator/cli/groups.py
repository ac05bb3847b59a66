"""Two peculiarities of the command tree: errors become an exit code, and heavy verbs load late."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from orchestrator.cli.failures import CommandError
from orchestrator.cli.printing import print_error

_ORDER = (
    "demo",
    "serve",
    "worker",
    "app",
    "task",
    "exec",
    "import",
    "subscription",
    "events",
    "token",
    "workspace",
    "node",
    "db",
    "doctor",
)


class LateCommand(TyperCommand):
    """Stands in the tree for a command whose module is imported when it is called.

    The server's modules take over a second to import, and every other verb does without them.
    """

    def __init__(self, name: str, help: str, module: str) -> None:  # noqa: A002 - Typer's own name for it
        super().__init__(name, help=help)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the real command, which is then the one that runs."""
        real = get_command(import_module(self._module).app)
        real.name = self.name
        return real.make_context(info_name, args, parent, **extra)


class RootGroup(TyperGroup):
    """The command `orchestrator`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in (
            LateCommand("serve", "Run the server until it is asked to stop.", "orchestrator.cli.serving"),
            LateCommand("db", "Upgrade, check, copy or purge the database.", "orchestrator.cli.database"),
        ):
            self.add_command(command)

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of a newcomer's way through them."""
        known = super().list_commands(ctx)
        return [name for name in _ORDER if name in known] + [name for name in known if name not in _ORDER]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an expected error is a message and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from error
