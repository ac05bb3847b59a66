"""The schema's version: Alembic migrations, run by `orchestrator db upgrade` and, when embedded, by the server.

A migration only adds what the version before does without (expand); what that one still needs is removed a version
later (contract). So it lists in `serves` the revisions whose programs may go on working, and may start, on its schema:
nodes of two versions share a database while they are replaced one by one.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from orchestrator.domain.errors import DatabaseOutdated, DatabaseUnavailable
from orchestrator.store import sqlite_upkeep
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.faults import sqlstate
from orchestrator.store.postgresql_connections import plain_engine
from orchestrator.store.transaction import Transaction

NEWEST = "0001"
"""The revision that this version of the program works with: that of the last script in `migrations`."""

# A statement of ours waits no longer than 10 s for a lock, and must find the one before it gone by then.
LOCK_PATIENCE_MS = 2_000
LOCK_TRIES = 10
PAUSE_SECS = 2.0
_LOCK_NOT_AVAILABLE = "55P03"
_SERVES = "SELECT 1 FROM served_revisions WHERE revision = :revision"


class _LockedOut(DatabaseUnavailable):
    """Others hold a lock that the work needs."""


def upgrade(options: DatabaseOptions) -> None:
    """Bring the schema to this version's; safe to run again. Raises DatabaseUnavailable, DatabaseOutdated.

    A newer schema that serves this version too is left as it is. On PostgreSQL, where nodes go on meanwhile, it gives
    way when it does not get a lock, and tries again: whoever comes after would queue behind it.
    """
    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            _upgrade(options)
        except _LockedOut:
            if not tries_left:
                raise
            time.sleep(PAUSE_SECS)
        else:
            return


def _upgrade(options: DatabaseOptions) -> None:
    with connected(options) as connection:
        if options.dialect is Dialect.POSTGRESQL:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE_MS}ms'"))
        found = _revision(connection)
        if found == NEWEST:
            return
        # Alembic takes a tenth of a start, and most starts have nothing to migrate.
        from orchestrator.store import migration_scripts  # noqa: PLC0415

        if found is None or found in migration_scripts.known():
            migration_scripts.run(connection)
        else:
            _check_served(connection, found)


def current(options: DatabaseOptions) -> str | None:
    """The revision that the database is at; None for an empty one. Raises DatabaseUnavailable."""
    with connected(options) as connection:
        return _revision(connection)


def check(options: DatabaseOptions, *, whole: bool = False) -> None:
    """Raises DatabaseOutdated unless the database is at this version's revision, or at one that serves it too.

    `whole`: the work takes every column there is, so a newer schema that serves this version will not do.
    """
    with connected(options) as connection:
        found = _revision(connection)
        if found == NEWEST:
            return
        from orchestrator.store import migration_scripts  # noqa: PLC0415 - as in `_upgrade`

        if found is None or found in migration_scripts.known():
            raise DatabaseOutdated(
                f"the database is at revision {found or 'none'}, this version needs {NEWEST}: "
                "run `orchestrator db upgrade`"
            )
        if whole:
            raise DatabaseOutdated(
                f"the database is at revision {found}, of a newer version, and this one ({NEWEST}) does not know all "
                "that is in it: run the newer version"
            )
        _check_served(connection, found)


def serves(tx: Transaction, revision: str) -> bool:
    """Whether programs of this revision may work on the present schema, which always serves its own: for a glance."""
    return tx.row(_SERVES, revision=revision) is not None


def _check_served(connection: Connection, found: str) -> None:
    """A revision that this version does not know is a newer one's, which says whom else it serves."""
    served = {revision for (revision,) in connection.execute(text("SELECT revision FROM served_revisions"))}
    if NEWEST not in served:
        raise DatabaseOutdated(
            f"the database is at revision {found}, of a newer version, which no longer serves this one ({NEWEST}): "
            "run the newer version"
        )


def _revision(connection: Connection) -> str | None:
    """What Alembic has noted; None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def connected(options: DatabaseOptions) -> Iterator[Connection]:
    """A connection in a transaction of its own, for work on the schema. Raises DatabaseUnavailable."""
    engine = plain_engine(options.url) if options.dialect is Dialect.POSTGRESQL else _sqlite_engine(options)
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        if sqlstate(error) == _LOCK_NOT_AVAILABLE:
            raise _LockedOut(
                "another transaction holds a lock that the change of the schema needs, and nothing was changed: look "
                "for a long one in pg_stat_activity, and try again"
            ) from error
        raise DatabaseUnavailable(f"the database is not available: {error.orig}") from error
    finally:
        engine.dispose()


def _sqlite_engine(options: DatabaseOptions) -> Engine:
    options.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(options.url, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def configure(raw: sqlite3.Connection, _record: object) -> None:
        # By itself the driver commits each change of the schema alone: a start that is cut off would leave half of it.
        raw.isolation_level = None
        raw.execute("PRAGMA synchronous = FULL")
        sqlite_upkeep.prepare_new_file(raw)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
