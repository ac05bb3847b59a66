"""The schema's version: Alembic migrations, run by `orchestrator db upgrade` and, when embedded, by the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from orchestrator.domain.errors import DatabaseOutdated, DatabaseUnavailable
from orchestrator.store import sqlite_upkeep
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.postgresql_connections import plain_engine

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(options: DatabaseOptions) -> None:
    """Bring the schema to this version's; safe to run again. Raises DatabaseUnavailable."""
    with connected(options) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current(options: DatabaseOptions) -> str | None:
    """The revision that the database is at; None for an empty one. Raises DatabaseUnavailable."""
    with connected(options) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The revision that this version of the program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise DatabaseOutdated("this installation has no migrations")
    return revision


def check(options: DatabaseOptions) -> None:
    """Raises DatabaseOutdated unless the database is at this version's revision."""
    found, wanted = current(options), newest()
    if found != wanted:
        raise DatabaseOutdated(
            f"the database is at revision {found or 'none'}, this version needs {wanted}: run `orchestrator db upgrade`"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@contextmanager
def connected(options: DatabaseOptions) -> Iterator[Connection]:
    """A connection in a transaction of its own, for work on the schema. Raises DatabaseUnavailable."""
    engine = plain_engine(options.url) if options.dialect is Dialect.POSTGRESQL else _sqlite_engine(options)
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise DatabaseUnavailable(f"the database is not available: {error.orig}") from error
    finally:
        engine.dispose()


def _sqlite_engine(options: DatabaseOptions) -> Engine:
    options.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(options.url, poolclass=NullPool)
    event.listen(engine, "connect", lambda raw, _record: sqlite_upkeep.prepare_new_file(raw))
    return engine
