"""One slow, dead or flooding app does not hold up another."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.service.claim import next_claims
from orchestrator.service.sharing import Places
from tests.engine.by_hand import ByHand, answered
from tests.engine.crowd import insert_crowd
from tests.engine.watching import Turnstile, count_ticks
from tests.support.fake_app import FakeApp, Received, running_app
from tests.support.waiting import eventually
from tests.support.world import World, running_world

pytestmark = pytest.mark.slow

CROWD = 5_000
EXECUTIONS = 50
DONE = {"is_done": True}
# Older than everything that a test launches: the crowd is always first in the queue.
LONG_AGO = 1


@dataclass(slots=True)
class Log:
    """Which app was called, in the order of the calls."""

    calls: list[str] = field(default_factory=list)

    def __call__(self, request: Received) -> Any:
        self.calls.append(request.payload["app_id"])
        return DONE


@asynccontextmanager
async def two_apps(
    url: str, handler: Any, other: Any, *, start: bool = True, **engine: Any
) -> AsyncIterator[tuple[World, FakeApp]]:
    """A world with `app_test`, answered by `handler`, and `app_other`, answered by `other`."""
    async with (
        running_world(url, handler, start=start, engine={"drain_secs": 0, **engine}) as world,
        running_app(other) as app,
    ):
        await world.install({"on_multiple_exec": "allow"})
        await world.install({"on_multiple_exec": "allow"}, app_id="app_other", url=app.url)
        yield world, app


async def hang(request: Received) -> Any:
    await asyncio.Event().wait()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def all_succeed(world: World, executions: list[str]) -> None:
    for execution in executions:
        assert await world.ended(execution) == "succeeded"


async def called_workers(world: World, app_id: str) -> int:
    (count,) = await world.row(
        """SELECT count(*) FROM workers w JOIN apps a ON a.pk = w.app_pk
            WHERE a.id = :app_id AND w.token > 0""",
        app_id=app_id,
    )
    return int(count)


# A dead app


@pytest.mark.parametrize("concurrency", [100, 4])
async def test_an_app_that_refuses_connections_does_not_delay_another(database_url: str, concurrency: int) -> None:
    async with running_world(database_url, lambda request: DONE, engine={"concurrency": concurrency}) as world:
        await world.install({"on_multiple_exec": "allow"})
        await world.install(app_id="app_dead", url=f"http://127.0.0.1:{closed_port()}/")
        await world.database.write(insert_crowd, "app_dead_run", CROWD, LONG_AGO)
        world.node.wake()
        await eventually(lambda: called_workers(world, "app_dead"), "a call of the dead app")
        executions = [await world.launch() for _ in range(EXECUTIONS)]
        await all_succeed(world, executions)

        tried = await called_workers(world, "app_dead")
        print(f"{tried} of {CROWD} workers of the dead app had been called")
        assert tried < CROWD / 2


@pytest.mark.parametrize("concurrency", [100, 4])
async def test_an_app_that_never_answers_does_not_delay_another(database_url: str, concurrency: int) -> None:
    async with two_apps(database_url, lambda request: DONE, hang, concurrency=concurrency) as (world, dead):
        await world.database.write(insert_crowd, "app_other_run", CROWD, LONG_AGO)
        world.node.wake()
        most = min(20, concurrency - max(1, concurrency // 10))

        async def hangs() -> bool:
            return len(dead.received) >= most

        await eventually(hangs, "all places that the dead app may take")
        executions = [await world.launch() for _ in range(EXECUTIONS)]
        await all_succeed(world, executions)

        calls = await world.rows("SELECT count(*) FROM calls")
        assert calls == [(EXECUTIONS,)], "none of the calls that hang had to end for it"
        assert len(dead.received) == most


# Sharing


async def test_a_worker_that_goes_on_gives_way_to_another_app_when_the_node_is_full(database_url: str) -> None:
    log = Log()
    turnstile = Turnstile(going_on(log))
    async with two_apps(database_url, turnstile, log, concurrency=1) as (world, _):
        endless = await world.launch()
        await turnstile.passes(3)
        await turnstile.holds(1)
        before = len(log.calls)
        execution = await world.launch("app_other_run")
        turnstile.open()

        assert await world.ended(execution) == "succeeded"
        # The call that was under way is the first; the turns of the two apps then alternate.
        assert log.calls.index("app_other") - before <= 2
        assert await world.status(endless) == "running"
        had = len(log.calls)
        await eventually(lambda: more_calls(log, had + 5), "it goes on")


async def test_a_worker_that_goes_on_keeps_its_place_while_nobody_waits(database_url: str) -> None:
    log = Log()
    async with two_apps(database_url, going_on(log, until=10), log, concurrency=1) as (world, _):
        execution = await world.launch()

        assert await world.ended(execution) == "succeeded"
        assert [call["step"] for call in await world.calls(execution)] == list(range(10))


async def test_two_busy_apps_have_an_equal_share_of_the_places(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Turnstile(), Turnstile()
    async with two_apps(database_url, first, second, start=False, concurrency=10) as (world, _):
        await world.install(app_id="app_idle")
        for _ in range(20):
            await world.launch()
        for _ in range(20):
            await world.launch("app_other_run")
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        await world.node.start()
        await first.holds(4)
        await second.holds(4)
        await ticks.enough()

        assert abs(len(first.inside) - len(second.inside)) <= 1
        # One place is kept for an app that has no call in flight.
        assert len(first.inside) + len(second.inside) == 9
        first.open()
        second.open()


async def test_no_place_is_kept_while_every_app_has_calls(database_url: str) -> None:
    first, second = Turnstile(), Turnstile()
    async with two_apps(database_url, first, second, start=False, concurrency=10) as (world, _):
        for _ in range(20):
            await world.launch()
            await world.launch("app_other_run")
        await world.node.start()
        await first.holds(5)
        await second.holds(5)

        first.open()
        second.open()


@pytest.mark.parametrize(("first", "second", "gives_way"), [(2, 2, False), (2, 1, False), (3, 1, True), (1, 3, False)])
async def test_a_worker_goes_on_at_once_while_no_other_app_has_less(
    database_url: str, first: int, second: int, gives_way: bool
) -> None:
    log = Log()
    async with two_apps(database_url, log, log, start=False) as (world, _):
        hand = ByHand(world)
        for _ in range(4):
            await world.launch(wakes=None)
        claims = await hand.claims(first)
        await world.database.write(lambda tx: tx.run("UPDATE apps SET status = 'stopped' WHERE id = 'app_test'"))
        for _ in range(4):
            await world.launch("app_other_run", wakes=None)
        claims += await hand.claims(second)
        await world.database.write(lambda tx: tx.run("UPDATE apps SET status = 'active'"))

        reports = [answered(claim, updated_worker_state={"n": 1}) for claim in claims]
        applied = await hand.apply(*reports, is_full=True)

        going_on = sorted(claims[position].app.id for position in applied.renewed)
        assert going_on.count("app_test") == (0 if gives_way else first)
        assert going_on.count("app_other") == (0 if second - first > 1 else second)


async def test_with_fewer_places_than_apps_each_has_its_turn(database_url: str) -> None:
    log = Log()
    apps = [f"app_number{number:02}" for number in range(9)]
    async with running_world(database_url, log, start=False) as world:
        for app_id in apps:
            await world.install({"on_multiple_exec": "allow"}, app_id=app_id)
        for _ in range(3):
            for app_id in apps:
                await world.launch(f"{app_id}_run", wakes=None)
        hand, called = ByHand(world), []
        for turn in range(7):
            found = await world.database.write(next_claims, world.node.definitions, hand.terms, Places(4, 4, turn))
            called += [claim.app.id for claim in found.claims]
            await hand.turn(found.claims, is_done=True)

        # 27 executions in turns of four: those that were launched first go first, whatever their app's key.
        assert called == apps * 3


async def test_of_two_busy_apps_none_is_ahead_of_the_other(database_url: str) -> None:
    log = Log()
    async with two_apps(database_url, log, log, start=False, concurrency=4) as (world, _):
        # The flood is older than what the other app wants.
        flood = [await world.launch() for _ in range(60)]
        others = [await world.launch("app_other_run") for _ in range(30)]
        await world.node.start()
        await all_succeed(world, flood + others)

        last = max(position for position, app in enumerate(log.calls) if app == "app_other")
        assert log.calls[:last].count("app_test") <= 45, "30, if the turns alternated to the letter"


def going_on(log: Log, until: int | None = None) -> Any:
    """Answers that change the state each time, so that the worker goes on at once."""

    def answer(request: Received) -> Any:
        log(request)
        step = request.worker["step"] + 1
        return {"is_done": step == until, "updated_worker_state": {"step": step}}

    return answer


async def more_calls(log: Log, count: int) -> bool:
    return len(log.calls) >= count
