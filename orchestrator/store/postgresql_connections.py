"""Connections to PostgreSQL: their timeouts, and what a pooler between us and it must be spared.

A pooler in transaction mode lends its connections to one client after the other. It refuses unknown start-up
parameters, what is SET for a session meets somebody else's next transaction, and a prepared statement may be missing
on the next connection, or be another client's. It is known by the backend's pid, which is not the one that the
connection was told. Then the timeouts are set in each transaction, and nothing is prepared.
"""

from typing import Any

import psycopg
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from orchestrator.store.postgresql_network import BoundedConnection, network_timeouts
from orchestrator.store.reads import PREPARED, Prepared

# What PostgreSQL shows of a server's connections; `db copy` looks for it.
APPLICATION_NAME = "orchestrator"

# A transaction is a few milliseconds; whatever is near one of these is stuck, and holds up others. A commit that was
# acknowledged has reached the disk, whatever the server's own setting is. A node that stands still (a stopped process,
# a machine on the move) must not hold up all others with the rows that it has locked: its transaction is ended
# soon, and done again when it wakes up. It has more time then, since it may be the use case that is slow.
_SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "2s",
    "synchronous_commit": "on",
    # A plan kept since a table had twenty rows walks over the 200,000 that it has now, until autovacuum comes by.
    "plan_cache_mode": "force_custom_plan",
}
MORE_TIME = "SET LOCAL idle_in_transaction_session_timeout = '15s'"
_SET = "; ".join(f"SET {name} = '{value}'" for name, value in _SETTINGS.items())
_SET_LOCAL = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items())


def postgresql_engine(url: str) -> Engine:
    """An engine for a postgresql:// URL whose connections cannot be stuck for long."""
    engine = plain_engine(url)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, parameters: Any) -> BoundedConnection:
        return BoundedConnection.connect(*arguments, **parameters)

    @event.listens_for(engine, "connect")
    def configure(raw: Any, record: Any) -> None:
        is_pooled = _is_pooled(raw)
        record.info[PREPARED] = Prepared(is_kept=not is_pooled)
        if is_pooled:
            raw.prepare_threshold = None
        else:
            raw.execute(_SET, prepare=False)
        raw.commit()
        # Whoever needs a transaction says so with its first statement: `opening`.
        raw.autocommit = True

    return engine


def opening(connection: Connection, *, writes: bool, has_stood_still: bool = False) -> str | None:
    """What a transaction begins with; None where it needs none, since it only reads, and each statement for itself."""
    words = ["BEGIN"] if writes else []
    if not connection.info[PREPARED].is_kept:
        words = ["BEGIN", _SET_LOCAL]
    if has_stood_still:
        words = ["BEGIN", *words[1:], MORE_TIME]
    return "; ".join(words) or None


def plain_engine(url: str) -> Engine:
    """An engine for work on the schema, which may take its time."""
    return create_engine(
        driver_url(url),
        poolclass=NullPool,
        connect_args={"fallback_application_name": APPLICATION_NAME, **network_timeouts(url)},
    )


def driver_url(url: str) -> str:
    """A postgresql:// URL as SQLAlchemy takes it."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _is_pooled(raw: psycopg.Connection[Any]) -> bool:
    found = raw.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return found is None or found[0] != raw.info.backend_pid
