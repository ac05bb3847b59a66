"""When the dispatcher looks for work: an end frees a place, which is of use only where somebody waits for it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.engine.gate import Gate
from tests.engine.scripted import Scripted, scripted_world
from tests.engine.watching import count_ticks
from tests.support.waiting import eventually

DONE = {"is_done": True}
# Nothing is found by polling in the time of a test.
POLL_SECS = 60.0


@pytest.fixture
async def narrow(sqlite_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(sqlite_url, engine={"poll_interval_secs": POLL_SECS, "concurrency": 2}) as scripted:
        await scripted.world.install({"on_multiple_exec": "allow"})
        yield scripted


async def test_the_end_of_a_call_wakes_nobody_where_nobody_waits(
    narrow: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(DONE)
    execution = await narrow.start(gate)
    await gate.holds()
    dispatcher = narrow.world.node.dispatcher

    async def sleeps() -> bool:
        return not dispatcher._woken.is_set() and not dispatcher._is_short

    await eventually(sleeps, "the dispatcher to have seen that nobody waits")
    looks = count_ticks(monkeypatch, dispatcher)
    gate.open()
    assert (await narrow.ended(execution)).status == "succeeded"

    async def is_over() -> bool:
        return dispatcher.in_flight == 0

    await eventually(is_over, "the end of the conversation")
    assert not dispatcher._woken.is_set()
    assert looks.count == 0


async def test_whoever_waits_for_a_place_gets_the_next_that_is_free(narrow: Scripted) -> None:
    gates = [Gate(DONE) for _ in range(4)]
    executions = [await narrow.start(gate) for gate in gates]
    for gate, execution in zip(gates, executions, strict=True):
        await gate.holds()
        gate.open()
        assert (await narrow.ended(execution)).status == "succeeded"


async def test_a_claim_that_is_given_back_is_taken_again_at_once(
    narrow: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = narrow.world.node.dispatcher
    monkeypatch.setattr(dispatcher, "_begin_secs", -1.0)
    given_back = asyncio.Event()
    release = dispatcher._release

    async def releasing(claims: object) -> None:
        monkeypatch.setattr(dispatcher, "_begin_secs", 10.0)
        await release(claims)  # type: ignore[arg-type]
        given_back.set()

    monkeypatch.setattr(dispatcher, "_release", releasing)
    execution = await narrow.start(DONE)
    await given_back.wait()
    assert (await narrow.ended(execution)).status == "succeeded"


async def test_an_end_on_one_node_frees_room_for_what_another_has_made_due(postgres_url: str) -> None:
    first, second, third = Gate(DONE), Gate({"new_workers": [{"worker_id": 1}]}), Gate(DONE)
    async with scripted_world(postgres_url, engine={"poll_interval_secs": POLL_SECS}) as scripted:
        world = scripted.world
        await world.install({"on_multiple_exec": "allow"}, max_concurrent_calls=2)
        one = await scripted.start(first)
        await first.holds()
        async with world.another_node() as other:

            async def know_each_other() -> bool:
                return world.node.registrar.others > 0 and other.registrar.others > 0

            await eventually(know_each_other, "the nodes to know each other")
            scripted.script.write("another", second, third)
            await world.launch(id="another", wakes=other)
            await second.holds()

            async def sleeps() -> bool:
                return not world.node.dispatcher._woken.is_set() and not world.node.dispatcher._is_short

            await eventually(sleeps, "the first node to have seen that nobody waits")
            second.open()
            await third.holds()
            first.open()
            assert (await scripted.ended(one)).status == "succeeded"

            async def helper_is_done() -> bool:
                return bool(await world.rows("SELECT 1 FROM workers WHERE worker_id = 1 AND status = 'done'"))

            # Without a wake-up it is found by chance, some twenty seconds later.
            await eventually(helper_is_done, "the call of the worker that waited for the place", 10.0)
            third.open()
