"""The limits: calls of an app at once and in a window, the sizes of states and answers, idle workers, durations."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.store.clock import from_micros
from tests.engine.scripted import Scripted, scripted_world
from tests.engine.watching import Ticks, Turnstile, count_ticks
from tests.support.fake_app import HangUp, Received
from tests.support.waiting import eventually
from tests.support.world import World, running_world

DONE = {"is_done": True}
AT_ONCE = {"retry": {"initial_delay_secs": 0, "max_delay_secs": 0}, "on_multiple_exec": "allow"}
BYTES = 2048
SIZES = {
    "answer_bytes": 65_536,
    "worker_state_bytes": BYTES,
    "app_state_bytes": BYTES,
    "items_per_answer": 300,
}

# Calls of an app


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


# Sizes


@pytest_asyncio.fixture(loop_scope="function")
async def small(database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(database_url, limits=SIZES) as scripted:
        await scripted.world.install(AT_ONCE)
        yield scripted


def of_bytes(size: int) -> dict[str, str]:
    """A JSON object of exactly so many bytes."""
    return {"note": "n", "big": "x" * (size - len('{"note":"n","big":""}'))}


async def test_states_and_items_may_reach_their_limits(small: Scripted) -> None:
    full = of_bytes(BYTES)
    run = await small.run(
        {
            "is_done": True,
            "updated_worker_state": full,
            "new_workers": [{"worker_id": 1, "initial_state": full}],
            "app_state_mutations": [{"operation": "set", "key": key, "value": full[key]} for key in full],
            "items_to_import": [{"kind": "n"}] * 300,
        }
    )

    assert run.status == "succeeded"
    assert (run.state, json.loads(run.workers[1]["state"])) == (full, full)
    assert json.loads(await small.world.app_state()) == full


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"updated_worker_state": of_bytes(BYTES + 1)},
            "the state of worker 0 would be 2,049 bytes; its limit is 2,048 (its largest key is 'big')",
        ),
        (
            {"new_workers": [{"worker_id": 3, "initial_state": of_bytes(BYTES + 1)}]},
            "the initial state of worker 3 would be 2,049 bytes; its limit is 2,048 (its largest key is 'big')",
        ),
        (
            {"app_state_mutations": [{"operation": "set", "key": "big", "value": "x" * BYTES}]},
            "the app state would be 2,058 bytes; its limit is 2,048 (its largest key is 'big')",
        ),
        (
            {
                "app_state_mutations": [
                    {"operation": "set", "key": "name", "value": "text"},
                    {"operation": "increment", "key": "name", "value": 1},
                ]
            },
            "app state key 'name' cannot be incremented: it holds a string, not a number",
        ),
    ],
)
async def test_a_state_over_its_limit_fails_the_worker_at_once(
    small: Scripted, answer: dict[str, Any], words: str
) -> None:
    run = await small.run(answer)

    assert (run.status, run.message) == ("failed", f"worker 0: refused: {words}")
    assert [(call["outcome"], call["message"]) for call in run.calls] == [("failed", f"refused: {words}")]
    assert (run.state, list(run.workers)) == ({}, [0])
    assert await small.world.app_state() == "{}"


async def test_an_app_state_that_grows_step_by_step_stops_at_its_limit(small: Scripted) -> None:
    half = "x" * (BYTES // 2 - 10)
    one, two, three = ({"app_state_mutations": [{"operation": "set", "key": key, "value": half}]} for key in "abc")
    run = await small.run(one, two, three)

    assert run.status == "failed"
    assert "app state would be" in str(run.message)
    assert run.worker["step"] == 2
    assert list(json.loads(await small.world.app_state())) == ["a", "b"]


async def test_too_many_items_make_an_answer_invalid(small: Scripted) -> None:
    run = await small.run({"items_to_import": [{"kind": "n"}] * 301}, {"is_done": True})

    assert run.calls[0]["message"] == "invalid answer: $.items_to_import: expected at most 300 items, got 301"
    assert [(call["step"], call["outcome"]) for call in run.calls] == [(0, "failed"), (0, "applied")]
    assert (run.status, await small.world.rows("SELECT 1 FROM import_batches")) == ("succeeded", [])


# Time


async def test_a_worker_that_gets_nowhere_is_slowed_to_a_call_in_ten_seconds(database_url: str) -> None:
    async with scripted_world(database_url, virtual_time=True) as scripted:
        await scripted.world.install(AT_ONCE)
        looking = {"message": "still looking"}
        execution = await scripted.start(*[looking] * 11, {"updated_worker_state": {"found": 1}}, looking, DONE)
        await eventually(lambda: has_ended_in_leaps(scripted.world, execution), "its end")
        calls = await scripted.world.calls(execution)

        slowed = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
        words = "slowed to one call in {:g} s: the last {} answers were not done and changed nothing"
        notes = [words.format(secs, number) for number, secs in enumerate(slowed, 3)]
        assert [call["notes"] for call in calls] == [None, None, *notes, None, None, None]
        starts = [at for (at,) in await scripted.world.rows("SELECT started_at FROM calls ORDER BY token")]
        ends = [at for (at,) in await scripted.world.rows("SELECT ended_at FROM calls ORDER BY token")]
        for number, secs in enumerate(slowed, 3):
            assert starts[number] - starts[number - 1] >= secs * 1_000_000
        assert starts[12] - ends[11] < 1_000_000, "progress ends the slowing"


async def test_an_execution_fails_when_it_has_run_longer_than_its_task_allows(database_url: str) -> None:
    async with scripted_world(database_url, virtual_time=True) as scripted:
        world = scripted.world
        await world.install({"max_duration_secs": 3600})
        stuck = await scripted.start({"delay_next_request_in_secs": 4000})
        await eventually(lambda: is_resting(world, stuck), "the first step")
        world.advance(timedelta(seconds=3590))
        await world.node.timekeeper.tick()
        assert await world.status(stuck) == "running"
        world.advance(timedelta(seconds=11))
        run = await scripted.ended(stuck)

        assert (run.status, run.message) == ("failed", "still running after max_duration_secs (3600 s)")
        assert (run.worker["status"], len(run.received)) == ("aborted", 1)
        # It blocks its task no longer.
        assert (await scripted.run(DONE)).status == "succeeded"


async def test_an_answer_in_flight_at_the_end_of_the_duration_is_still_applied(database_url: str) -> None:
    turnstile = Turnstile(lambda request: {"updated_worker_state": {"late": 1}})
    async with scripted_world(database_url, virtual_time=True) as scripted:
        world = scripted.world
        await world.install({"max_duration_secs": 10})
        execution = await scripted.start(turnstile)
        await turnstile.holds(1)
        world.advance(timedelta(seconds=11))
        await eventually(lambda: is_failing(world, execution), "the end of its time")
        assert await world.status(execution) == "running"
        turnstile.open()
        run = await scripted.ended(execution)

        assert (run.status, run.message) == ("failed", "still running after max_duration_secs (10 s)")
        assert (run.state, run.worker["status"]) == ({"late": 1}, "aborted")
        assert [call["outcome"] for call in run.calls] == ["applied"]


async def has_ended_in_leaps(world: World, execution: str) -> bool:
    """Whether it has ended; while its worker rests, a second passes."""
    worker = (await world.workers(execution))[0]
    assert world.clock is not None
    if worker["status"] == "ready" and from_micros(worker["due_at"]) > world.clock():
        world.advance(timedelta(seconds=1))
    return worker["status"] == "done"


async def is_resting(world: World, execution: str) -> bool:
    worker = (await world.workers(execution))[0]
    return (worker["step"], worker["status"]) == (1, "ready")


async def is_failing(world: World, execution: str) -> bool:
    (failing,) = await world.row("SELECT failing FROM executions WHERE id = :id", id=execution)
    return bool(failing)


async def has_called(world: World, count: int) -> bool:
    return len(world.app.received) >= count


async def has_had(world: World, ticks: Ticks, count: int) -> None:
    """Wait until the app has had so many calls; it must get no more, however often the node looks."""
    await eventually(lambda: has_called(world, count), f"{count} calls")
    await ticks.enough()
    assert len(world.app.received) == count
