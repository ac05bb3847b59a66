"""`orchestrator serve`: the server, in this process."""

import errno
import socket
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli.failures import Refused
from orchestrator.cli.flags import read_flags
from orchestrator.domain.errors import OrchestratorError
from orchestrator.runtime.server import serve as run_server

app = typer.Typer()

_ADDRESS_FAULTS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="postgresql://… or sqlite:///…",
        show_default="a file in the data directory",
    ),
]
Role = Literal["all", "api", "engine"]
LogLevel = Literal["debug", "info", "warning", "error"]


@app.command("serve")
def serve(  # noqa: PLR0913 - an option each
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes any free one.", show_default="8400")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The data directory.", show_default="./.orchestrator")] = None,
    database: DatabaseOption = None,
    config: Annotated[Path | None, typer.Option(help="The settings file.", show_default="./config.toml")] = None,
    role: Annotated[
        Role | None, typer.Option(help="What this node does: both, the API only, the engine only.", show_default="all")
    ] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="What to log.", show_default="info")] = None,
) -> None:
    """Run the server until it is asked to stop (Ctrl-C, SIGTERM)."""
    settings = read_flags(
        config,
        {
            "server": {"host": host, "port": port, "data_dir": data_dir, "role": role},
            "database": {"url": database},
            "log": {"level": log_level},
        },
    )
    try:
        code = run_server(settings)
    except OrchestratorError as error:
        raise Refused(error.message) from error
    except OSError as error:
        if error.errno not in _ADDRESS_FAULTS and not isinstance(error, socket.gaierror):
            raise
        where = f"{settings.server.host}, port {settings.server.port}"
        raise Refused(f"cannot listen on {where}: {error.strerror}", "Name another one: --port, --host") from error
    raise typer.Exit(code)
