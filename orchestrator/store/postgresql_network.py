"""How long a connection to PostgreSQL may be silent: a server that is gone without a word is given up in time.

A machine that has lost its power and a network that drops every packet are known by TCP, whose timeouts are set here. A
peer whose kernel goes on acknowledging while nobody behind it answers (a hung server, a proxy that lost the other side)
TCP takes for alive. So whoever waits for a statement waits no longer than `SILENCE_SECS`.
"""

import os
import socket
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from sqlalchemy import make_url
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

RV = TypeVar("RV")

# The server's own `statement_timeout` of 30 s has long spoken by then.
SILENCE_SECS = 35.0
_LOOK_SECS = 0.1
_SELDOM_SECS = 1.0

# libpq's parameters. The unit of the first is a second, as of all keepalives, and of tcp_user_timeout a millisecond.
_TIMEOUTS: dict[str, int] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def network_timeouts(url: str) -> dict[str, int]:
    """What to connect with, beside what the URL says itself."""
    said = make_url(url).query
    return {name: value for name, value in _TIMEOUTS.items() if name not in said}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself when a statement has gone unanswered for `SILENCE_SECS`.

    Used in a greenlet, it lets the event loop go on while it waits.
    """

    def wait(self, gen: PQGen[RV], interval: float = _LOOK_SECS, timeout: float | None = None) -> RV:
        try:
            if in_greenlet():
                # An event loop tells it of data: it need not look often whether too much time has passed.
                return await_only(waiting.wait_async(_answered(gen), self.pgconn.socket, _SELDOM_SECS, timeout))
            return super().wait(_answered(gen), interval, timeout)
        except _Silence as error:
            self.close()
            raise _given_up() from error


class BoundedAsyncConnection(psycopg.AsyncConnection[Any]):
    """As `BoundedConnection`; waiting for notifications is bounded by whoever does it."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = _LOOK_SECS,
        timeout: float | None = None,  # noqa: ASYNC109 - the driver's signature
    ) -> RV:
        try:
            if timeout is not None:
                # An event loop tells it of data and of a cancellation: to look in between would only wake it up.
                return await super().wait(gen, timeout, timeout)
            return await super().wait(_answered(gen), interval, timeout)
        except _Silence as error:
            await self.close()
            raise _given_up() from error


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """End a connection that somebody is waiting on, who is told that it was lost."""
    try:
        # The descriptor is the driver's; a copy of it reaches the same connection, and may be closed here.
        with socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except (psycopg.OperationalError, OSError):
        # It has ended by itself.
        return


class _Silence(Exception):
    """Nothing has come for too long."""


def _given_up() -> psycopg.OperationalError:
    return psycopg.OperationalError(f"the server has not answered for {SILENCE_SECS:g} s")


def _answered(gen: PQGen[RV]) -> Generator[Any, Any, RV]:
    """The generator of an exchange with the server; raises _Silence when it goes on for too long."""
    give_up_at = time.monotonic() + SILENCE_SECS
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > give_up_at:
                raise _Silence
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result
