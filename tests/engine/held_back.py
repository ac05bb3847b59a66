"""A transaction that has done its work and waits before its commit, so that others meet its locks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction
from tests.support.waiting import eventually
from tests.support.world import World

PATIENCE_SECS = 30


class HeldBack:
    """See `held_back`."""

    def __init__(self, database: Database, work: Callable[..., Any], *args: Any) -> None:
        self._is_done, self._may_commit = threading.Event(), threading.Event()

        def use_case(tx: Transaction) -> Any:
            if tx.dialect is Dialect.POSTGRESQL:
                # Else it would be ended, as that of a node that stands still.
                tx.run("SET LOCAL idle_in_transaction_session_timeout = 0")
            try:
                result = work(tx, *args)
            finally:
                self._is_done.set()
            assert self._may_commit.wait(PATIENCE_SECS)
            return result

        self._running = asyncio.create_task(database.write(use_case))

    async def is_done(self) -> None:
        assert await asyncio.to_thread(self._is_done.wait, PATIENCE_SECS)

    async def commit(self) -> Any:
        """Let it commit; returns what it returns."""
        self._may_commit.set()
        return await self._running


@asynccontextmanager
async def held_back(database: Database, work: Callable[..., Any], *args: Any) -> AsyncIterator[HeldBack]:
    """Do `work` in a transaction on a database of its own; it commits when told, at the latest with the block's end."""
    held = HeldBack(database, work, *args)
    try:
        await held.is_done()
        yield held
    finally:
        await held.commit()


async def waits_for_a_lock(world: World) -> None:
    """Wait until somebody on this PostgreSQL waits for a lock."""

    async def probe() -> bool:
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(await world.rows(sql))

    await eventually(probe, "somebody to wait for a lock")
