"""A transaction in progress: statements through the driver where it is hot, the ORM's session elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic
from typing import Any

import orjson
from sqlalchemy.engine import Connection
from sqlmodel import Session, SQLModel

from orchestrator.store.clock import from_micros
from orchestrator.store.dialect import Dialect, as_one_row, bind, translate
from orchestrator.store.postgresql_connections import MORE_TIME
from orchestrator.store.reads import INSTANT, PREPARED, Prepared, Read
from orchestrator.store.row_sets import row_set, together

Clock = Callable[[], datetime]

_DATABASE_NOW = f"SELECT {INSTANT}"
# Who only reads holds up nobody, and may take its time.
_FREEZE = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;{MORE_TIME}"


class Transaction:
    """What a use case works with, between BEGIN and COMMIT if it writes; it is never shared."""

    def __init__(
        self, connection: Connection, dialect: Dialect, clock: Clock | None, opening: str | None = None
    ) -> None:
        """`opening`: what PostgreSQL is told with the first statement; None where each is a transaction of its own."""
        self._connection = connection
        self._cursor = connection.connection.cursor()
        self._clock = clock
        self._read_at: datetime | None = None
        self._asked_at = self._heard_at = 0.0
        self._opening = opening
        self._is_block = opening is not None
        self._has_read = False
        self._put_off: list[tuple[str, Sequence[Mapping[str, Any]]]] = []
        self.dialect = dialect

    @property
    def session(self) -> Session:
        """The ORM on this transaction's connection, for everything that is not hot."""
        self._open()
        self.settle()
        return self._session

    @cached_property
    def _session(self) -> Session:
        return Session(bind=self._connection, autoflush=False, expire_on_commit=False)

    def put(self, row: SQLModel) -> None:
        """Write a new or changed row of the ORM now, so that its key is known and the statements below see it."""
        self.session.add(row)
        self.session.flush()

    def drop(self, row: SQLModel) -> None:
        """Delete a row of the ORM now."""
        self.session.delete(row)
        self.session.flush()

    def now(self) -> datetime:
        """The present instant by the one clock that counts: the database's, or on SQLite this machine's."""
        if self._clock is not None:
            return self._clock()
        if self.dialect is Dialect.SQLITE:
            return datetime.now(UTC)
        self.settle()
        self._execute(_DATABASE_NOW)
        return from_micros(self._cursor.fetchone()[0])  # type: ignore[index]

    def read_at(self) -> datetime:
        """When a timed read last found rows, which spares asking for the present instant; else that."""
        if self._read_at is None or self._clock is not None:
            return self.now()
        return self._read_at

    def to_monotonic(self, instant: datetime) -> float:
        """What this machine's `time.monotonic` shows then, in seconds; never too early.

        Too late by as much as the answer took to come here.
        """
        if self._read_at is None or self._clock is not None:
            left = instant - self.now()
            return monotonic() + left.total_seconds()
        return self._heard_at + (instant - self._read_at).total_seconds()

    def from_monotonic(self, secs: float) -> datetime:
        """When this machine's `time.monotonic` showed that; never too early.

        Too late by as long as the database took to read, with what it waited for locks.
        """
        if self._read_at is None or self._clock is not None:
            ago = monotonic() - secs
            return self.now() - timedelta(seconds=ago)
        return self._read_at - timedelta(seconds=self._asked_at - secs)

    def read(self, *reads: Read) -> None:
        """Run them in order, each seeing what was committed by its turn unless frozen; PostgreSQL gets them at once."""
        if self.dialect is Dialect.SQLITE:
            for read in reads:
                found = self._rows_at_once if read.at_once else self.rows
                read.rows = list(found(read.sql, **read.parameters))
            return
        self.settle()
        prepared: Prepared = self._connection.info.setdefault(PREPARED, Prepared(is_kept=False))
        text = prepared.query(reads, is_first=not (self._has_read and self._is_block))
        if self._opening is not None:
            text, self._opening = f"{self._opening};{text}", None
        self._has_read = True
        asked_at = monotonic()
        self._cursor.execute(text, prepare=False)  # type: ignore[call-arg]
        for read in reads:
            # What was begun, set or prepared has no rows.
            while not self._cursor.description and self._cursor.nextset():
                pass
            read.rows = self._cursor.fetchall()  # type: ignore[assignment]
            self._cursor.nextset()
            if read.is_timed:
                self._note_instant(read, asked_at)

    def _note_instant(self, read: Read, asked_at: float) -> None:
        if read.rows:
            # The clock was asked for each row once it was locked: with the last one, all of them were.
            self._read_at = from_micros(read.rows[-1][-1])
            self._asked_at, self._heard_at = asked_at, monotonic()
        read.rows = [row[:-1] for row in read.rows]

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows (SELECT, or RETURNING)."""
        self.settle()
        self._execute(translate(sql, self.dialect), bind(parameters, self.dialect))
        return self._cursor.fetchall()  # type: ignore[return-value]

    def _rows_at_once(self, sql: str, **parameters: Any) -> list[Sequence[Any]]:
        """SQLite's driver then waits for the interpreter's lock once, and not once for each row."""
        self._cursor.execute(as_one_row(sql), bind(parameters, self.dialect))
        found: list[Sequence[Any]] = orjson.loads(self._cursor.fetchone()[0])  # type: ignore[index]
        return found

    def row(self, sql: str, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a statement, or None."""
        found = self.rows(sql, **parameters)
        return found[0] if found else None

    def run(self, sql: str, **parameters: Any) -> int:
        """Run a statement; returns how many rows it wrote."""
        self.settle()
        self._execute(translate(sql, self.dialect), bind(parameters, self.dialect))
        return self._cursor.rowcount

    def run_many(self, sql: str, rows: Sequence[dict[str, Any]]) -> int:
        """Run a statement once for each of `rows`, in one go; returns how many rows it wrote in all."""
        if not rows:
            return 0
        self.settle()
        self._open()
        self._cursor.executemany(translate(sql, self.dialect), rows)
        return self._cursor.rowcount

    def run_all(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run a statement over `:rows` (`store.row_sets`); returns how many rows it wrote in all."""
        if not rows:
            return 0
        if self.dialect is Dialect.POSTGRESQL:
            statements, self._put_off = [*self._put_off, (sql, rows)], []
            self._execute(*together(statements))
            return self._cursor.rowcount
        written = 0
        for statement, parameters in row_set(sql).parts(rows):
            self._cursor.execute(statement, parameters)
            written += self._cursor.rowcount
        return written

    def freeze(self) -> None:
        """Let this transaction, which only reads and has asked nothing yet, see the database as of one instant."""
        if self.dialect is Dialect.POSTGRESQL:
            self._opening = f"{self._opening or 'BEGIN'};{_FREEZE}"
            self._is_block = True

    def _execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._open()
        self._cursor.execute(sql, parameters)

    def _open(self) -> None:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._cursor.execute(opening, prepare=False)  # type: ignore[call-arg]

    def run_each(self, *statements: tuple[str, Sequence[Mapping[str, Any]]]) -> list[int]:
        """As `run_all` for each, which PostgreSQL gets at once, so that no two may write the same row."""
        given = [one for one in statements if one[1]]
        if self.dialect is Dialect.SQLITE or len(given) < 2:
            return [self.run_all(*one) for one in statements]
        put_off, self._put_off = self._put_off, []
        self._execute(*together([*put_off, *given], len(given)))
        counts = iter(self._cursor.fetchone())  # type: ignore[arg-type]
        return [next(counts) if rows else 0 for _, rows in statements]

    def put_off(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """As `run_all`, but PostgreSQL gets it with the next one of them, which must not write the same rows.

        Whatever else is run before comes after it.
        """
        if self.dialect is Dialect.POSTGRESQL and rows:
            self._put_off.append((sql, rows))
        else:
            self.run_all(sql, rows)

    def settle(self) -> None:
        """Run now what was put off."""
        if self._put_off:
            self.run_all(*self._put_off.pop())

    def finish(self) -> None:
        """Run what was put off, and flush what the session holds, so that the commit carries it."""
        self.settle()
        if "_session" in self.__dict__:
            self._session.flush()

    def close(self) -> None:
        """Let go of the session and the cursor, after the commit or the rollback."""
        if "_session" in self.__dict__:
            self._session.close()
        self._cursor.close()
