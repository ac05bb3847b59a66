"""Executors that wait at a node: woken, served in their order, given up on, sent away."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine import pollers
from orchestrator.engine.pollers import Pollers
from orchestrator.runtime.node import Node
from orchestrator.service import pull_claims
from orchestrator.service.callback_urls import CallbackUrls
from orchestrator.service.definitions import Definitions
from orchestrator.service.pull_claims import HandedOut, Wanted
from orchestrator.service.pull_tasks import PullTask
from orchestrator.store.transaction import Transaction
from tests.engine.executors import ALLOW, EVERYTHING, TASK, Executor, pulled_world
from tests.support.waiting import eventually
from tests.support.world import World, running_world

LONG = timedelta(minutes=5)
PULL = {"transport": "pull", **ALLOW}
# Far apart, so that what is seen in between was a wake-up.
SELDOM: dict[str, Any] = {"engine": {"poll_interval_secs": 60}}


def wanted(places: int = 1, executor: str = "tok_1", task: str = TASK) -> Wanted:
    return Wanted(EVERYTHING, (task,), places, executor)


async def waits(pollers: Pollers, count: int = 1) -> None:
    async def probe() -> bool:
        return pollers.waiting == count

    await eventually(probe, f"{count} who wait")


async def status_is(world: World, execution: str, status: str) -> bool:
    return (await Executor(world).look(execution)).row.status == status


async def test_who_waits_is_woken_by_a_launch(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        waiting = asyncio.create_task(world.node.pollers.poll(wanted(), LONG))
        await waits(world.node.pollers)
        execution = await world.launch()
        [task] = await waiting
        assert task.id == execution


async def test_a_look_without_patience_is_over_at_once(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        assert await world.node.pollers.poll(wanted(), timedelta()) == ()
        await world.launch(wakes=None)
        assert len(await world.node.pollers.poll(wanted(), timedelta())) == 1


async def test_patience_ends_with_nothing(sqlite_url: str) -> None:
    async with running_world(sqlite_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        assert await world.node.pollers.poll(wanted(), timedelta(milliseconds=50)) == ()
        assert world.node.pollers.waiting == 0


async def test_a_retry_that_becomes_due_is_handed_out_without_being_woken(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install({**PULL, "retryDelay": 300})
        await world.launch()
        executor = Executor(world)
        await executor.fail(await executor.started())
        [task] = await world.node.pollers.poll(wanted(), LONG)
        assert task.row.retry_count == 1


async def test_a_claim_that_was_not_started_goes_to_who_waits(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}) as world:
        await world.install({**PULL, "requestedToStartTimeout": 100})
        execution = await world.launch()
        vanished = await Executor(world).one()
        [task] = await world.node.pollers.poll(wanted(), LONG)
        assert task.id == execution
        assert task.exec_id != vanished.exec_id


async def test_one_that_waited_its_turn_goes_to_who_waits(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install({"transport": "pull", "on_multiple_exec": "retry_later"})
        first, second = await world.launch(), await world.launch()
        executor = Executor(world)
        task = await executor.started()
        assert (task.id, (await executor.look(second)).row.status) == (first, "created")
        waiting = asyncio.create_task(world.node.pollers.poll(wanted(), LONG))
        await waits(world.node.pollers)
        await executor.succeed(task)
        world.node.timekeeper.wake()
        [task] = await waiting
        assert task.id == second


async def test_who_has_hung_up_gets_nothing(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        gone = asyncio.create_task(world.node.pollers.poll(wanted(executor="gone"), LONG))
        await waits(world.node.pollers)
        gone.cancel()
        await asyncio.wait({gone})
        execution = await world.launch()
        [task] = await world.node.pollers.poll(wanted(executor="here"), LONG)
        assert (task.id, task.row.token) == (execution, 1)


async def test_what_was_claimed_for_one_who_is_gone_is_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        execution = await world.launch()
        write = world.database.write
        committed, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(work: object, *args: object) -> object:
            found: object = await write(work, *args)  # type: ignore[arg-type]
            if work is pull_claims.hand_out:
                committed.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(world.database, "write", slowly)
        gone = asyncio.create_task(world.node.pollers.poll(wanted(executor="gone"), LONG))
        await committed.wait()
        gone.cancel()
        await asyncio.wait({gone})
        go_on.set()
        [task] = await world.node.pollers.poll(wanted(executor="here"), LONG)
        assert (task.id, task.row.token, task.row.executor) == (execution, 2, "here")
        [call] = await world.calls(execution)
        assert call["outcome"] == "returned"


async def test_an_answer_that_was_not_taken_is_given_back(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        execution = await world.launch()
        [task] = await world.node.pollers.poll(wanted(), LONG)
        world.node.pollers.give_back([task])
        await eventually(partial(status_is, world, execution, "ready"), "the claim to be given back")


async def test_first_come_first_served(sqlite_url: str) -> None:
    async with running_world(sqlite_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(world.node.pollers.poll(wanted(executor=str(number)), LONG)))
            await waits(world.node.pollers, number + 1)
        for number in range(3):
            await world.launch()
            [task] = await waiting[number]
            assert task.row.executor == str(number)


async def test_a_drain_sends_everybody_away_at_once(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        waiting = [asyncio.create_task(world.node.pollers.poll(wanted(), LONG)) for _ in range(3)]
        await waits(world.node.pollers, 3)
        world.node.pollers.stop_waiting()
        assert await asyncio.gather(*waiting) == [(), (), ()]
        await world.launch()
        assert await world.node.pollers.poll(wanted(), timedelta()) == ()


async def test_while_the_database_is_away_there_is_nothing(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_world(sqlite_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        await world.launch(wakes=None)
        write = world.database.write
        is_away = True

        async def failing(work: object, *args: object) -> object:
            if is_away and work is pull_claims.hand_out:
                raise DatabaseUnavailable("the database is away, says the test")
            return await write(work, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(world.database, "write", failing)
        assert await world.node.pollers.poll(wanted(), timedelta()) == ()
        is_away = False
        assert len(await world.node.pollers.poll(wanted(), timedelta())) == 1


async def test_one_whose_poll_cannot_be_answered_holds_up_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hand_out(tx: Transaction, known: Definitions, callbacks: CallbackUrls, asked: Sequence[Wanted]) -> HandedOut:
        if any(one.executor == "faulty" for one in asked):
            raise ValueError("a fault, says the test")
        return pull_claims.hand_out(tx, known, callbacks, asked)

    monkeypatch.setattr(pollers, "hand_out", hand_out)
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        faulty = asyncio.create_task(world.node.pollers.poll(wanted(executor="faulty"), timedelta(seconds=0.5)))
        sound = asyncio.create_task(world.node.pollers.poll(wanted(), LONG))
        await waits(world.node.pollers, 2)
        execution = await world.launch()
        [task] = await sound
        assert task.id == execution
        assert await faulty == ()


async def test_no_connection_is_held_by_those_who_wait(postgres_url: str) -> None:
    async with running_world(postgres_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        waiting = [asyncio.create_task(world.node.pollers.poll(wanted(), LONG)) for _ in range(50)]
        await waits(world.node.pollers, 50)
        for _ in range(50):
            await world.launch()
        tasks = [task for [task] in await asyncio.gather(*waiting)]
        assert len({task.id for task in tasks}) == 50


@pytest.mark.slow
async def test_a_thousand_wait_at_one_node_and_each_gets_a_task(database_url: str) -> None:
    async with running_world(database_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        waiting = [
            asyncio.create_task(world.node.pollers.poll(wanted(executor=f"e{number}"), LONG)) for number in range(1000)
        ]
        await waits(world.node.pollers, 1000)
        for _ in range(300):
            await world.launch(wakes=None)
        world.node.wake()

        async def are_served() -> bool:
            return sum(one.done() for one in waiting) == 300

        await eventually(are_served, "300 to be served", patience_secs=60)
        served = [one.result()[0] for one in waiting if one.done()]
        assert len({task.id for task in served}) == 300
        # Who came first was served first.
        assert all(one.done() for one in waiting[:300])
        for one in waiting[300:]:
            one.cancel()
        await asyncio.wait(waiting)
        assert world.node.pollers.waiting == 0


@pytest.mark.slow
async def test_a_launch_at_one_node_wakes_who_waits_at_another(postgres_url: str) -> None:
    async with running_world(postgres_url, lambda request: {}, **SELDOM) as world:
        await world.install(PULL)
        async with world.another_node(server={"role": "api"}, database={"url": world.url}, **SELDOM) as other:
            await hears(other, world)
            waiting = asyncio.create_task(other.pollers.poll(wanted(), LONG))
            await waits(other.pollers)
            execution = await world.launch()
            [task] = await waiting
            assert task.id == execution


async def hears(node: Node, world: World) -> None:
    """Wait until the node listens, and the world's own knows that there is somebody to ring for."""
    assert node.listener is not None
    await node.listener.hears.wait()

    async def probe() -> bool:
        world.node.registrar.wake()
        return world.node.registrar.others > 0

    await eventually(probe, "the other node to be known")


async def test_a_started_task_is_left_to_its_executor_when_given_back(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        task: PullTask = await executor.started()
        pollers = executor.world.node.pollers
        pollers.give_back([task])
        await pollers.tick()
        assert (await executor.look(task.id)).row.status == "in-progress"
