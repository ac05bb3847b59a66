"""Whole tables: read out of one database and written into another, row by row, in bounded memory.

Each side is one transaction. What was written is on disk when it commits, all of it, and before that nothing is.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from time import monotonic, sleep
from typing import Any

import orjson
import psycopg
from psycopg import sql
from sqlalchemy import Boolean, Table, create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from orchestrator.domain.errors import Conflict, DatabaseBusy, DatabaseUnavailable
from orchestrator.store import nodes, tables, tables_callbacks, tables_events, tables_executions, tables_records
from orchestrator.store.clock import to_micros
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.faults import DRIVER_ERRORS, is_unavailable
from orchestrator.store.postgresql_connections import APPLICATION_NAME
from orchestrator.store.postgresql_network import network_timeouts
from orchestrator.store.sqlite_connections import sqlite_engine
from orchestrator.store.transaction import Transaction

FILLED = (
    tables,
    tables_callbacks,
    tables_events,
    tables_executions,
    tables_records,
)  # importing them is what fills the metadata
LOCK_PATIENCE_SECS = 5
# A connection that was closed a moment ago is seen until its process has ended.
LEAVING_SECS = 2.0
NO_NODE = ""
_DIGEST_BYTES = 16
_DIGESTS = 2 ** (8 * _DIGEST_BYTES)
# A copy takes as long as it takes; nobody waits for its locks but those that it means to keep out.
_UNHURRIED = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c synchronous_commit=on"

_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"""
_COLUMN_TYPES = """
SELECT attname, atttypid FROM pg_attribute
 WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped"""

# Another role's tables, or a standby.
_FORBIDDEN = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)

Row = tuple[Any, ...]


# What is true of a database itself: the processes that use it, the programs that its schema serves.
OF_THE_DATABASE = frozenset({"nodes", "served_revisions"})


def all_tables() -> list[str]:
    """The name of every table that is copied, those that are referred to before those that refer to them."""
    return [table.name for table in SQLModel.metadata.sorted_tables if table.name not in OF_THE_DATABASE]


@dataclass(slots=True)
class Tally:
    """How many rows went by, and the sum of their digests: alike for the same rows in any order."""

    rows: int = 0
    digest: int = 0

    def add(self, row: Row) -> None:
        digest = blake2b(orjson.dumps(row), digest_size=_DIGEST_BYTES).digest()
        self.digest = (self.digest + int.from_bytes(digest)) % _DIGESTS
        self.rows += 1


class Side(ABC):
    """One end of a copy, in a transaction of its own. `name` is what errors call it: source or target."""

    def __init__(self, connection: Connection, dialect: Dialect, name: str) -> None:
        self.name = name
        self.tx = Transaction(connection, dialect, None)
        self._raw: Any = connection.connection.driver_connection

    def count(self, table: str) -> int:
        """How many rows a table has."""
        with explained(self.name):
            [(rows,)] = self.tx.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of ours
            return int(rows)

    @contextmanager
    def rows(self, table: str) -> Iterator[Iterator[Row]]:
        """Every row of a table in no particular order, its columns in the metadata's, with the same values on both
        databases. Reading raises DatabaseUnavailable.
        """
        # A COPY that nobody reads to its end must be closed, or the rollback waits for it for ever.
        with closing(self._explained_rows(table)) as rows:
            yield rows

    def put(self, table: str, rows: Iterable[Row]) -> None:
        """Write rows as `rows` gives them. Raises Conflict if the database refuses one, DatabaseUnavailable."""
        with explained(self.name, table):
            self._put(SQLModel.metadata.tables[table], rows)

    def _explained_rows(self, table: str) -> Generator[Row, None, None]:
        with explained(self.name):
            yield from self._rows(SQLModel.metadata.tables[table])

    @abstractmethod
    def keep_still(self, fresh: timedelta) -> None:
        """Let nobody write until the end of this transaction.

        Raises DatabaseBusy if somebody does, or if a node has given a sign of life no longer than `fresh` ago.
        """

    @abstractmethod
    def settle(self) -> None:
        """After the last `put`: new rows get keys above those that were written, and the planner knows the tables."""

    @abstractmethod
    def _rows(self, table: Table) -> Generator[Row, None, None]: ...

    @abstractmethod
    def _put(self, table: Table, rows: Iterable[Row]) -> None: ...


class SqliteSide(Side):
    """The embedded database; its file lock, which the caller holds, keeps every server out."""

    def keep_still(self, fresh: timedelta) -> None:
        """The file lock does."""

    def settle(self) -> None:
        """SQLite goes on from the largest key by itself, and plans as it does without statistics."""

    def _rows(self, table: Table) -> Generator[Row, None, None]:
        booleans = [place for place, column in enumerate(table.columns) if isinstance(column.type, Boolean)]
        with closing(self._raw.cursor()) as cursor:
            cursor.execute(f"SELECT {_columns(table)} FROM {table.name}")  # noqa: S608 - names of ours
            if not booleans:
                yield from cursor
                return
            for row in cursor:
                values = list(row)
                for place in booleans:
                    values[place] = None if row[place] is None else bool(row[place])
                yield tuple(values)

    def _put(self, table: Table, rows: Iterable[Row]) -> None:
        places = ", ".join("?" * len(table.columns))
        with closing(self._raw.cursor()) as cursor:
            cursor.executemany(f"INSERT INTO {table.name} ({_columns(table)}) VALUES ({places})", rows)  # noqa: S608


class PostgresSide(Side):
    """PostgreSQL, through COPY."""

    def keep_still(self, fresh: timedelta) -> None:
        names = ", ".join(all_tables())
        with explained(self.name):
            self.tx.run(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE_SECS}s'")
            # Readers may go on. This comes first: the snapshot is taken when nobody writes any more.
            self.tx.run(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
            alive = nodes.others(self.tx, NO_NODE, to_micros(self.tx.now() - fresh))
            connections = server_connections(self.tx, LEAVING_SECS if not alive else 0.0)
        if connections:
            raise DatabaseBusy(f"{connections} connections of a running server are open to the {self.name}")
        if alive:
            # Its connections may have another name than ours have by default.
            raise DatabaseBusy(
                f"nodes that gave the {self.name} a sign of life within the last {fresh.total_seconds():g} s, "
                f"and have not stopped: {alive}"
            )

    def settle(self) -> None:
        with explained(self.name):
            for table in SQLModel.metadata.sorted_tables:
                key = table.autoincrement_column
                if key is not None:
                    # setval(…, false): this very number comes next.
                    self.tx.rows(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'),"  # noqa: S608
                        f" coalesce(max({key.name}), 0) + 1, false) FROM {table.name}"
                    )
                self.tx.run(f"ANALYZE {table.name}")

    def _rows(self, table: Table) -> Generator[Row, None, None]:
        statement = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT BINARY)").format(*_identifiers(table))
        types = self._types(table)
        with closing(self._raw.cursor()) as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            yield from copy.rows()

    def _put(self, table: Table, rows: Iterable[Row]) -> None:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(*_identifiers(table))
        types = self._types(table)
        with closing(self._raw.cursor()) as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def _types(self, table: Table) -> list[int]:
        """The type of each column, as binary COPY must be told."""
        known = dict(self.tx.rows(_COLUMN_TYPES, table=table.name))
        return [known[column.name] for column in table.columns]


def server_connections(tx: Transaction, patience_secs: float) -> int:
    """How many connections of running servers PostgreSQL sees on this database, and goes on seeing; not this one."""
    until = monotonic() + patience_secs
    while True:
        tx.rows("SELECT pg_stat_clear_snapshot()")
        [(connections,)] = tx.rows(_CONNECTIONS, name=APPLICATION_NAME)
        if not connections or monotonic() >= until:
            return int(connections)
        sleep(0.02)


@contextmanager
def opened(options: DatabaseOptions, name: str, *, for_writing: bool) -> Iterator[Side]:
    """One end of a copy: committed when the block ends, rolled back if it raises. Raises DatabaseUnavailable."""
    make: type[SqliteSide | PostgresSide] = SqliteSide
    if options.dialect is Dialect.POSTGRESQL:
        make, engine = PostgresSide, _unhurried_engine(options)
    else:
        engine = sqlite_engine(options.sqlite_path, query_only=not for_writing)
    try:
        with explained(name), engine.begin() as connection:
            side = make(connection, options.dialect, name)
            try:
                yield side
                side.tx.finish()
            finally:
                side.tx.close()
    finally:
        engine.dispose()


@contextmanager
def explained(name: str, table: str = "") -> Iterator[None]:
    """Say in the words of our errors what the driver of a side refuses, and where."""
    try:
        yield
    except DRIVER_ERRORS as error:
        original = getattr(error, "orig", None) or error
        if isinstance(original, psycopg.errors.LockNotAvailable):
            raise DatabaseBusy(f"somebody is writing to the {name}") from error
        if isinstance(original, _FORBIDDEN):
            raise Conflict(f"the {name} does not allow what a copy does: {original}") from error
        if is_unavailable(error):
            raise DatabaseUnavailable(f"the {name} is not available: {original}") from error
        if table and isinstance(original, psycopg.DataError | psycopg.IntegrityError | sqlite3.IntegrityError):
            raise Conflict(f"the {name} refuses a row of {table}: {original}") from error
        raise


def _unhurried_engine(options: DatabaseOptions) -> Engine:
    # One snapshot for all tables.
    connect_args: dict[str, Any] = {"options": _UNHURRIED, "application_name": f"{APPLICATION_NAME}-copy"}
    connect_args |= network_timeouts(options.url)
    return create_engine(
        options.driver_url, poolclass=NullPool, isolation_level="REPEATABLE READ", connect_args=connect_args
    )


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


def _identifiers(table: Table) -> tuple[sql.Composable, sql.Composable]:
    names = [sql.Identifier(column.name) for column in table.columns]
    return sql.Identifier(table.name), sql.SQL(", ").join(names)
