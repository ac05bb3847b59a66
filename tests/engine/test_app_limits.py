"""The limits of an app: its calls at once, its calls in a window, and the places of one that gives no answer."""

from asyncio import create_task, gather
from datetime import timedelta
from typing import Any

import pytest

from tests.engine.by_hand import ByHand, answered
from tests.engine.held_back import held_back, waits_for_a_lock
from tests.engine.watching import Ticks, Turnstile, count_ticks
from tests.support.fake_app import HangUp, Received
from tests.support.waiting import eventually
from tests.support.world import World, running_world

DONE = {"is_done": True}
AT_ONCE = {"retry": {"initial_delay_secs": 0, "max_delay_secs": 0}, "on_multiple_exec": "allow"}


async def test_an_app_has_no_more_calls_at_once_than_it_allows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = Turnstile()
    async with running_world(database_url, turnstile) as world:
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        await world.install(AT_ONCE, max_concurrent_calls=3)
        executions = [await world.launch() for _ in range(9)]
        await turnstile.holds(3)
        await ticks.enough()
        assert len(turnstile.inside) == 3
        turnstile.let(1)
        await eventually(lambda: has_called(world, 4), "a fourth call in the place of the first")
        turnstile.open()
        for execution in executions:
            assert await world.ended(execution) == "succeeded"

        assert turnstile.most == 3


async def test_the_limit_of_an_app_counts_the_calls_of_every_node(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = Turnstile()
    async with running_world(database_url, turnstile) as world, world.another_node() as other:
        loops = [count_ticks(monkeypatch, node.dispatcher) for node in (world.node, other)]
        await world.install(AT_ONCE, max_concurrent_calls=3)
        executions = [await world.launch() for _ in range(9)]
        await turnstile.holds(3)
        for ticks in loops:
            await ticks.enough()
        turnstile.open()
        for execution in executions:
            assert await world.ended(execution) == "succeeded"

        assert turnstile.most == 3


async def test_claims_at_the_same_instant_share_the_places_that_are_left(database_url: str) -> None:
    async with running_world(database_url, lambda request: DONE, start=False) as world:
        hand = ByHand(world)
        await world.install(AT_ONCE, max_concurrent_calls=7)
        for _ in range(20):
            await world.launch()
        for _ in range(5):
            claimed = [claim for claims in await gather(*(hand.claims(20) for _ in range(4))) for claim in claims]
            claimed += await hand.claims(20)
            assert len(claimed) == 7
            await hand.apply(*(answered(claim) for claim in claimed), renews=False)


async def test_a_limit_that_was_lowered_between_the_look_and_the_claim_holds(postgres_url: str) -> None:
    async with (
        running_world(postgres_url, lambda request: DONE, start=False) as world,
        world.another_database() as other,
    ):
        await world.install(AT_ONCE, max_concurrent_calls=3)
        for _ in range(5):
            await world.launch()
        lower = "UPDATE apps SET max_concurrent_calls = 1"
        async with held_back(other, lambda tx: tx.run(lower)):
            claiming = create_task(ByHand(world).claims(20))
            await waits_for_a_lock(world)
        assert len(await claiming) == 1


async def test_an_app_gets_no_more_calls_in_any_window_than_its_rate_limit(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = timedelta(minutes=1)
    async with running_world(database_url, lambda request: DONE, virtual_time=True) as world:
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        await world.install(AT_ONCE, rate_limit={"calls": 5, "per_secs": 3600})
        for _ in range(3):
            await world.launch()
        await has_had(world, ticks, 3)
        world.advance(30 * minute)
        for _ in range(9):
            await world.launch()
        await has_had(world, ticks, 5)
        world.advance(29 * minute)
        await has_had(world, ticks, 5)
        # The window is counted in fiftieths, so a call counts for up to 72 seconds longer than an hour.
        world.advance(3 * minute)
        await has_had(world, ticks, 8)
        world.advance(30 * minute)
        await has_had(world, ticks, 10)
        world.advance(32 * minute)
        await has_had(world, ticks, 12)


async def test_a_rate_limit_holds_for_a_worker_that_goes_on_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(request: Received) -> Any:
        return {"updated_worker_state": {"step": request.worker["step"] + 1}}

    async with running_world(database_url, endless, virtual_time=True) as world:
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        await world.install(AT_ONCE, rate_limit={"calls": 4, "per_secs": 60})
        await world.launch()
        for calls in (4, 8, 12):
            await has_had(world, ticks, calls)
            world.advance(timedelta(seconds=62))


async def test_an_app_that_gave_no_answer_five_times_holds_two_places_until_it_answers(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = Turnstile()

    def answer(request: Received) -> Any:
        if len(world.app.received) <= 5:
            raise HangUp
        return turnstile(request)

    async with running_world(database_url, answer, start=False) as world:
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        await world.install(AT_ONCE, max_concurrent_calls=5)
        executions = [await world.launch() for _ in range(8)]
        await world.node.start()
        await turnstile.holds(2)
        await ticks.enough()
        assert len(turnstile.inside) == 2

        turnstile.let(1)
        await turnstile.holds(5)
        turnstile.open()
        for execution in executions:
            assert await world.ended(execution) == "succeeded"
        assert turnstile.most == 5


async def has_called(world: World, count: int) -> bool:
    return len(world.app.received) >= count


async def has_had(world: World, ticks: Ticks, count: int) -> None:
    """Wait until the app has had so many calls; it must get no more, however often the node looks."""
    await eventually(lambda: has_called(world, count), f"{count} calls")
    await ticks.enough()
    assert len(world.app.received) == count
