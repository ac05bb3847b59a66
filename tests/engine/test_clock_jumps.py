"""The wall clock is set while the embedded database's server runs: durations go on as before, due times follow it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.service import delivering
from orchestrator.store.embedded_clock import EmbeddedClock
from tests.engine.by_hand import ByHand
from tests.engine.executors import Executor
from tests.support.fake_app import never
from tests.support.world import World, running_world

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OVERLAPPING = {"on_multiple_exec": "allow", "max_duration_secs": 3600}
TIMES = "SELECT due_at FROM workers ORDER BY execution_pk"


@dataclass(slots=True)
class Clocks:
    """A machine's two clocks: time passes on both of them, and one of them is set."""

    set_by: timedelta = timedelta()
    passed: timedelta = timedelta()
    boot: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)

    def since_boot(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.began) + self.passed

    def wall(self) -> datetime:
        return self.boot + self.since_boot() + self.set_by


@asynccontextmanager
async def world_of(url: str, clocks: Clocks) -> AsyncIterator[World]:
    clock = EmbeddedClock(clocks.wall, clocks.since_boot)
    async with running_world(url, never, start=False, database_clock=clock) as world:
        yield world


async def statuses(world: World) -> list[str]:
    return [status for (status,) in await world.rows("SELECT status FROM executions ORDER BY pk")]


@pytest.mark.parametrize("jump", [DAY, -DAY, 5 * SECOND, -5 * SECOND])
async def test_waits_and_deadlines_end_in_their_time(sqlite_url: str, jump: timedelta) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING)
        hand = ByHand(world)
        awaiting, running = await world.launch(), await world.launch()
        claims = {claim.execution_id: claim for claim in await hand.claims()}
        await hand.turn([claims[awaiting]], await_callback={"timeout_in_secs": 60})

        for set_by in (jump, timedelta(), jump):
            clocks.set_by = set_by
            await world.node.timekeeper.tick()
            assert await statuses(world) == ["running", "running"]
        clocks.passed += 58 * SECOND
        await world.node.timekeeper.tick()
        assert await statuses(world) == ["running", "running"]
        clocks.passed += 3 * SECOND
        await world.node.timekeeper.tick()
        assert await statuses(world) == ["failed", "running"]
        assert "no callback came" in str(await world.message(awaiting))
        clocks.passed += timedelta(seconds=3600 - 61)
        await world.node.timekeeper.tick()
        # Its call is still under way.
        [(failing,)] = await world.rows("SELECT failing FROM executions WHERE id = :id", id=running)
        assert failing


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_what_begins_after_the_jump_is_not_moved(sqlite_url: str, jump: timedelta) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING)
        hand = ByHand(world)
        await world.launch()
        claims = await hand.claims()
        clocks.set_by = jump
        # The first that the server hears of it is the commit of an answer.
        await hand.turn(claims, await_callback={"timeout_in_secs": 60})
        await world.launch()
        await world.node.timekeeper.tick()
        now = clocks.wall()
        [(due_at,)] = await world.rows("SELECT due_at FROM workers WHERE status = 'awaiting'")
        assert 0 < due_at - now.timestamp() * 1e6 <= 60e6
        deadlines = await world.rows("SELECT deadline_at FROM executions")
        assert all(0 < at - now.timestamp() * 1e6 <= 3600e6 for (at,) in deadlines)


async def test_due_times_follow_the_wall_clock(sqlite_url: str) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING)
        hand = ByHand(world)
        await world.launch()
        await world.launch(run_at=clocks.wall() + DAY / 2)
        await hand.turn(await hand.claims(), delay_next_request_in_secs=3600)
        before = await world.rows(TIMES)
        clocks.set_by = -DAY
        await world.node.timekeeper.tick()
        assert await world.rows(TIMES) == before
        assert await hand.claims() == ()
        clocks.set_by = DAY
        await world.node.timekeeper.tick()
        assert len(await hand.claims()) == 2


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_the_window_of_a_rate_limit_is_as_long_as_before(sqlite_url: str, jump: timedelta) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING, rate_limit={"calls": 2, "per_secs": 60})
        hand = ByHand(world)
        for _ in range(2):
            await world.launch()
        assert len(await hand.claims()) == 2
        clocks.set_by = jump
        for _ in range(2):
            await world.launch()
        assert await hand.claims() == ()
        # A slot of the window counts as a whole, until its last instant has left it.
        clocks.passed += 63 * SECOND
        assert len(await hand.claims()) == 2


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_batch_on_its_way_is_its_senders(sqlite_url: str, jump: timedelta) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING)
        hand = ByHand(world)
        await world.launch()
        await hand.turn(await hand.claims(), is_done=True, items_to_import=[{"kind": "n"}])
        assert len((await world.database.write(delivering.take, 8, hand.terms)).batches) == 1
        clocks.set_by = jump
        assert not (await world.database.write(delivering.take, 8, hand.terms)).batches
        clocks.passed += hand.lease + SECOND
        assert len((await world.database.write(delivering.take, 8, hand.terms)).batches) == 1


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_an_executor_has_its_whole_time(sqlite_url: str, jump: timedelta) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install({"transport": "pull", "inProgressTimeout": 30_000, **OVERLAPPING})
        executor = Executor(world)
        await world.launch()
        task = await executor.started()
        clocks.set_by = jump
        clocks.passed += 28 * SECOND
        await world.node.timekeeper.tick()
        assert (await executor.look(task.id)).row.status == "in-progress"
        clocks.passed += 3 * SECOND
        await world.node.timekeeper.tick()
        assert (await executor.look(task.id)).row.status == "waiting"


async def test_small_corrections_are_followed_and_move_nothing(sqlite_url: str) -> None:
    clocks = Clocks()
    async with world_of(sqlite_url, clocks) as world:
        await world.install(OVERLAPPING)
        await world.launch()
        [before] = await world.rows("SELECT deadline_at FROM executions")
        for tenths in range(1, 30):
            clocks.set_by = tenths * SECOND / 10
            await world.node.timekeeper.tick()
        assert [before] == await world.rows("SELECT deadline_at FROM executions")
        now = await world.database.read(lambda tx: tx.now())
        assert abs(now - clocks.wall()) < SECOND
