"""Requests to the API that take long, or wait for a lock, leave the engine and the signs of life their connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import psycopg
import pytest

from orchestrator.service import nodes
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.nodes import NodeFacts
from orchestrator.store.share import KEPT_FOR_OTHERS, Share
from orchestrator.store.transaction import Transaction
from tests.support.waiting import eventually

POOL = 4
FACTS = NodeFacts("north:1", "north", "all", "1", "http://north:8400")
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def wait_for_a_lock(tx: Transaction) -> None:
    tx.rows("SELECT 1 FROM pg_advisory_xact_lock_shared(1)")


@asynccontextmanager
async def opened(url: str, pool_size: int) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(url, pool_size=pool_size))
    try:
        yield database
    finally:
        await database.close()


async def beat(database: Database) -> None:
    await database.write(nodes.beat, FACTS, NodeStatus.LIVE, timedelta(seconds=10))


@pytest.mark.parametrize("hang_up", [False, True])
async def test_a_node_gives_signs_of_life_however_many_requests_wait(postgres_url: str, hang_up: bool) -> None:
    connecting = psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    async with opened(postgres_url, POOL) as database, await connecting as other:
        share = Share(database)
        await other.execute("SELECT pg_advisory_lock(1)")
        requests = [
            asyncio.create_task(call(wait_for_a_lock)) for call in (share.read, share.write) for _ in range(POOL)
        ]

        async def are_stuck() -> bool:
            [(waiting,)] = await (await other.execute(WAITING)).fetchall()
            return bool(waiting == POOL - KEPT_FOR_OTHERS)

        await eventually(are_stuck, "requests that wait for the lock")
        if hang_up:
            # Their clients are gone, their transactions are not: whoever comes next must wait for those.
            for request in requests:
                request.cancel()
            await asyncio.wait(requests)
            requests = [asyncio.create_task(share.read(wait_for_a_lock)) for _ in range(POOL)]
        await beat(database)
        assert await are_stuck()
        assert not any(request.done() for request in requests)
        await other.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(*requests)


async def test_without_a_share_there_would_be_no_sign_of_life(postgres_url: str) -> None:
    """The test above can fail: as many requests, straight to the database, and the sign of life waits behind them."""
    connecting = psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    async with opened(postgres_url, POOL) as database, await connecting as other:
        await other.execute("SELECT pg_advisory_lock(1)")
        requests = [asyncio.create_task(database.read(wait_for_a_lock)) for _ in range(POOL)]

        async def are_stuck() -> bool:
            [(waiting,)] = await (await other.execute(WAITING)).fetchall()
            return bool(waiting == POOL)

        await eventually(are_stuck, "requests that wait for the lock")
        sign = asyncio.create_task(beat(database))
        await asyncio.wait({sign}, timeout=0.2)
        assert not sign.done()
        await other.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(*requests, sign)


@pytest.mark.parametrize("pool_size", [1, 2, 3])
async def test_a_small_pool_serves_the_api_too(postgres_url: str, pool_size: int) -> None:
    async with opened(postgres_url, pool_size) as database:
        share = Share(database)
        assert await asyncio.gather(*(share.read(lambda tx: tx.rows("SELECT 1")) for _ in range(5))) == [[(1,)]] * 5


async def test_a_place_comes_back_whatever_becomes_of_the_work(database_url: str) -> None:
    def fail(tx: Transaction) -> None:
        raise ValueError("says the test")

    async with opened(database_url, 1) as database:
        share = Share(database)
        for _ in range(3):
            with suppress(ValueError):
                await share.write(fail)
        assert await share.write(lambda tx: tx.rows("SELECT 1")) == [(1,)]
