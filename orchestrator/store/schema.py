"""The schema's version: Alembic migrations, run by `orchestrator db upgrade` and, when embedded, by the server.

A migration only adds what the version before does without (expand); what that one still needs is removed a version
later (contract). So it lists in `serves` the revisions whose programs may go on working, and may start, on its schema:
nodes of two versions share a database while they are replaced one by one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from orchestrator.domain.errors import DatabaseOutdated, DatabaseUnavailable
from orchestrator.store import sqlite_upkeep
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.postgresql_connections import plain_engine
from orchestrator.store.transaction import Transaction

_SERVES = "SELECT 1 FROM served_revisions WHERE revision = :revision"
MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(options: DatabaseOptions) -> None:
    """Bring the schema to this version's; safe to run again. Raises DatabaseUnavailable, DatabaseOutdated.

    A newer schema that serves this version too is left as it is.
    """
    with connected(options) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in _known():
            _check_served(connection, found)
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _note_served(connection)


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
    """Raises DatabaseOutdated unless the database is at this version's revision, or at one that serves it too."""
    with connected(options) as connection:
        found, wanted = MigrationContext.configure(connection).get_current_revision(), newest()
        if found == wanted:
            return
        if found is None or found in _known():
            raise DatabaseOutdated(
                f"the database is at revision {found or 'none'}, this version needs {wanted}: "
                "run `orchestrator db upgrade`"
            )
        _check_served(connection, found)


def serves(tx: Transaction, revision: str) -> bool:
    """Whether programs of this revision may work on the present schema, which always serves its own: for a glance."""
    return tx.row(_SERVES, revision=revision) is not None


def _check_served(connection: Connection, found: str) -> None:
    """A revision that this version does not know is a newer one's, which says whom else it serves."""
    served = {revision for (revision,) in connection.execute(text("SELECT revision FROM served_revisions"))}
    if newest() not in served:
        raise DatabaseOutdated(
            f"the database is at revision {found}, of a newer version, which no longer serves this one ({newest()}): "
            "run the newer version"
        )


def _note_served(connection: Connection) -> None:
    head = ScriptDirectory.from_config(_config()).get_revision(newest())
    connection.execute(text("DELETE FROM served_revisions"))
    for revision in (newest(), *head.module.serves):
        connection.execute(text("INSERT INTO served_revisions (revision) VALUES (:revision)"), {"revision": revision})


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


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
