"""The ledger of schedules: every slot that has come has exactly one entry, whatever happened meanwhile."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from app_sdk.protocol.manifest import read_manifest
from orchestrator.domain.states import AppStatus
from orchestrator.service import apps, tasks
from orchestrator.store.clock import from_micros
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world

MINUTE = timedelta(minutes=1)


def done(request: Received) -> object:
    return {"is_done": True}


def rest(request: Received) -> object:
    return {"delay_next_request_in_secs": 3600}


@dataclass(frozen=True, slots=True)
class Entry:
    slot: datetime
    outcome: str
    reason: str | None
    late: timedelta
    slots: int


async def ledger(world: World, task_id: str = "app_test_run") -> list[Entry]:
    rows = await world.rows(
        """SELECT o.slot_at, o.outcome, o.reason, o.late_by, o.slots
             FROM occurrences o JOIN task_definitions t ON t.pk = o.task_pk WHERE t.id = :id ORDER BY o.slot_at""",
        id=task_id,
    )
    return [
        Entry(from_micros(slot_at), outcome, reason, timedelta(microseconds=late_by), slots)
        for slot_at, outcome, reason, late_by, slots in rows
    ]


async def anchor(world: World) -> datetime:
    (at,) = await world.row("SELECT anchor_at FROM schedules")
    return from_micros(at)


async def standing_for(world: World, count: int) -> list[Entry]:
    """The ledger, once its entries stand for so many slots."""

    async def probe() -> list[Entry] | None:
        found = await ledger(world)
        return found if sum(entry.slots for entry in found) >= count else None

    return await eventually(probe, f"the entries of {count} slots")


def manifest(world: World, **task: Any) -> Any:
    whole = {"id": "app_test_run", "name": "Run", **task}
    return read_manifest({"id": "app_test", "name": "Test", "webhook_endpoint": world.app.url, "tasks": [whole]})


async def change_schedule(world: World, **task: Any) -> None:
    await world.database.write(apps.update, WORKSPACE, "app_test", manifest(world, **task))


async def test_an_entry_says_why_and_how_late(database_url: str) -> None:
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install({"schedule": {"interval_secs": 60}})
        world.advance(MINUTE + timedelta(seconds=7))
        [first] = await standing_for(world, 1)
        assert (first.outcome, first.reason, first.slots) == ("launched", None, 1)
        assert timedelta(seconds=7) <= first.late < timedelta(seconds=30)

        world.advance(MINUTE)
        assert (await standing_for(world, 2))[1].reason == "overlap"
        await world.database.write(tasks.set_paused, WORKSPACE, "app_test_run", paused=True)
        world.advance(MINUTE)
        assert (await standing_for(world, 3))[2].reason == "paused"
        await world.database.write(apps.set_status, WORKSPACE, "app_test", AppStatus.STOPPED)
        world.advance(MINUTE)
        assert (await standing_for(world, 4))[3].reason == "app"


async def test_a_slot_is_not_late_while_its_jitter_holds_it_back(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install({"schedule": {"interval_secs": 3600, "jitter_secs": 1800}})
        slot_at, due_at = await world.row("SELECT next_slot_at, due_at FROM schedules")
        assert due_at - slot_at > 5_000_000, "the jitter of this task's first slot is known, and long"
        world.advance(timedelta(hours=1, microseconds=due_at - slot_at))
        [entry] = await standing_for(world, 1)
        assert entry.late < timedelta(seconds=5)


async def test_what_is_too_much_to_list_is_counted(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install({"schedule": {"interval_secs": 60}})
        world.advance(MINUTE * 5000 + timedelta(seconds=1))
        found = await standing_for(world, 5000)
        assert sum(entry.slots for entry in found) == 5000
        assert [found[0].slots, found[1].slots, found[-1].slots] == [5000 - 1000, 1, 1]
        assert (found[0].outcome, found[0].reason, found[-1].outcome) == ("missed", "superseded", "launched")


async def test_slots_that_nobody_had_looked_at_are_not_lost_with_their_schedule(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True, start=False) as world:
        await world.install({"schedule": {"interval_secs": 60}})
        start = await anchor(world)
        world.advance(MINUTE * 3 + timedelta(seconds=1))
        await change_schedule(world, schedule={"interval_secs": 3600})
        found = await ledger(world)
        assert [(entry.slot, entry.outcome, entry.reason) for entry in found] == [
            (start + MINUTE * n, "missed", "changed") for n in (1, 2, 3)
        ]
        # Nothing is owed twice, nor by a schedule that is only confirmed.
        await change_schedule(world, schedule={"interval_secs": 3600})
        await change_schedule(world)
        assert await ledger(world) == found


@pytest.mark.parametrize("seed", range(3))
async def test_through_stops_and_changes_every_slot_has_one_entry(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    expected: set[datetime] = set()
    async with running_world(database_url, done, virtual_time=True, start=False) as world:
        every = 60
        await world.install({"schedule": {"interval_secs": every}, "on_multiple_exec": "allow"})
        for _ in range(12):
            world.advance(timedelta(seconds=chance.choice([61, 130, 307, 1000])))
            if chance.random() < 0.4:
                expected |= slots_of(await anchor(world), every, await now_of(world))
                every = chance.choice([45, 60, 90, 240])
                await change_schedule(world, schedule={"interval_secs": every}, on_multiple_exec="allow")
        await world.node.start()
        expected |= slots_of(await anchor(world), every, await now_of(world))
        slots = [entry.slot for entry in await standing_for(world, len(expected))]
        assert len(slots) == len(set(slots))
        assert expected <= set(slots)


async def now_of(world: World) -> datetime:
    return await world.database.read(lambda tx: tx.now())


def slots_of(start: datetime, every: int, until: datetime) -> set[datetime]:
    count = int((until - start) / timedelta(seconds=every))
    return {start + timedelta(seconds=every) * n for n in range(1, count + 1)}


@pytest.mark.slow
async def test_hundreds_of_schedules_of_one_minute_launch_once_each_on_three_nodes(postgres_url: str) -> None:
    many = 300
    cron = {"cron": "0 * * * *", "timezone": "UTC"}
    async with (
        running_world(postgres_url, done, virtual_time=True) as world,
        world.another_node(),
        world.another_node(),
    ):
        definitions = [{"id": f"app_test_{n}", "name": "N", "schedule": cron} for n in range(many)]
        await world.install(*definitions, max_concurrent_calls=100)
        world.advance(timedelta(hours=1))

        async def all_ended() -> bool:
            [(count,)] = await world.rows("SELECT count(*) FROM executions WHERE status = 'succeeded'")
            return bool(count >= many)

        await eventually(all_ended, "the end of every execution", patience_secs=120)
        counts = await world.rows(
            """SELECT count(*), count(DISTINCT task_pk), count(DISTINCT execution_pk), min(outcome), max(outcome)
                 FROM occurrences"""
        )
        assert counts == [(many, many, many, "launched", "launched")]
        assert await world.row("SELECT count(*), count(DISTINCT task_pk) FROM executions") == (many, many)
