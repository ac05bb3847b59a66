"""Overlapping launches: the four policies, by hand, at a later time and by retry."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator.domain.errors import AlreadyRunning, Invalid
from tests.support.fake_app import Received, Reply
from tests.support.waiting import eventually
from tests.support.world import World, running_world

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

        for execution_id in (first, later, waits):
            await eventually(partial(has_worked, world, execution_id), f"the work of {execution_id}")
        second = await world.launch("app_test_discard_new")
        assert await statuses(world, first, later, waits, second) == ["running"] * 4


async def is_at_rest(world: World, execution_id: str) -> bool:
    worker = (await world.workers(execution_id))[0]
    return (worker["step"], worker["status"]) == (1, "ready")


async def has_worked(world: World, execution_id: str) -> bool:
    return [worker["status"] for worker in (await world.workers(execution_id)).values()] == ["done"]


async def test_what_has_waited_starts_when_the_other_ends_in_whatever_way(database_url: str) -> None:
    async with running_world(database_url, rest) as world:
        await world.install(*TASKS, {"id": "app_test_run"})
        first = await world.launch("app_test_retry_later")
        second = await world.launch("app_test_retry_later")
        await world.abort(first)
        world.node.wake()
        await until(world, second, "running")
        await eventually(partial(is_at_rest, world, second), f"the rest of {second}")

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


@pytest.mark.parametrize("execution_id", ["a:b", "", "   ", "x" * 129])
async def test_an_id_that_cannot_be_used_is_refused(sqlite_url: str, execution_id: str) -> None:
    async with running_world(sqlite_url, rest, start=False) as world:
        await world.install()
        with pytest.raises(Invalid, match="1 to 128 characters and no colon"):
            await world.launch(id=execution_id)
