"""A purge meets a retry, or another purge: one of both wins, and nothing is left by halves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.domain.retention import Retention
from orchestrator.domain.states import ExecutionStatus
from orchestrator.service import purging
from tests.engine.held_back import held_back, waits_for_a_lock
from tests.engine.history import Past, left_behind
from tests.engine.test_purging import MONTH, added, ids, prune, selection, sights, write_past
from tests.support.fake_app import never
from tests.support.world import World, running_world


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        yield world


async def test_a_retry_before_the_purge_wins(world: World) -> None:
    await write_past(world, Past("old", 1, status="failed"))
    wanted = await selection(world, ExecutionStatus.FAILED)
    [sight] = await sights(world, wanted)
    await world.retry("old-1")
    assert (await world.database.write(purging.remove, wanted, sight)).executions == 0
    assert await world.status("old-1") == "running"
    with pytest.raises(Conflict):
        await world.retry("old-1")


@pytest.mark.parametrize("policy", ["allow", "discard_new"])
async def test_a_retry_that_meets_a_purge_finds_nothing(
    postgres_url: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The purge has the execution's lock when the retry asks for it."""
    async with running_world(postgres_url, never, start=False) as world, world.another_database() as other:
        await world.install({"on_multiple_exec": policy})
        await write_past(world, Past("old", 1, status="failed", key="k"))
        wanted = await selection(world, ExecutionStatus.FAILED)
        [sight] = await sights(world, wanted)
        async with held_back(other, purging.remove, wanted, sight) as removal:
            retry = asyncio.create_task(world.retry("old-1"))
            await waits_for_a_lock(world)
            assert (await removal.commit()).executions == 1
            with pytest.raises(NotFound):
                await retry
        assert await world.database.read(left_behind) == {}


async def test_retries_and_purges_at_once_end_each_execution_one_way(world: World) -> None:
    count = 60
    await write_past(world, Past("old", count, status="failed"))
    wanted = await selection(world, ExecutionStatus.FAILED)
    seen = await sights(world, wanted)

    async def retry(number: int) -> bool:
        try:
            await world.retry(f"old-{number}")
        except NotFound:
            return False
        return True

    async with world.another_database() as other:
        removing = asyncio.gather(*(other.write(purging.remove, wanted, sight) for sight in seen))
        retried = await asyncio.gather(*(retry(number) for number in range(1, count + 1)))
        removed = await removing
    running = {f"old-{number}" for number, won in enumerate(retried, 1) if won}
    assert added(removed).executions == count - len(running)
    assert await ids(world) == running | {"today-1"}
    assert await world.database.read(left_behind) == {}


async def test_two_nodes_prune_at_once(world: World) -> None:
    await write_past(world, Past("old", 450), Past("failed", 30, status="failed", batch="refused"))
    retention = Retention(dict.fromkeys(ExecutionStatus, MONTH), occurrences=MONTH, collected_items=MONTH)
    async with world.another_database() as other:
        await asyncio.gather(prune(world, retention), prune(world, retention, other))
    assert await ids(world) == {"today-1"} | {f"failed-{number}" for number in range(1, 31)}
    assert await world.database.read(left_behind) == {}
