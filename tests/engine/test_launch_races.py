"""Launches and promotions at the same instant, from several nodes: the overlap policy holds all the same."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from orchestrator.domain.errors import AlreadyRunning, Conflict
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import launching
from orchestrator.service.launching import LaunchOrder
from orchestrator.store import lookups
from orchestrator.store.database import Database
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, World, running_world

POLICIES = ("allow", "discard_new", "retry_later", "abort_existing")
TASKS = [{"id": f"app_test_{policy}", "on_multiple_exec": policy} for policy in POLICIES]


class Nodes:
    """Several connections to one database, as several servers have."""

    def __init__(self, world: World, databases: list[Database]) -> None:
        self._world = world
        self._databases = databases

    async def launch(self, count: int, task_id: str, **order: Any) -> list[str | Conflict]:
        """Launch from each in turn, all at once."""
        launches = (
            self._launch(self._databases[number % len(self._databases)], task_id, order) for number in range(count)
        )
        return await asyncio.gather(*launches)

    async def _launch(self, database: Database, task_id: str, order: dict[str, Any]) -> str | Conflict:
        def use_case(tx: Transaction) -> str:
            task = lookups.task_key(tx, WORKSPACE, task_id)
            assert task is not None
            wanted = LaunchOrder(WORKSPACE, task.app_pk, task.pk, task.version_pk, **order)
            return launching.launch(tx, self._world.node.definitions, wanted, new_id).id

        try:
            return await database.write(use_case)
        except Conflict as conflict:
            return conflict


async def test_launches_at_the_same_instant_obey_the_policy_too(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(database_url, never, start=False))
        nodes = Nodes(world, [world.database, await stack.enter_async_context(world.another_database())])
        await world.install(*TASKS)
        for policy, expected in (
            ("allow", {"running": 8}),
            ("discard_new", {"running": 1, "refused": 7}),
            ("retry_later", {"running": 1, "pending": 1, "refused": 6}),
            ("abort_existing", {"running": 1, "aborted": 7}),
        ):
            results = await nodes.launch(8, f"app_test_{policy}")
            found = Counter(
                [await world.status(result) if isinstance(result, str) else "refused" for result in results]
            )
            assert found == expected, policy
            assert all(isinstance(result, str | AlreadyRunning) for result in results)

        same_id = await nodes.launch(6, "app_test_allow", id="the-one")
        assert [result for result in same_id if isinstance(result, str)] == ["the-one"]
        conflicts = [result for result in same_id if not isinstance(result, str)]
        assert {str(conflict) for conflict in conflicts} == {"there is an execution the-one already"}
        numbers = [number for (number,) in await world.rows("SELECT number FROM executions ORDER BY pk")]
        assert len(numbers) == len(set(numbers)) == 8 + 1 + 2 + 8 + 1


async def test_two_nodes_that_promote_at_once_start_one(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(database_url, never, start=False))
        await world.install(*TASKS)
        other = await stack.enter_async_context(world.another_database())
        first = await world.launch("app_test_retry_later")
        waiting = await world.launch("app_test_retry_later")
        pk = await world.pk(waiting)
        definitions = world.node.definitions
        assert not await world.database.write(launching.promote, definitions, pk)
        await world.abort(first)

        promotions = [database.write(launching.promote, definitions, pk) for database in (world.database, other) * 3]
        assert Counter(await asyncio.gather(*promotions)) == {True: 1, False: 5}
        assert await world.status(waiting) == "running"
        assert len(await ByHand(world).claim()) == 1
