"""`orchestrator db`: bring the database to this version's schema, look whether it is there, copy it, purge it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from orchestrator.cli.copying import report, shown_progress, summary
from orchestrator.cli.failures import Misused, Refused
from orchestrator.cli.flags import read_flags
from orchestrator.cli.options import JsonOption
from orchestrator.cli.printing import print_json, say
from orchestrator.cli.purging import purge
from orchestrator.domain.errors import DatabaseBusy, Invalid, OrchestratorError
from orchestrator.runtime.administration import check_database, upgrade_database
from orchestrator.runtime.copying import copy_database
from orchestrator.settings import Settings

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Upgrade, check, copy or purge the database.")

DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="The data directory.", show_default=False)]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="postgresql://… or sqlite:///…", show_default=False),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The settings file.", show_default=False)]


@app.command("upgrade")
def upgrade(data_dir: DataDirOption = None, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Bring the schema to this version's; what is there stays.

    On PostgreSQL while nodes run: they go on, and are replaced one by one afterwards. On SQLite the server, which does
    this by itself at its start, must not be running.
    """
    settings = _settings(data_dir, database, config)
    revision = _run(lambda: upgrade_database(settings))
    say(f"The database is at revision {revision}.")


@app.command("check")
def check(
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that this version can work with the schema; nothing is changed. On SQLite no server may be running."""
    settings = _settings(data_dir, database, config)
    revision = _run(lambda: check_database(settings))
    if as_json:
        print_json({"revision": revision})
    else:
        say(f"The database is at revision {revision}, as this version needs it.")


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="sqlite:///… or postgresql://…")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="An empty database after `db upgrade`.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and write nothing.")] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy everything into another database, to go on there: from SQLite to PostgreSQL, or back."""
    ends = _settings(data_dir, source, config), _settings(data_dir, target, config)
    with shown_progress() as tell:
        moved = _run(lambda: copy_database(*ends, tell, dry_run=dry_run))
    if as_json:
        print_json(summary(moved, dry_run=dry_run))
    else:
        report(moved, dry_run=dry_run)


app.command("purge")(purge)


def _settings(data_dir: Path | None, database: str | None, config: Path | None) -> Settings:
    return read_flags(config, {"server": {"data_dir": data_dir}, "database": {"url": database}})


def _run(work: Callable[[], T]) -> T:
    try:
        return work()
    except Invalid as error:
        raise Misused(error.message) from error
    except DatabaseBusy as error:
        raise Refused(error.message, "Stop the server first; then try again.") from error
    except OrchestratorError as error:
        raise Refused(error.message) from error
