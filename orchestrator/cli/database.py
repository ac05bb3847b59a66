"""`orchestrator db`: bring the database to this version's schema, look whether it is there, remove what is old."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.connecting import read_flags
from orchestrator.cli.failures import Refused
from orchestrator.cli.options import JsonOption
from orchestrator.cli.printing import print_json, say
from orchestrator.cli.purging import purge
from orchestrator.domain.errors import DatabaseBusy, OrchestratorError
from orchestrator.runtime.administration import check_database, upgrade_database
from orchestrator.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Upgrade the database, check its schema, purge old executions.")

DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="The data directory.", show_default=False)]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="postgresql://… or sqlite:///…", show_default=False),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The settings file.", show_default=False)]


@app.command("upgrade")
def upgrade(data_dir: DataDirOption = None, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Bring the schema to this version's; what is there stays. No server may be running."""
    revision = _run(upgrade_database, _settings(data_dir, database, config))
    say(f"The database is at revision {revision}.")


@app.command("check")
def check(
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that the schema is this version's; nothing is changed. No server may be running."""
    revision = _run(check_database, _settings(data_dir, database, config))
    if as_json:
        print_json({"revision": revision})
    else:
        say(f"The database is at revision {revision}, as this version needs it.")


app.command("purge")(purge)


def _settings(data_dir: Path | None, database: str | None, config: Path | None) -> Settings:
    return read_flags(config, {"server": {"data_dir": data_dir}, "database": {"url": database}})


def _run(work: Callable[[Settings], str], settings: Settings) -> str:
    try:
        return work(settings)
    except DatabaseBusy as error:
        raise Refused(error.message, "Stop the server first; then try again.") from error
    except OrchestratorError as error:
        raise Refused(error.message) from error
