"""The migrations themselves, run by Alembic: loaded only where there is something to migrate."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def run(connection: Connection) -> None:
    """Bring the schema to the newest revision, and note whom that serves."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    _note_served(connection)


def known() -> set[str]:
    """The revisions that this version of the program has scripts for."""
    return {script.revision for script in _scripts().walk_revisions()}


def head() -> str | None:
    """The newest of them."""
    return _scripts().get_current_head()


def _note_served(connection: Connection) -> None:
    newest = _scripts().get_revision("head")
    connection.execute(text("DELETE FROM served_revisions"))
    for revision in (newest.revision, *newest.module.serves):
        connection.execute(text("INSERT INTO served_revisions (revision) VALUES (:revision)"), {"revision": revision})


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
