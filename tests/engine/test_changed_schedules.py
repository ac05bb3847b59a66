"""A schedule is changed while nodes look at it, or after the clock was set back: it goes on, and no slot runs twice."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from app_sdk.protocol.manifest import AppManifest, read_manifest
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import apps, scheduling
from orchestrator.service.scheduling import Turn
from orchestrator.store.clock import from_micros
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction
from tests.engine.held_back import held_back
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, World, running_world

MINUTE = timedelta(minutes=1)
EVERY_MINUTE = {"cron": "* * * * *"}
POLICIES = ("latest", "all", "none")


def manifest(world: World, **schedule: Any) -> AppManifest:
    task = {"id": "app_test_run", "name": "Run", "on_multiple_exec": "allow", "schedule": schedule}
    return read_manifest({"id": "app_test", "name": "Test", "webhook_endpoint": world.app.url, "tasks": [task]})


async def install(world: World, **schedule: Any) -> None:
    await world.install({"on_multiple_exec": "allow", "schedule": schedule})


async def change(world: World, **schedule: Any) -> None:
    await world.database.write(apps.update, WORKSPACE, "app_test", manifest(world, **schedule))


async def look(world: World, database: Database | None = None) -> Turn:
    """What a node does that finds the schedule due."""
    (task_pk,) = await world.row("SELECT pk FROM task_definitions")
    return await (database or world.database).write(scheduling.launch_due, world.node.definitions, task_pk, new_id)


async def pass_a_minute(world: World) -> Turn:
    """The next minute's slot comes, and a node looks; whatever was launched has ended by then."""
    for (execution,) in await world.rows("SELECT id FROM executions WHERE status = 'running'"):
        await world.abort(execution)
    world.advance(MINUTE)
    return await look(world)


async def ledger(world: World) -> dict[datetime, str]:
    rows = await world.rows("SELECT slot_at, outcome FROM occurrences")
    found = {from_micros(slot_at): outcome for slot_at, outcome in rows}
    assert len(found) == len(rows)
    return found


async def at_a_half_minute(world: World) -> None:
    """Move the clock there, so that the next slots of every minute are known."""
    assert world.clock is not None
    world.advance(MINUTE * 1.5 - timedelta(microseconds=world.clock().timestamp() * 1e6 % 60e6))


@pytest.mark.parametrize("catch_up", POLICIES)
async def test_a_schedule_that_is_changed_after_the_clock_was_set_back_goes_on(
    database_url: str, catch_up: str
) -> None:
    async with running_world(database_url, never, virtual_time=True, start=False) as world:
        await at_a_half_minute(world)
        await install(world, **EVERY_MINUTE, catch_up=catch_up, jitter_secs=1)
        for _ in range(3):
            assert await pass_a_minute(world) is Turn.LAUNCHED
        launched = await ledger(world)
        world.advance(-2 * MINUTE)
        await change(world, **EVERY_MINUTE, catch_up=catch_up)
        turns = [await pass_a_minute(world) for _ in range(4)]
        # The two slots that come a second time are over.
        assert turns == [Turn.RECORDED, Turn.RECORDED, Turn.LAUNCHED, Turn.LAUNCHED]
        slots = [min(launched) + MINUTE * n for n in range(5)]
        assert await ledger(world) == dict.fromkeys(slots, "launched")
        assert await world.row("SELECT count(*) FROM executions") == (5,)


@pytest.mark.parametrize("catch_up", ["latest", "none"])
async def test_slots_on_record_are_stepped_over_where_several_are_owed(database_url: str, catch_up: str) -> None:
    async with running_world(database_url, never, virtual_time=True, start=False) as world:
        await at_a_half_minute(world)
        await install(world, **EVERY_MINUTE, catch_up=catch_up)
        await pass_a_minute(world)
        [slot] = await ledger(world)
        world.advance(-MINUTE)
        await change(world, **EVERY_MINUTE, catch_up=catch_up, jitter_secs=1)
        world.advance(3 * MINUTE)
        assert await look(world) is Turn.LAUNCHED
        assert await ledger(world) == {slot: "launched", slot + MINUTE: "missed", slot + 2 * MINUTE: "launched"}


async def test_a_schedule_that_is_changed_again_does_not_owe_the_slots_on_record(database_url: str) -> None:
    async with running_world(database_url, never, virtual_time=True, start=False) as world:
        await at_a_half_minute(world)
        await install(world, **EVERY_MINUTE)
        await pass_a_minute(world)
        [slot] = await ledger(world)
        world.advance(-MINUTE)
        await change(world, **EVERY_MINUTE, jitter_secs=1)
        world.advance(2 * MINUTE)
        await change(world, **EVERY_MINUTE, jitter_secs=2)
        assert await ledger(world) == {slot: "launched", slot + MINUTE: "missed"}
        assert await pass_a_minute(world) is Turn.LAUNCHED


@dataclass(slots=True)
class _HeldBack:
    """A clock that stands still, and at its `n`th reading waits until it may go on."""

    at: datetime
    n: int
    waits: threading.Event
    may_go_on: threading.Event

    def __call__(self) -> datetime:
        self.n -= 1
        if self.n == 0:
            self.waits.set()
            assert self.may_go_on.wait(30)
        return self.at


@pytest.mark.parametrize("reading", [1, 2])
async def test_a_change_that_straddles_a_slot_does_not_go_back_to_it(postgres_url: str, reading: int) -> None:
    """Whenever the change reads the clock, the slot comes right afterwards, and another node looks."""
    async with running_world(postgres_url, never, virtual_time=True, start=False) as world:
        await at_a_half_minute(world)
        await install(world, **EVERY_MINUTE)
        assert world.clock is not None
        clock = _HeldBack(world.clock(), reading, threading.Event(), threading.Event())
        changing = Database(DatabaseOptions(world.url), clock)
        try:
            wanted = manifest(world, **EVERY_MINUTE, jitter_secs=1)
            change = asyncio.create_task(changing.write(apps.update, WORKSPACE, "app_test", wanted))
            await asyncio.to_thread(clock.waits.wait, 30)
            await pass_a_minute(world)
            clock.may_go_on.set()
            await change
        finally:
            clock.may_go_on.set()
            await changing.close()
        await look(world)
        assert await pass_a_minute(world) is Turn.LAUNCHED
        launched = await ledger(world)
        assert len(launched) == 2
        assert set(launched.values()) == {"launched"}


async def test_a_node_does_not_spin_while_another_one_holds_a_schedule(postgres_url: str) -> None:
    async with running_world(postgres_url, never, virtual_time=True, start=False) as world:
        await install(world, interval_secs=60)
        world.advance(MINUTE)
        scheduler = world.node.scheduler

        def hold(tx: Transaction) -> None:
            assert tx.rows("SELECT 1 FROM schedules FOR UPDATE")

        async with world.another_database() as other, held_back(other, hold):
            wait = await scheduler.tick()
            assert wait is not None
            assert timedelta() < wait < timedelta(seconds=1)
        assert await scheduler.tick() is None
        assert list((await ledger(world)).values()) == ["launched"]
