"""Connections to the embedded database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from orchestrator.store import sqlite_upkeep


def sqlite_engine(path: Path, *, query_only: bool) -> Engine:
    """An engine whose connections are set up as the server needs them; `query_only` refuses to write."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        # Room for every text that `row_sets` makes of a statement, beside all others.
        connect_args={"check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: object) -> None:
        # The driver must not open transactions by itself: BEGIN IMMEDIATE below is the one way in.
        raw.isolation_level = None
        for pragma in _sqlite_pragmas(query_only):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once with SQLITE_BUSY_SNAPSHOT. Straight to the
        # driver: this is said with every commit, and SQLAlchemy's way takes a third of a millisecond.
        raw: Any = connection.connection.driver_connection
        raw.execute("BEGIN" if query_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def impatient(raw: sqlite3.Connection) -> Iterator[None]:
    """Let the connection fail at once where another one has locked the database."""
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {sqlite_upkeep.BUSY_TIMEOUT_MS}")


def _sqlite_pragmas(query_only: bool) -> list[str]:
    pragmas = [
        # Whatever the library was built with.
        "synchronous = FULL",
        f"busy_timeout = {sqlite_upkeep.BUSY_TIMEOUT_MS}",
        "foreign_keys = ON",
        # In KiB, for each of the three connections. The system's cache is behind it: four times as much gained nothing.
        "cache_size = -16384",
        "temp_store = MEMORY",
    ]
    if query_only:
        return [*pragmas, "query_only = ON"]
    size_limit = f"journal_size_limit = {sqlite_upkeep.LARGE_WAL_BYTES}"
    return ["journal_mode = WAL", size_limit, *pragmas]
