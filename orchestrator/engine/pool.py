"""The connections of a node: lent to one call at a time, kept for the next one, counted."""

import asyncio
from collections import deque

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.connection import Connection, Deadline, Origin
from orchestrator.engine.dialer import Dialer
from orchestrator.engine.target import Target, Unreachable


class Pool:
    """Lends connections, at most `max_connections` at once.

    There is no task in the background, and no state that a call could leave half changed: a connection is
    lent, or kept, or closed. So a call cut off at any moment costs its own connection and nothing else.
    """

    def __init__(self, dialer: Dialer, max_connections: int, keepalive_secs: float) -> None:
        self._dialer = dialer
        self._max_connections = max_connections
        self._keepalive_secs = keepalive_secs
        self._free_places = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open: set[Connection] = set()
        # A dict as an ordered set: the youngest is used first, as the oldest is likeliest to be gone.
        self._kept: dict[Origin, dict[Connection, None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None

    @property
    def open_count(self) -> int:
        """The connections open now, lent or kept."""
        return len(self._open)

    async def take(self, target: Target, verify_tls: bool, deadline: Deadline) -> Connection:
        """A connection to `target`, to be given back. Raises Unreachable."""
        if self._free_places and not self._waiting:
            self._free_places -= 1
        else:
            await self._wait_for_place(deadline)
        try:
            self._refuse_when_closed()
            origin = Origin(target.is_tls, verify_tls, target.host, target.port)
            connection = self._take_kept(origin)
            if connection is None:
                connection = await self._dialer.dial(
                    target, verify_tls, deadline, lambda: Connection(origin, self._lost)
                )
                self._note_opened(connection)
        except BaseException:
            self._leave_place()
            raise
        return connection

    def give_back(self, connection: Connection) -> None:
        """End the loan; the connection is kept for a while if it can carry another request."""
        self._leave_place()
        # Calls that go to ever other hosts would keep any number of connections.
        is_room = len(self._open) <= 2 * self._max_connections
        if connection.is_usable and is_room and self._keepalive_secs > 0 and self._closing is None:
            loop = asyncio.get_running_loop()
            connection.kept_since = loop.time()
            self._kept.setdefault(connection.origin, {})[connection] = None
            if self._sweeper is None:
                self._sweeper = loop.call_later(self._keepalive_secs, self._sweep, loop)
        else:
            connection.abort()

    async def close(self) -> None:
        """Close every connection and wait until its socket is closed. Calls that hold one end as LOST."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
            if self._sweeper is not None:
                self._sweeper.cancel()
            for connection in tuple(self._open):
                connection.abort("the node is shutting down")
            self._note_if_emptied()
        await asyncio.shield(self._closing)

    async def _wait_for_place(self, deadline: Deadline) -> None:
        # Not a semaphore: nearly always there is a place, and its coroutine costs more than the rest of a loan.
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout_at(deadline.at):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                # It was given at the very moment that nobody waited any more.
                self._leave_place()
            if not isinstance(error, TimeoutError):
                raise
            outcome = deadline.missed(f"all {self._max_connections} connections are in use", sent=False)
            raise Unreachable(outcome.kind, outcome.message) from None

    def _leave_place(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free_places += 1

    def _take_kept(self, origin: Origin) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._keepalive_secs
        kept = self._kept.get(origin)
        while kept:
            connection, _ = kept.popitem()
            if connection.is_usable and connection.kept_since > oldest:
                return connection
            connection.abort()
        return None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - self._keepalive_secs
        for origin, kept in tuple(self._kept.items()):
            for connection in tuple(kept):
                if connection.kept_since <= oldest:
                    del kept[connection]
                    connection.abort()
            if not kept:
                del self._kept[origin]
        self._sweeper = loop.call_later(self._keepalive_secs, self._sweep, loop) if self._kept else None

    def _note_opened(self, connection: Connection) -> None:
        # Not when the connection is made, but when it has been handed over: uvloop does not report the end of
        # a connection that was given up in between.
        if self._closing is not None:
            connection.abort()
        self._refuse_when_closed()
        if connection.is_open:
            self._open.add(connection)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._kept.get(connection.origin, {}).pop(connection, None)
        self._note_if_emptied()

    def _note_if_emptied(self) -> None:
        if self._closing is not None and not self._closing.done() and not self._open:
            self._closing.set_result(None)

    def _refuse_when_closed(self) -> None:
        if self._closing is not None:
            raise Unreachable(FailureKind.LOST, "the node is shutting down")
