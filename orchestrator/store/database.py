"""The database as the rest of the house sees it: `await database.write(use_case, …)`.

A use case is a plain function of a Transaction. It is shipped whole to a thread and runs there from BEGIN to COMMIT,
so no transaction is ever held across an await, and a cancelled caller leaves none behind.

SQLite: one thread writes and checkpoints, with one connection (many writers starve each other, and two connections
that checkpoint at once met a corruption bug in most versions in use); readers are query_only. PostgreSQL: a few
threads with a connection each.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store import sqlite_upkeep
from orchestrator.store.dialect import Dialect
from orchestrator.store.embedded_clock import LEAST_JUMP, EmbeddedClock, shift_durations
from orchestrator.store.postgresql_connections import driver_url, postgresql_engine
from orchestrator.store.transaction import Clock, Transaction

P = ParamSpec("P")
T = TypeVar("T")

SERIALIZATION_TRIES = 5
# A unique key that another transaction has taken meanwhile: tried again, the use case sees it and can say so.
_RETRYABLE = frozenset({"40001", "40P01", "23505"})
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
DRIVER_ERRORS = (DBAPIError, psycopg.Error, sqlite3.Error)
# Connection, resources, object in use, operator intervention, system error: the data are not to blame.
_UNAVAILABLE_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """`url`: sqlite:///path or postgresql://…; `pool_size`: PostgreSQL connections of this process."""

    url: str
    pool_size: int = 6

    @property
    def dialect(self) -> Dialect:
        return Dialect.SQLITE if self.url.startswith("sqlite:") else Dialect.POSTGRESQL

    @property
    def driver_url(self) -> str:
        """The URL as SQLAlchemy takes it."""
        return driver_url(self.url)

    @property
    def shown_url(self) -> str:
        """The URL as it may be printed: without its password."""
        url = make_url(self.url)
        if url.password is None and "password" not in url.query:
            return self.url
        return url.difference_update_query(["password"]).render_as_string(hide_password=True)

    @property
    def sqlite_path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))


class _ConnectionLost(Exception):
    """The connection was lost before the commit had begun."""


class Database:
    """Runs use cases in transactions. `clock` replaces the database's clock in tests."""

    def __init__(self, options: DatabaseOptions, clock: Clock | None = None) -> None:
        self.url = options.url
        self.dialect = options.dialect
        self._clock = EmbeddedClock() if clock is None and options.dialect is Dialect.SQLITE else clock
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._sqlite_path = options.sqlite_path
        self._opening = threading.Lock()
        if self.dialect is Dialect.SQLITE:
            self._writer_engine = sqlite_engine(options, query_only=False)
            self._reader_engine = sqlite_engine(options, query_only=True)
            self._writers = ThreadPoolExecutor(1, "database-writer")
            self._readers = ThreadPoolExecutor(2, "database-reader")
        else:
            self._writer_engine = self._reader_engine = postgresql_engine(options.url)
            self._writers = self._readers = ThreadPoolExecutor(options.pool_size, "database")

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a read-write transaction and commit; rolls back and raises what `work` raises."""
        return await self._run(self._writers, self._writer_engine, lambda tx: work(tx, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction of its own that does not write."""
        return await self._run(self._readers, self._reader_engine, lambda tx: work(tx, *args, **kwargs))

    async def tend(self) -> bool:
        """Do a bit of what keeps the database in shape; True if there is more to do."""
        if self.dialect is Dialect.POSTGRESQL:
            # Autovacuum does it.
            return False
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._tend_file)

    async def close(self) -> None:
        """Wait for the transactions in progress, then close every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    async def _run(self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Transaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._transact, engine, work)

    def _transact(self, engine: Engine, work: Callable[[Transaction], T]) -> T:
        for tries_left in reversed(range(SERIALIZATION_TRIES)):
            try:
                connection = self._connection(engine)
                if engine is self._writer_engine:
                    self._follow_clock(connection)
                return self._try(connection, work)
            except _ConnectionLost as lost:
                # Cut while it was idle, as by a restart of the database: nothing was committed, and a new one may do.
                if not tries_left:
                    raise DatabaseUnavailable(f"the database is not available: {lost.__cause__}") from lost
            except DRIVER_ERRORS as error:
                if _sqlstate(error) in _RETRYABLE and tries_left:
                    continue
                if is_unavailable(error):
                    raise DatabaseUnavailable(f"the database is not available: {error}") from error
                raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _follow_clock(self, connection: Connection) -> None:
        """Let the embedded database's durations go on as before when the wall clock was set."""
        if isinstance(self._clock, EmbeddedClock):
            jump = self._clock.jump()
            if abs(jump) >= LEAST_JUMP:
                self._try(connection, lambda tx: shift_durations(tx, jump))
            self._clock.follow(jump)

    def _try(self, connection: Connection, work: Callable[[Transaction], T]) -> T:
        transaction: Transaction | None = None
        is_committing = False
        try:
            with connection.begin():
                transaction = Transaction(connection, self.dialect, self._clock)
                result = work(transaction)
                transaction.finish()
                is_committing = True
            return result
        except DRIVER_ERRORS as error:
            if self._drop_if_broken(connection) and not is_committing:
                raise _ConnectionLost from error
            raise
        finally:
            if transaction is not None and not connection.closed:
                transaction.close()

    def _tend_file(self) -> bool:
        raw = self._connection(self._writer_engine).connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        try:
            return sqlite_upkeep.tend(raw, self._sqlite_path)
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"the database is not available: {error}") from error

    def _connection(self, engine: Engine) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = engine.connect()
            with self._opening:
                self._connections.append(connection)
        return connection

    def _drop_if_broken(self, connection: Connection) -> bool:
        """Let go of a connection to PostgreSQL that was lost; True if it was."""
        if self.dialect is Dialect.SQLITE or not _is_lost(connection):
            return False
        self._local.connection = None
        with self._opening:
            self._connections.remove(connection)
        connection.invalidate()
        connection.close()
        return True

    def _close(self) -> None:
        self._readers.shutdown()
        self._writers.shutdown()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._reader_engine.dispose()
        self._writer_engine.dispose()


def _is_lost(connection: Connection) -> bool:
    # Asked for its driver's connection, one that SQLAlchemy has given up would open a new one.
    if connection.closed or connection.invalidated:
        return True
    raw = connection.connection.driver_connection
    return not isinstance(raw, psycopg.Connection) or raw.broken or raw.closed


def _sqlstate(error: Exception) -> str | None:
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def is_unavailable(error: Exception) -> bool:
    """Whether the database is away, full or overloaded, rather than the data or the statement wrong."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.OperationalError):
        # Without a code from the file system or the locks it is our own SQL that is wrong.
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNAVAILABLE
    sqlstate = _sqlstate(error)
    if sqlstate is None:
        return isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)
    return sqlstate[:2] in _UNAVAILABLE_CLASSES


def sqlite_engine(options: DatabaseOptions, *, query_only: bool) -> Engine:
    """Connections to the embedded database, set up as the server needs them."""
    engine = create_engine(
        f"sqlite:///{options.sqlite_path}", poolclass=NullPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: object) -> None:
        # The driver must not open transactions by itself: BEGIN IMMEDIATE below is the one way in.
        raw.isolation_level = None
        for pragma in _sqlite_pragmas(query_only):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once with SQLITE_BUSY_SNAPSHOT.
        connection.exec_driver_sql("BEGIN" if query_only else "BEGIN IMMEDIATE")

    return engine


def _sqlite_pragmas(query_only: bool) -> list[str]:
    pragmas = [
        # Whatever the library was built with.
        "synchronous = FULL",
        f"busy_timeout = {sqlite_upkeep.BUSY_TIMEOUT_MS}",
        "foreign_keys = ON",
        "cache_size = -65536",
        "temp_store = MEMORY",
    ]
    if query_only:
        return [*pragmas, "query_only = ON"]
    size_limit = f"journal_size_limit = {sqlite_upkeep.LARGE_WAL_BYTES}"
    return ["journal_mode = WAL", size_limit, *pragmas]
