"""The database as the rest of the house sees it: `await database.write(use_case, …)`.

A use case is a plain function of a Transaction. It is shipped whole to a thread and runs there from BEGIN to COMMIT, so
it is never suspended at an await of its own, and a cancelled caller leaves no transaction behind.

SQLite: one connection writes and checkpoints (many writers starve each other, and two connections that checkpoint at
once met a corruption bug in most versions in use); readers are query_only. PostgreSQL: a few threads with a connection
each.

Most of what a node writes are calls and their answers, many times a second and a few milliseconds each. `write_here`
is for these: the use case is the same plain function, but runs on the event loop's thread, in which its data are at
hand. On SQLite only the commit goes to the writer's thread. On PostgreSQL, where it waits for the server, the event
loop goes on meanwhile (it is in a greenlet), with a connection of its own.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import make_url
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.util import greenlet_spawn

from orchestrator.domain.errors import CommitUnknown, DatabaseUnavailable
from orchestrator.store import sqlite_upkeep
from orchestrator.store.connections import Connections, is_lost
from orchestrator.store.dialect import Dialect
from orchestrator.store.embedded_clock import LEAST_JUMP, EmbeddedClock, shift_durations
from orchestrator.store.faults import DRIVER_ERRORS, READ_ONLY, has_stood_still, is_unavailable, sqlstate
from orchestrator.store.postgresql_connections import driver_url, opening, postgresql_engine
from orchestrator.store.reads import PREPARED
from orchestrator.store.sole_writer import SoleWriter, Steps, to_the_end
from orchestrator.store.sqlite_connections import impatient, sqlite_engine
from orchestrator.store.transaction import Clock, Transaction
from orchestrator.store.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

SERIALIZATION_TRIES = 5
# Nothing of ours that is worth waiting for takes longer.
CLOSE_SECS = 5.0
# A unique key that another transaction has taken meanwhile: tried again, the use case sees it and can say so. A
# prepared statement that the driver has dropped with its own, as it does after a rollback, is prepared again.
_NOT_PREPARED = "26000"
_RETRYABLE = frozenset({"40001", "40P01", "23505", _NOT_PREPARED})


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """`url`: sqlite:///path or postgresql://…; `pool_size`: threads with a PostgreSQL connection each.

    What is written on the event loop's thread has one more.
    """

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
    """The connection was lost before the commit had begun, or nothing was to be committed."""


class Database:
    """Runs use cases in transactions. `clock` replaces the database's clock in tests."""

    def __init__(self, options: DatabaseOptions, clock: Clock | None = None) -> None:
        self.url = options.url
        self.dialect = options.dialect
        self.pool_size = options.pool_size
        self._clock = EmbeddedClock() if clock is None and options.dialect is Dialect.SQLITE else clock
        self._connections = Connections()
        self._turns = Turns()
        self._sqlite_path = options.sqlite_path
        if self.dialect is Dialect.SQLITE:
            self._writer_engine = sqlite_engine(options.sqlite_path, query_only=False)
            self._reader_engine = sqlite_engine(options.sqlite_path, query_only=True)
            self._writers: SoleWriter | ThreadPoolExecutor = SoleWriter(self._turns)
            self._readers = ThreadPoolExecutor(2, "database-reader")
        else:
            self._writer_engine = self._reader_engine = postgresql_engine(options.url)
            self._writers = self._readers = ThreadPoolExecutor(options.pool_size, "database")

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a read-write transaction and commit; rolls back and raises what `work` raises.

        Raises DatabaseUnavailable; of that kind CommitUnknown if the connection is lost in the commit.
        """

        if isinstance(self._writers, SoleWriter):
            return await self._writers.run(
                lambda: self._transact(self._writer_engine, lambda tx: work(tx, *args, **kwargs))
            )
        return await self._run(self._writers, self._writer_engine, lambda tx: work(tx, *args, **kwargs))

    async def write_here(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, on the event loop's thread: for what takes no more than some milliseconds, and is written often.

        One after the other, as what is written here shares a connection: so it must not wait for others' locks either,
        if what comes after it cannot wait.
        """

        def ready(tx: Transaction) -> T:
            return work(tx, *args, **kwargs)

        if isinstance(self._writers, SoleWriter):
            return await self._writers.run_here(
                self._impatiently(ready), lambda: self._transact(self._writer_engine, ready)
            )
        return await self._turns.take(lambda: greenlet_spawn(self._transact, self._writer_engine, ready))

    async def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work`, which does not write; on PostgreSQL each statement is a transaction, unless it asks for one."""
        return await self._run(self._readers, self._reader_engine, lambda tx: work(tx, *args, **kwargs), writes=False)

    async def tend(self) -> bool:
        """Do a bit of what keeps the database in shape; True if there is more to do."""
        if not isinstance(self._writers, SoleWriter):
            # Autovacuum does it.
            return False
        return await self._writers.run(self._tend_file)

    async def close(self) -> None:
        """Wait for the transactions in progress, to PostgreSQL for CLOSE_SECS at most; then close every connection.

        Nothing is begun any more.
        """
        loop = asyncio.get_running_loop()
        is_remote = self.dialect is Dialect.POSTGRESQL
        impatience = loop.call_later(CLOSE_SECS, self._connections.hang_up) if is_remote else None
        try:
            await self._turns.close()
            for threads in (self._readers, self._writers):
                await loop.run_in_executor(None, threads.shutdown)
        finally:
            if impatience is not None:
                impatience.cancel()
        await loop.run_in_executor(None, self._close)

    async def _run(
        self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Transaction], T], *, writes: bool = True
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._transact, engine, work, writes)

    def _transact(self, engine: Engine, work: Callable[[Transaction], T], writes: bool = True) -> T:
        return to_the_end(self._steps(engine, work, writes))

    def _impatiently(self, work: Callable[[Transaction], T]) -> Steps[T]:
        """On the embedded database, without waiting for a stranger who has locked it; then it is unavailable."""
        try:
            raw = self._driver_connection()
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable(f"the database cannot be opened: {error}") from error
        with impatient(raw):
            steps = self._steps(self._writer_engine, work, writes=True)
            next(steps)
        yield
        return to_the_end(steps)

    def _steps(self, engine: Engine, work: Callable[[Transaction], T], writes: bool) -> Steps[T]:
        stood_still = False
        for tries_left in reversed(range(SERIALIZATION_TRIES)):
            try:
                connection = self._connection(engine)
                if engine is self._writer_engine:
                    self._follow_clock(connection)
                return (yield from self._try(connection, work, writes=writes, stood_still=stood_still))
            except _ConnectionLost as lost:
                stood_still |= has_stood_still(lost)
                # Cut while it was idle, as by a restart of the database: nothing was committed, and a new one may do.
                if not tries_left:
                    raise DatabaseUnavailable(f"the database is not available: {lost.__cause__}") from lost
            except DRIVER_ERRORS as error:
                if sqlstate(error) in _RETRYABLE and tries_left:
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
                to_the_end(self._try(connection, lambda tx: shift_durations(tx, jump), writes=True))
            self._clock.follow(jump)

    def _try(
        self, connection: Connection, work: Callable[[Transaction], T], *, writes: bool, stood_still: bool = False
    ) -> Steps[T]:
        transaction: Transaction | None = None
        is_committing = False
        try:
            with connection.begin():
                begin = self._opening(connection, writes=writes, stood_still=stood_still)
                transaction = Transaction(connection, self.dialect, self._clock, begin)
                try:
                    result = work(transaction)
                    transaction.finish()
                except asyncio.CancelledError:
                    # In the middle of an exchange with the server, in which a rollback has no place.
                    connection.invalidate()
                    raise
                is_committing = True
                yield
            return result
        except asyncio.CancelledError:
            self._connections.drop(connection)
            raise
        except DRIVER_ERRORS as error:
            if is_committing and self.dialect is Dialect.SQLITE:
                # SQLAlchemy thinks that it is over, and SQLite goes on with what it could not commit.
                self._driver_connection().rollback()
            if self._drop_if_broken(connection):
                # Who stood still before the commit was rolled back, which is certain.
                if is_committing and writes and not has_stood_still(error):
                    raise CommitUnknown(f"the connection to the database was lost in the commit: {error}") from error
                raise _ConnectionLost from error
            if sqlstate(error) == _NOT_PREPARED:
                connection.info[PREPARED].forget()
            if sqlstate(error) == READ_ONLY:
                # A standby, since a failover: the next connection may find the new primary, this one never will.
                self._connections.drop(connection)
            raise
        finally:
            if transaction is not None and not connection.closed:
                transaction.close()

    def _opening(self, connection: Connection, *, writes: bool, stood_still: bool) -> str | None:
        if self.dialect is Dialect.SQLITE:
            return None
        return opening(connection, writes=writes, has_stood_still=stood_still)

    def _tend_file(self) -> bool:
        try:
            return sqlite_upkeep.tend(self._driver_connection(), self._sqlite_path)
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"the database is not available: {error}") from error

    def _driver_connection(self) -> sqlite3.Connection:
        """The embedded database's one that writes."""
        raw = self._connections.get_writer(self._writer_engine).connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def _connection(self, engine: Engine) -> Connection:
        is_sole_writer = self.dialect is Dialect.SQLITE and engine is self._writer_engine
        return self._connections.get_writer(engine) if is_sole_writer else self._connections.get(engine)

    def _drop_if_broken(self, connection: Connection) -> bool:
        """Let go of a connection to PostgreSQL that was lost; True if it was."""
        if self.dialect is Dialect.SQLITE or not is_lost(connection):
            return False
        self._connections.drop(connection)
        return True

    def _close(self) -> None:
        self._connections.close()
        self._reader_engine.dispose()
        self._writer_engine.dispose()
