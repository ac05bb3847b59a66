"""A share of the database: what one part of the house may take, so that another one always finds a place.

On PostgreSQL a node has a few threads with a connection each. Slow requests to the API, or requests that wait for a
lock, could take all of them; then nothing is claimed or applied, no sign of life is given, and other nodes take over
what this one is calling.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

# One for what is short and must not wait (signs of life), one for the loops of the engine.
KEPT_FOR_OTHERS = 2


class Share:
    """Reads and writes as the database does, but leaves KEPT_FOR_OTHERS of its connections to PostgreSQL alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect: Dialect = database.dialect
        self._places = asyncio.Semaphore(max(1, database.pool_size - KEPT_FOR_OTHERS))

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.write`, once there is a place."""
        return await self._in_turn(lambda: self._database.write(work, *args, **kwargs))

    async def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.read`, once there is a place."""
        return await self._in_turn(lambda: self._database.read(work, *args, **kwargs))

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        if self.dialect is Dialect.SQLITE:
            # Nobody judges the one server's signs of life, and its writes have one thread anyway.
            return await work()
        await self._places.acquire()
        done = asyncio.ensure_future(work())
        done.add_done_callback(lambda _: self._places.release())
        # A client that hangs up does not end its transaction: the place is taken for as long as that lasts.
        return await asyncio.shield(done)
