"""What time does by itself: however much of it at once, and although one execution makes trouble."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.execution import Execution
from orchestrator.service import nodes, timers
from orchestrator.service.holding import hold
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.nodes import NodeFacts
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.engine.held_back import held_back
from tests.support.fake_app import never
from tests.support.waiting import eventually
from tests.support.world import World, running_world

BATCH = 3
MANY = 3 * BATCH + 1
HOUR = timedelta(hours=1)
OVERLAPPING = {"on_multiple_exec": "allow"}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "BATCH", BATCH)


async def tick_until_it_rests(tick: Callable[[], Awaitable[timedelta | None]], at_most: int) -> None:
    """Tick as the loop does that does not sleep; fails if it never wants to."""
    for _ in range(at_most):
        if await tick() != timedelta():
            return
    raise AssertionError(f"{at_most} ticks, and it does not rest")


async def count(world: World, status: str) -> int:
    (number,) = await world.row("SELECT count(*) FROM workers WHERE status = :status", status=status)
    return int(number)


async def judges(world: World) -> bool:
    await world.node.registrar.tick()
    return await count(world, "ready") > 0


async def claimed(world: World, name: str, lease: timedelta) -> None:
    """Many calls that a node has begun, all with the same lease."""
    await world.install(OVERLAPPING)
    for _ in range(MANY):
        await world.launch()
    assert len(await ByHand(world, name=name, lease=lease).claims()) == MANY


async def test_leases_that_ran_out_do_not_wait_for_a_poll_each_batch(postgres_url: str, small_batches: None) -> None:
    async with running_world(postgres_url, never, start=False) as world:
        await claimed(world, "gone", lease=timedelta())
        await tick_until_it_rests(world.node.timekeeper.tick, at_most=MANY)
        assert await count(world, "ready") == MANY


async def test_nor_do_the_claims_of_a_node_that_fell_silent(postgres_url: str, small_batches: None) -> None:
    async with running_world(postgres_url, never, start=False, engine={"node_timeout_secs": 0.5}) as world:
        gone = NodeFacts("gone:1", "gone", "all", "0.0.1", "http://127.0.0.1:1")
        await world.database.write(nodes.beat, gone, NodeStatus.LIVE, HOUR)
        await claimed(world, gone.id, lease=HOUR)
        # It judges nobody before it has listened for a while itself.
        await eventually(lambda: judges(world), "the first batch")
        await tick_until_it_rests(world.node.registrar.tick, at_most=MANY)
        assert await count(world, "ready") == MANY


async def test_nor_do_executions_whose_start_time_has_come(database_url: str, small_batches: None) -> None:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install(OVERLAPPING)
        assert world.clock is not None
        for _ in range(MANY):
            await world.launch(run_at=world.clock() + HOUR)
        world.advance(HOUR)
        await tick_until_it_rests(world.node.timekeeper.tick, at_most=MANY)
        assert await world.rows("SELECT DISTINCT status FROM executions") == [("running",)]


async def test_an_execution_that_cannot_expire_holds_up_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Execution.expire

    def expire(self: Execution, now: datetime) -> None:
        if self.policy.max_duration == timedelta(seconds=61):
            raise ValueError("a fault, says the test")
        real(self, now)

    monkeypatch.setattr(Execution, "expire", expire)
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install({"max_duration_secs": 61}, {"id": "app_test_sound", "max_duration_secs": 62, **OVERLAPPING})
        assert world.clock is not None
        faulty = await world.launch()
        sound = [await world.launch("app_test_sound") for _ in range(2)]
        pending = await world.launch("app_test_sound", run_at=world.clock() + HOUR)
        world.advance(HOUR)

        assert await world.node.timekeeper.tick() is None, "what has failed is tried at the next poll, not at once"
        assert [await world.status(execution) for execution in sound] == ["failed", "failed"]
        assert await world.status(pending) == "running"
        assert await world.status(faulty) == "running"
        monkeypatch.undo()
        await world.node.timekeeper.tick()
        assert await world.status(faulty) == "failed"


async def test_one_that_cannot_lose_its_call_holds_up_no_other(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Execution.lose_call

    def lose_call(self: Execution, worker_id: int, message: str, now: datetime) -> None:
        if len(self.workers) == 2:
            raise ValueError("a fault, says the test")
        real(self, worker_id, message, now)

    monkeypatch.setattr(Execution, "lose_call", lose_call)
    async with running_world(postgres_url, never, start=False) as world:
        await world.install(OVERLAPPING)
        await world.launch(workers={1: "{}"})
        await world.launch()
        assert len(await ByHand(world, lease=timedelta()).claims()) == 3
        await tick_until_it_rests(world.node.timekeeper.tick, at_most=3)
        assert (await count(world, "ready"), await count(world, "calling")) == (1, 2)


@pytest.mark.parametrize("rescue", ["lease", "silence"])
async def test_one_that_a_stuck_node_has_locked_holds_up_no_other(postgres_url: str, rescue: str) -> None:
    async with running_world(postgres_url, never, start=False, engine={"node_timeout_secs": 0.5}) as world:
        gone = NodeFacts("gone:1", "gone", "all", "0.0.1", "http://127.0.0.1:1")
        await world.database.write(nodes.beat, gone, NodeStatus.LIVE, HOUR)
        await claimed(world, gone.id, lease=timedelta() if rescue == "lease" else HOUR)
        locked = min(pk for (pk,) in await world.rows("SELECT pk FROM executions"))

        async def rescued_all_but(left: int) -> bool:
            await (world.node.timekeeper if rescue == "lease" else world.node.registrar).tick()
            return await count(world, "calling") == left

        async with (
            world.another_database() as other,
            held_back(other, hold, world.node.definitions, {locked}),
        ):
            await eventually(lambda: rescued_all_but(1), "the others", patience_secs=5)
        await eventually(lambda: rescued_all_but(0), "the last one")


@pytest.mark.parametrize("what", ["lease", "wait", "deadline"])
async def test_what_has_been_overdue_longest_goes_first(
    database_url: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A batch leaves out what became overdue last, so that a steady stream of it keeps nobody waiting for ever."""
    monkeypatch.setattr(timers, "BATCH", 1)
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install({**OVERLAPPING, "max_duration_secs": 60 if what == "deadline" else 3600})
        hand = ByHand(world, lease=timedelta(seconds=60))
        executions = []
        for _ in range(2):
            executions.append(await world.launch())
            if what != "deadline":
                claims = await hand.claims()
            if what == "wait":
                await hand.turn(claims, await_callback={"timeout_in_secs": 60})
            world.advance(timedelta(seconds=1))
        world.advance(timedelta(seconds=60))
        await world.database.write(timers.lose_leases if what == "lease" else timers.expire, world.node.definitions)
        if what == "lease":
            statuses = [(await world.workers(execution))[0]["status"] for execution in executions]
            assert statuses == ["ready", "calling"]
        else:
            assert [await world.status(execution) for execution in executions] == ["failed", "running"]


async def ticked(world: World) -> timedelta | None:
    """One turn of the loop, whatever becomes of it."""
    timekeeper = world.node.timekeeper
    timekeeper._woken.clear()
    return await timekeeper._tick()


async def test_an_end_lets_the_timers_be_as_they_are(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"max_duration_secs": 30})
        await world.launch()
        found = await ticked(world)
        assert found is not None
        looks: list[Transaction] = []
        monkeypatch.setattr(timers, "next_timer", looks.append)
        world.node.timekeeper.free()
        left = await ticked(world)
        assert not looks, "nothing has begun, and the next timer is known"
        assert left is not None
        assert timedelta() < left <= found <= timedelta(seconds=30)


async def test_a_look_that_failed_is_not_forgotten_for_an_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away, says the test")

    async with running_world(database_url, never, start=False) as world:
        await world.install({"max_duration_secs": 30})
        assert await ticked(world) is None
        await world.launch()
        world.node.timekeeper.wake()
        with monkeypatch.context() as patch:
            patch.setattr(world.database, "write", away)
            await ticked(world)
        world.node.timekeeper.free()
        assert await ticked(world) == timedelta(), "it looks again at once"
        assert await ticked(world) not in (None, timedelta())


async def test_the_deadline_of_what_an_end_has_started_is_known(database_url: str, small_batches: None) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"max_duration_secs": 30, "on_multiple_exec": "retry_later"})
        first = await world.launch()
        for key in range(BATCH):
            blocker = await world.launch(multiple_exec_key=str(key))
            await world.launch(multiple_exec_key=str(key))
            await world.abort(blocker)
        await world.abort(first)
        world.node.timekeeper._next_at = None
        world.node.timekeeper._looks_again_at = float("inf")
        world.node.timekeeper.free()
        assert await ticked(world) == timedelta(), "there may be more than a batch of them"
        world.node.timekeeper.free()
        assert await ticked(world) == timedelta()
        assert await ticked(world) not in (None, timedelta())
