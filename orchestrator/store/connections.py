"""A database's open connections: one for each thread that asks for one, and one for the event loop's thread."""

import asyncio
import threading

import psycopg
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store.postgresql_network import hang_up


class _Place:
    """Where a connection is kept while it is good."""

    connection: Connection | None = None


class _OfThread(threading.local, _Place):
    """A place in each thread."""


class Connections:
    """Opened when they are first asked for. The event loop's is also that of SQLite's writer, for both its threads."""

    def __init__(self) -> None:
        self._of_thread = _OfThread()
        self._of_loop = _Place()
        self._opened: list[Connection] = []
        self._changing = threading.Lock()
        self._is_closing = False

    def get(self, engine: Engine) -> Connection:
        """This thread's; in a greenlet, the event loop's. Raises DatabaseUnavailable once it is closing."""
        return self._in(self._of_loop if in_greenlet() else self._of_thread, engine)

    def get_writer(self, engine: Engine) -> Connection:
        """The one of SQLite's writer, in whatever thread."""
        return self._in(self._of_loop, engine)

    def drop(self, connection: Connection) -> None:
        """Let go of one that is broken, or of no use; the next one who asks has a new one."""
        for place in (self._of_loop, self._of_thread):
            if place.connection is connection:
                place.connection = None
        with self._changing:
            if connection in self._opened:
                self._opened.remove(connection)
        connection.invalidate()
        connection.close()

    def hang_up(self) -> None:
        """End what is still under way on connections to PostgreSQL; no new one is used."""
        with self._changing:
            self._is_closing = True
            for connection in self._opened:
                if not connection.closed and not connection.invalidated:
                    raw = connection.connection.driver_connection
                    assert isinstance(raw, psycopg.Connection)
                    hang_up(raw)

    def close(self) -> None:
        """Close them all. None may be in use."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    def _in(self, place: _Place, engine: Engine) -> Connection:
        if place.connection is None:
            self._refuse_if_closing()
            # To connect takes a while, and the event loop must go on.
            connection = await_only(asyncio.to_thread(engine.connect)) if in_greenlet() else engine.connect()
            with self._changing:
                self._opened.append(connection)
            self._refuse_if_closing()
            place.connection = connection
        return place.connection

    def _refuse_if_closing(self) -> None:
        if self._is_closing:
            raise DatabaseUnavailable("the database is not available: it is being closed")


def is_lost(connection: Connection) -> bool:
    """Whether a connection to PostgreSQL is of no use any more."""
    # Asked for its driver's connection, one that SQLAlchemy has given up would open a new one.
    if connection.closed or connection.invalidated:
        return True
    raw = connection.connection.driver_connection
    return not isinstance(raw, psycopg.Connection) or raw.broken or raw.closed
