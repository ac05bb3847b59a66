"""Overlapping launches: the four policies, by hand, at a later time, by retry and at the same instant."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.domain.errors import AlreadyRunning, Conflict, Invalid
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import launching
from orchestrator.service.launching import LaunchOrder
from orchestrator.store import lookups
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.support.fake_app import Received, Reply
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world

POLICIES = ("allow", "discard_new", "retry_later", "abort_existing")
TASKS = [{"id": f"app_test_{policy}", "on_multiple_exec": policy} for policy in POLICIES]


def rest(request: Received) -> object:
    """Live until told otherwise, and cost nothing."""
    return {"delay_next_request_in_secs": 3600}


async def statuses(world: World, *execution_ids: str) -> list[str]:
    return [await world.status(execution_id) for execution_id in execution_ids]


async def refused(world: World, task_id: str, **order: Any) -> AlreadyRunning:
    with pytest.raises(AlreadyRunning) as refusal:
        await world.launch(task_id, **order)
    return refusal.value


async def until(world: World, execution_id: str, status: str) -> None:
    async def probe() -> bool:
        return await world.status(execution_id) == status

    await eventually(probe, f"{execution_id} {status}")


# By hand


async def test_the_policies_by_hand(database_url: str) -> None:
    async with running_world(database_url, rest, start=False) as world:
        await world.install(*TASKS)
        first = {policy: await world.launch(f"app_test_{policy}") for policy in POLICIES}

        await world.launch("app_test_allow")
        assert await world.status(first["allow"]) == "running"

        refusal = await refused(world, "app_test_discard_new")
        assert refusal.facts == {"execution_id": first["discard_new"]}
        assert first["discard_new"] in refusal.message

        waiting = await world.launch("app_test_retry_later")
        assert await statuses(world, first["retry_later"], waiting) == ["running", "pending"]
        refusal = await refused(world, "app_test_retry_later")
        assert refusal.facts == {"execution_id": waiting}

        newer = await world.launch("app_test_abort_existing")
        assert await statuses(world, first["abort_existing"], newer) == ["aborted", "running"]
        assert await world.message(first["abort_existing"]) == "aborted by a newer launch (abort_existing)"


async def test_each_key_is_a_group_of_its_own(database_url: str) -> None:
    async with running_world(database_url, rest, start=False) as world:
        await world.install(*TASKS)
        for policy in POLICIES:
            same = [await world.launch(f"app_test_{policy}", multiple_exec_key=key) for key in ("", "a", "b")]
            assert await statuses(world, *same) == ["running"] * 3, policy
        refusal = await refused(world, "app_test_discard_new", multiple_exec_key="a")
        assert await world.status(str(refusal.facts["execution_id"])) == "running"


async def test_one_with_nothing_left_but_deliveries_no_longer_counts(database_url: str) -> None:
    done = {"is_done": True, "items_to_import": [{"kind": "a"}]}
    async with running_world(database_url, lambda request: done, lambda request: Reply(503)) as world:
        await world.install(*TASKS)
        first = await world.launch("app_test_discard_new")
        later = await world.launch("app_test_retry_later", multiple_exec_key="k")
        waits = await world.launch("app_test_retry_later", multiple_exec_key="k")

        async def has_worked(execution_id: str) -> bool:
            return (await world.workers(execution_id))[0]["status"] == "done"

        for execution_id in (first, later, waits):
            await eventually(lambda execution_id=execution_id: has_worked(execution_id), f"the work of {execution_id}")
        second = await world.launch("app_test_discard_new")
        assert await statuses(world, first, later, waits, second) == ["running"] * 4


async def test_what_has_waited_starts_when_the_other_ends_in_whatever_way(database_url: str) -> None:
    async with running_world(database_url, rest) as world:
        await world.install(*TASKS, {"id": "app_test_run"})
        first = await world.launch("app_test_retry_later")
        second = await world.launch("app_test_retry_later")
        await world.abort(first)
        world.node.wake()
        await until(world, second, "running")

        world.app.handler = lambda request: Reply(400)
        third = await world.launch("app_test_retry_later")
        assert await world.status(third) == "pending"
        await world.database.write(lambda tx: tx.run("UPDATE workers SET due_at = 0 WHERE status = 'ready'"))
        world.node.wake()
        assert await world.ended(second) == "failed"
        assert await world.ended(third) == "failed"
        [second_end, third_start] = await world.row(
            "SELECT a.ended_at, b.started_at FROM executions a, executions b WHERE a.id = :second AND b.id = :third",
            second=second,
            third=third,
        )
        assert second_end <= third_start


# At a later time


async def test_a_pending_run_at_counts_only_from_its_time(database_url: str) -> None:
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install(*TASKS)
        at = datetime.now(UTC) + timedelta(hours=1)
        later = {policy: await world.launch(f"app_test_{policy}", run_at=at) for policy in POLICIES}
        assert set(await statuses(world, *later.values())) == {"pending"}

        running = {policy: await world.launch(f"app_test_{policy}") for policy in POLICIES}
        assert set(await statuses(world, *running.values())) == {"running"}
        assert await world.status(await world.launch("app_test_retry_later", run_at=at)) == "pending"

        world.advance(timedelta(hours=1, seconds=1))
        await until(world, later["allow"], "running")
        await until(world, later["discard_new"], "aborted")
        await until(world, later["abort_existing"], "running")
        assert await world.message(later["discard_new"]) == (
            "discarded: another execution was running when its start time came"
        )
        assert await world.status(running["abort_existing"]) == "aborted"
        # It waits its turn like any other, and is started by the end of the one before.
        assert await world.status(later["retry_later"]) == "pending"
        assert (await refused(world, "app_test_retry_later")).facts == {"execution_id": later["retry_later"]}
        await world.abort(running["retry_later"])
        world.node.wake()
        await until(world, later["retry_later"], "running")


async def test_a_run_at_in_the_past_starts_at_once_and_a_pending_one_can_be_aborted(database_url: str) -> None:
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install(*TASKS)
        now = datetime.now(UTC)
        assert await world.status(await world.launch("app_test_allow", run_at=now - timedelta(days=1))) == "running"
        later = await world.launch("app_test_allow", run_at=now + timedelta(minutes=1))
        await world.abort(later)
        world.advance(timedelta(hours=1))
        started = await world.launch("app_test_allow", run_at=now + timedelta(minutes=1))
        await eventually(lambda: has_called(world, started), "a call")
        assert await world.status(later) == "aborted"
        assert not await has_called(world, later)


async def has_called(world: World, execution_id: str) -> bool:
    return bool(await world.calls(execution_id))


async def test_many_that_must_go_on_waiting_do_not_hide_one_whose_turn_has_come(database_url: str) -> None:
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install(*TASKS)
        await world.launch("app_test_retry_later")
        at = datetime.now(UTC) + timedelta(minutes=1)
        for _ in range(205):
            await world.launch("app_test_retry_later", run_at=at)
        last = await world.launch("app_test_allow", run_at=at)
        world.advance(timedelta(minutes=2))
        await until(world, last, "running")


# By retry


async def test_a_retry_obeys_the_policy(database_url: str) -> None:
    async with running_world(database_url, rest) as world:
        await world.install(*TASKS)
        failed = {policy: await world.launch(f"app_test_{policy}") for policy in POLICIES}
        for execution in failed.values():
            await world.abort(execution)
        running = {policy: await world.launch(f"app_test_{policy}") for policy in POLICIES}

        await world.retry(failed["allow"])
        assert await statuses(world, failed["allow"], running["allow"]) == ["running", "running"]

        with pytest.raises(AlreadyRunning, match=running["discard_new"]):
            await world.retry(failed["discard_new"])
        assert await world.status(failed["discard_new"]) == "aborted"

        await world.retry(failed["abort_existing"])
        assert await statuses(world, failed["abort_existing"], running["abort_existing"]) == ["running", "aborted"]

        newer = await world.launch("app_test_retry_later")
        with pytest.raises(AlreadyRunning, match=newer):
            await world.retry(failed["retry_later"])
        await world.abort(newer)
        await world.retry(failed["retry_later"])
        assert await world.status(failed["retry_later"]) == "pending"
        await world.abort(running["retry_later"])
        world.node.wake()
        await until(world, failed["retry_later"], "running")


# At the same instant


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
        world = await stack.enter_async_context(running_world(database_url, rest, start=False))
        databases = [Database(DatabaseOptions(database_url, pool_size=4)) for _ in range(2)]
        for database in databases:
            stack.push_async_callback(database.close)
        nodes = Nodes(world, databases)
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
        world = await stack.enter_async_context(running_world(database_url, rest, start=False))
        await world.install(*TASKS)
        other = Database(DatabaseOptions(database_url, pool_size=4))
        stack.push_async_callback(other.close)
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


@pytest.mark.parametrize("execution_id", ["a:b", "", "   ", "x" * 129])
async def test_an_id_that_cannot_be_used_is_refused(sqlite_url: str, execution_id: str) -> None:
    async with running_world(sqlite_url, rest, start=False) as world:
        await world.install()
        with pytest.raises(Invalid, match="1 to 128 characters and no colon"):
            await world.launch(id=execution_id)
