"""The limits of a task: the sizes of its states and answers, calls that get nowhere, the time that it may take."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.store.clock import from_micros
from tests.engine.scripted import Scripted, scripted_world
from tests.engine.watching import Turnstile
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
AT_ONCE = {"retry": {"initial_delay_secs": 0, "max_delay_secs": 0}, "on_multiple_exec": "allow"}
BYTES = 2048
SIZES = {
    "answer_bytes": 65_536,
    "worker_state_bytes": BYTES,
    "app_state_bytes": BYTES,
    "items_per_answer": 300,
}

# Sizes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url, limits=SIZES) as scripted:
        yield scripted


async def fresh_app(small: Scripted) -> str:
    """Install an app with an empty state; returns its id."""
    app_id = f"app_small{next(small.numbers)}"
    await small.world.install(AT_ONCE, app_id=app_id)
    return app_id


def of_bytes(size: int) -> dict[str, str]:
    """A JSON object of exactly so many bytes."""
    return {"note": "n", "big": "x" * (size - len('{"note":"n","big":""}'))}


async def test_states_and_items_may_reach_their_limits(small: Scripted) -> None:
    app_id, full = await fresh_app(small), of_bytes(BYTES)
    run = await small.run(
        {
            "is_done": True,
            "updated_worker_state": full,
            "new_workers": [{"worker_id": 1, "initial_state": full}],
            "app_state_mutations": [{"operation": "set", "key": key, "value": full[key]} for key in full],
            "items_to_import": [{"kind": "n"}] * 300,
        },
        task_id=f"{app_id}_run",
    )

    assert run.status == "succeeded"
    assert (run.state, json.loads(run.workers[1]["state"])) == (full, full)
    assert json.loads(await small.world.app_state(app_id)) == full


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
    app_id = await fresh_app(small)
    run = await small.run(answer, task_id=f"{app_id}_run")

    assert (run.status, run.message) == ("failed", f"worker 0: refused: {words}")
    assert [(call["outcome"], call["message"]) for call in run.calls] == [("failed", f"refused: {words}")]
    assert (run.state, list(run.workers)) == ({}, [0])
    assert await small.world.app_state(app_id) == "{}"


async def test_an_app_state_that_grows_step_by_step_stops_at_its_limit(small: Scripted) -> None:
    app_id = await fresh_app(small)
    half = "x" * (BYTES // 2 - 10)
    one, two, three = ({"app_state_mutations": [{"operation": "set", "key": key, "value": half}]} for key in "abc")
    run = await small.run(one, two, three, task_id=f"{app_id}_run")

    assert run.status == "failed"
    assert "app state would be" in str(run.message)
    assert run.worker["step"] == 2
    assert list(json.loads(await small.world.app_state(app_id))) == ["a", "b"]


async def test_too_many_items_make_an_answer_invalid(small: Scripted) -> None:
    app_id = await fresh_app(small)
    run = await small.run({"items_to_import": [{"kind": "n"}] * 301}, DONE, task_id=f"{app_id}_run")
    left = await small.world.rows(
        "SELECT 1 FROM import_batches WHERE execution_pk = :pk", pk=await small.world.pk(run.id)
    )

    assert run.calls[0]["message"] == "invalid answer: $.items_to_import: expected at most 300 items, got 301"
    assert [(call["step"], call["outcome"]) for call in run.calls] == [(0, "failed"), (0, "applied")]
    assert (run.status, left) == ("succeeded", [])


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
    return bool(worker["status"] == "done")


async def is_resting(world: World, execution: str) -> bool:
    worker = (await world.workers(execution))[0]
    return (worker["step"], worker["status"]) == (1, "ready")


async def is_failing(world: World, execution: str) -> bool:
    (failing,) = await world.row("SELECT failing FROM executions WHERE id = :id", id=execution)
    return bool(failing)
