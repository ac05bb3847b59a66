"""One question for all loops: it finds what each of them would find, in time, and nothing else."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from orchestrator.engine.loop import Loop
from orchestrator.service.outlook import Concern, due_within
from orchestrator.store import outbox
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.engine.crowd import insert_crowd
from tests.engine.posting import PostOffice, insert_events, open_post_office
from tests.support.world import WORKSPACE

HOUR = timedelta(hours=1)
WORKER = "WHERE worker_id = 3"
EXECUTION = "WHERE id LIKE 'crowd-%-1'"

# Each makes one thing due `at` that time.
CHANGES = {
    "a worker": (Concern.CALLS, f"UPDATE workers SET due_at = :at {WORKER}"),
    "a callback that is late": (Concern.TIMERS, f"UPDATE workers SET status = 'awaiting', due_at = :at {WORKER}"),
    "a node's lease": (Concern.TIMERS, f"UPDATE workers SET status = 'calling', lease_until = :at {WORKER}"),
    "an executor's lease": (
        Concern.TIMERS,
        f"UPDATE workers SET status = 'calling', pull_task_pk = 1, lease_until = :at {WORKER}",
    ),
    "a deadline": (Concern.TIMERS, f"UPDATE executions SET deadline_at = :at {EXECUTION}"),
    "a start time": (Concern.TIMERS, f"UPDATE executions SET status = 'pending', run_at = :at {EXECUTION}"),
    "a slot": (Concern.SLOTS, "UPDATE schedules SET due_at = :at"),
}


@pytest_asyncio.fixture
async def office(database_url: str) -> AsyncIterator[PostOffice]:
    """A world without loops, in which ten workers sleep until tomorrow, and a schedule until next year."""
    async with open_post_office(database_url) as office:
        world = office.world
        await world.install({"schedule": {"cron": "0 0 1 1 *"}, "on_multiple_exec": "allow"}, app_id="app_crowd")
        now = await world.database.read(lambda tx: tx.now())
        await world.database.write(insert_crowd, "app_crowd_run", 10, to_micros(now + 24 * HOUR))
        await world.database.write(
            lambda tx: tx.run("UPDATE schedules SET due_at = :at", at=to_micros(now + 24 * HOUR))
        )
        yield office


async def outlook(office: PostOffice, span: timedelta) -> list[Concern]:
    return await office.world.database.read(due_within, span)


@pytest.mark.parametrize("what", CHANGES)
async def test_what_comes_in_an_hour_is_seen_within_two_and_not_in_half(office: PostOffice, what: str) -> None:
    concern, sql = CHANGES[what]
    await office.world.database.write(lambda tx: tx.run(sql, at=to_micros(tx.now() + HOUR)))
    assert await outlook(office, HOUR / 2) == []
    assert await outlook(office, 2 * HOUR) == [concern]


async def test_an_execution_whose_turn_has_come_is_seen_and_one_in_the_queue_is_not(office: PostOffice) -> None:
    world = office.world
    await world.install({"on_multiple_exec": "retry_later"}, app_id="app_queue")
    first, second = [await world.launch("app_queue_run", wakes=None) for _ in range(2)]
    assert await world.status(second) == "pending"
    assert await outlook(office, HOUR) == [Concern.CALLS]
    pk = await world.pk(first)
    await world.database.write(lambda tx: tx.run("UPDATE workers SET due_at = NULL WHERE execution_pk = :pk", pk=pk))
    await world.database.write(lambda tx: tx.run("UPDATE executions SET open_workers = 0 WHERE pk = :pk", pk=pk))
    assert await outlook(office, HOUR) == [Concern.TIMERS]


async def test_the_workers_of_a_stopped_app_are_not_seen(office: PostOffice) -> None:
    await office.world.launch("app_crowd_run", wakes=None)
    assert await outlook(office, HOUR) == [Concern.CALLS]
    await office.world.database.write(lambda tx: tx.run("UPDATE apps SET status = 'stopped'"))
    assert await outlook(office, HOUR) == []


async def test_batches_events_and_their_deliveries(office: PostOffice) -> None:
    database = office.world.database

    def put(tx: Transaction) -> None:
        (pk,) = tx.row("SELECT pk FROM executions WHERE id LIKE 'crowd-%-1'") or ()
        at = to_micros(tx.now() + HOUR)
        key = {"execution_pk": pk, "worker_id": 0, "step": 0, "part": 0, "key": "k"}
        row = {"workspace_id": WORKSPACE, **key, "items": "[]", "item_count": 0, "due_at": at, "created_at": at}
        outbox.put(tx, [row])

    await database.write(put)
    assert await outlook(office, HOUR / 2) == []
    assert await outlook(office, 2 * HOUR) == [Concern.BATCHES]
    await database.write(lambda tx: tx.run("UPDATE import_batches SET due_at = :at", at=to_micros(tx.now())))
    await office.world.node.lookout.tick()
    assert woken(office) == [Concern.BATCHES]
    await database.write(lambda tx: tx.run("UPDATE import_batches SET due_at = NULL"))

    await office.subscribe()
    await database.write(insert_events, 1)
    assert await outlook(office, HOUR) == [Concern.EVENTS]
    await office.publish()
    assert await outlook(office, HOUR) == [Concern.DELIVERIES]
    await database.write(lambda tx: tx.run("UPDATE subscriptions SET retry_at = :at", at=to_micros(tx.now() + HOUR)))
    assert await outlook(office, HOUR / 2) == []
    assert await outlook(office, 2 * HOUR) == [Concern.DELIVERIES]


@pytest.mark.parametrize("what", CHANGES)
async def test_whose_concern_it_is_is_woken_and_nobody_else(office: PostOffice, what: str) -> None:
    concern, sql = CHANGES[what]
    await office.world.node.lookout.tick()
    assert woken(office) == []
    await office.world.database.write(lambda tx: tx.run(sql, at=to_micros(tx.now())))
    await office.world.node.lookout.tick()
    assert woken(office) == [concern]


async def test_who_publishes_and_who_delivers_are_woken(office: PostOffice) -> None:
    await office.subscribe()
    await office.world.database.write(insert_events, 1)
    await office.world.node.lookout.tick()
    assert woken(office) == [Concern.EVENTS]
    await office.publish()
    await office.world.node.lookout.tick()
    assert woken(office) == [Concern.EVENTS, Concern.DELIVERIES]


def woken(office: PostOffice) -> list[Concern]:
    node = office.world.node
    loops: dict[Concern, Loop] = {
        Concern.CALLS: node.dispatcher,
        Concern.BATCHES: node.deliverer,
        Concern.EVENTS: node.publisher,
        Concern.DELIVERIES: node.event_deliverer,
        Concern.SLOTS: node.scheduler,
        Concern.TIMERS: node.timekeeper,
    }
    return [concern for concern in Concern if loops[concern]._woken.is_set()]
