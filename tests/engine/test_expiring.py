"""What goes with time beside executions: slots, collected items and their keys, requests, unused definitions."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from app_sdk.protocol.manifest import read_manifest
from orchestrator.domain.retention import Retention
from orchestrator.domain.states import ExecutionStatus
from orchestrator.service import apps, collector, expiring
from orchestrator.service.collector import Batch
from orchestrator.store import due_schedules, record_views
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.engine.history import Past, insert_past
from tests.engine.test_purging import prune
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, World, running_world

MONTH = timedelta(days=30)
EVERYTHING = Retention(dict.fromkeys(ExecutionStatus, MONTH), occurrences=MONTH, collected_items=MONTH)


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install()
        yield world


async def count(world: World, table: str) -> int:
    [(number,)] = await world.rows(f"SELECT count(*) FROM {table}")
    return int(number)


async def record_slots(world: World, slots: int, execution_pk: int | None = None) -> None:
    def work(tx: Transaction) -> None:
        [(task_pk,)] = tx.rows("SELECT max(pk) FROM task_definitions")
        now = to_micros(tx.now())
        row = {
            "task_pk": task_pk,
            "outcome": "launched",
            "reason": None,
            "execution_pk": execution_pk,
            "late_by": 0,
            "slots": 1,
            "note": None,
            "recorded_at": now,
        }
        due_schedules.record(tx, [{**row, "slot_at": now + slot} for slot in range(slots)])

    await world.database.write(work)


async def take_in(world: World, key: str) -> bool:
    batch = Batch(WORKSPACE, [("n", '{"kind":"n"}')] * 3)
    return (await world.database.write(collector.take_in, [(batch, key)])) == [True]


def with_tasks(*ids: str, **task: Any) -> dict[str, Any]:
    tasks = [{"id": id_, "name": id_, **task} for id_ in ids]
    return {"id": "app_test", "name": "Test", "webhook_endpoint": "https://a.example/w", "tasks": tasks}


async def update(world: World, manifest: dict[str, Any]) -> None:
    await world.database.write(apps.update, WORKSPACE, "app_test", read_manifest(manifest))


async def test_a_slot_outlives_its_execution_and_goes_in_its_own_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for past in (Past("old", 1), Past("today", 1, days=0)):
        await world.database.write(insert_past, past)
    await record_slots(world, 1, await world.pk("old-1"))
    [(task_pk,)] = await world.rows("SELECT max(pk) FROM task_definitions")
    [slot] = await world.database.read(record_views.occurrences, task_pk, None, 10)
    assert slot.execution_id == "old-1"
    await prune(world, EVERYTHING)
    [slot] = await world.database.read(record_views.occurrences, task_pk, None, 10)
    assert (slot.outcome, slot.execution_id) == ("launched", None)
    world.advance(timedelta(days=31))
    await record_slots(world, 25)
    monkeypatch.setattr(expiring, "ROWS", 10)
    await prune(world, EVERYTHING)
    assert await count(world, "occurrences") == 25
    world.advance(timedelta(days=31))
    assert await prune(world, EVERYTHING) >= 2
    assert await count(world, "occurrences") == 0


async def test_collected_items_are_kept_for_ever_unless_told_otherwise(world: World) -> None:
    assert await take_in(world, "imp_a")
    world.advance(timedelta(days=3650))
    await prune(world, Retention())
    assert (await count(world, "collected_items"), await count(world, "collected_batches")) == (3, 1)
    assert not await take_in(world, "imp_a")
    assert await take_in(world, "imp_b")
    await prune(world, EVERYTHING)
    assert (await count(world, "collected_items"), await count(world, "collected_batches")) == (3, 1)


async def test_a_key_is_known_for_as_long_as_its_batch_may_come_again(world: World) -> None:
    for past in (Past("held", 1, batch="pending"), Past("today", 1, days=0)):
        await world.database.write(insert_past, past)
    assert await take_in(world, "imp_held-1")
    assert await take_in(world, "imp_young")
    a_day = Retention(collected_items=timedelta(days=1))
    world.advance(timedelta(days=20))
    await prune(world, a_day)
    assert await count(world, "collected_items") == 0
    assert not await take_in(world, "imp_young"), "twenty days later it may still come again"
    world.advance(timedelta(days=20))
    await prune(world, a_day)
    assert not await take_in(world, "imp_held-1"), "our own outbox still has it"
    assert await take_in(world, "imp_young")


async def test_definitions_go_when_no_execution_needs_them(world: World) -> None:
    await world.database.write(insert_past, Past("first", 1))
    for number in range(3):
        await update(world, with_tasks("app_test_run", "app_test_gone", description=f"version {number}"))
    await world.database.write(insert_past, Past("second", 1, days=0))
    await world.database.write(insert_past, Past("gone", 1, task_id="app_test_gone"))
    await update(world, with_tasks("app_test_run", description="version 3"))
    await record_slots(world, 2)
    assert await count(world, "task_versions") == 8
    await prune(world, Retention())
    assert await count(world, "task_versions") == 8, "a launch in progress may have read one of them"
    world.advance(timedelta(days=2))
    await prune(world, Retention())
    assert await count(world, "task_definitions") == 2, "an execution of the removed task is still there"
    versions = """
SELECT v.version FROM task_versions v JOIN task_definitions t ON t.pk = v.task_pk WHERE t.id = :id ORDER BY 1"""
    assert await world.rows(versions, id="app_test_run") == [(1,), (4,), (5,)], "the first and second executions' own"
    await prune(world, EVERYTHING)
    assert await count(world, "task_definitions") == 1
    assert await count(world, "occurrences") == 0
    assert await world.rows(versions, id="app_test_run") == [(4,), (5,)]


async def test_a_deleted_app_goes_with_its_last_execution(world: World) -> None:
    await world.database.write(insert_past, Past("old", 2))
    await world.database.write(apps.delete, WORKSPACE, "app_test")
    world.advance(timedelta(days=2))
    await prune(world, Retention())
    assert await count(world, "apps") == 1
    await prune(world, EVERYTHING)
    for table in ("executions", "task_versions", "task_definitions", "app_states", "apps"):
        assert await count(world, table) == 0, table
