"""Workers: who starts, who waits for whom, and what the failure of one does to the others."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.gate import Gate
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.support.fake_app import Reply
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
WAIT = {"wait_for_workers": True}
REST = {"delay_next_request_in_secs": 3600}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url, virtual_time=True, limits={"worker_state_bytes": 4096}) as scripted:
        overlapping: dict[str, Any] = {"retry": ONE_RETRY, "on_multiple_exec": "allow"}
        await scripted.world.install(
            overlapping,
            {"id": "app_test_continue", "on_worker_failure": "continue", **overlapping},
            {"id": "app_test_short", "max_duration_secs": 60, **overlapping},
        )
        await scripted.world.install(
            {"retry": {**ONE_RETRY, "max_retries": 5}}, app_id="app_patient", url=scripted.world.app.url
        )
        yield scripted


def spawn(*worker_ids: int, **state: Any) -> dict[str, Any]:
    return {"new_workers": [{"worker_id": worker_id, "initial_state": state} for worker_id in worker_ids]}


def received_by(app: Scripted, execution_id: str, worker_id: int) -> list[dict[str, Any]]:
    return [one.worker for one in app.script.received[execution_id] if one.worker["worker_id"] == worker_id]


async def statuses(app: Scripted, execution_id: str) -> dict[int, str]:
    workers = await app.world.workers(execution_id)
    return {worker_id: worker["status"] for worker_id, worker in sorted(workers.items())}


async def until(app: Scripted, execution_id: str, expected: dict[int, str]) -> None:
    async def probe() -> bool:
        return await statuses(app, execution_id) == expected

    await eventually(probe, f"{expected} of {execution_id}")


async def rests(app: Scripted, execution_id: str, worker_id: int) -> None:
    async def probe() -> bool:
        worker = (await app.world.workers(execution_id)).get(worker_id)
        return worker is not None and worker["step"] > 0 and worker["status"] == "ready"

    await eventually(probe, f"worker {worker_id} at rest")


# Spawning


async def test_worker_0_starts_alone_unless_the_launch_names_more(app: Scripted) -> None:
    alone = await app.run(DONE, state={"input": 1})
    together = await app.run(DONE, state={"input": 1}, workers={3: '{"mine":3}', 9: "{}"})

    assert (list(alone.workers), alone.state) == ([0], {"input": 1})
    assert sorted(together.workers) == [0, 3, 9]
    states = {worker_id: received_by(app, together.id, worker_id)[0]["worker_state"] for worker_id in (0, 3, 9)}
    assert states == {0: {"input": 1}, 3: {"mine": 3}, 9: {}}


async def test_new_workers_start_with_their_states_and_see_each_other(app: Scripted) -> None:
    run = await app.run({**spawn(*range(1, 10), page=1), "delay_next_request_in_secs": 0}, DONE)

    assert run.status == "succeeded"
    for worker_id in range(1, 10):
        [call] = received_by(app, run.id, worker_id)
        assert (call["worker_state"], call["step"]) == ({"page": 1}, 0)
    assert set(received_by(app, run.id, 0)[1]["workers"]) == {str(worker_id) for worker_id in range(10)}


async def test_without_an_initial_state_a_worker_starts_with_an_empty_one(app: Scripted) -> None:
    run = await app.run({**DONE, "new_workers": [{"worker_id": 1}, {"worker_id": 2, "initial_state": None}]})

    assert [received_by(app, run.id, worker_id)[0]["worker_state"] for worker_id in (1, 2)] == [{}, {}]


async def test_one_that_is_done_starts_again_and_its_steps_count_on(app: Scripted) -> None:
    run = await app.run({**spawn(1, round=1), **WAIT}, {**spawn(1, round=2), **WAIT}, DONE)

    calls = received_by(app, run.id, 1)
    assert [(call["step"], call["worker_state"]) for call in calls] == [(0, {"round": 1}), (1, {"round": 2})]
    assert len({one.headers["webhook-id"] for one in run.received}) == len(run.received) == 5
    assert (run.status, run.workers[1]["step"]) == ("succeeded", 2)


async def test_one_that_is_still_going_is_left_alone_and_noted(app: Scripted) -> None:
    execution = await app.start({**spawn(2, first=1), "delay_next_request_in_secs": 0}, spawn(2, second=1), DONE)
    app.script.write(execution, REST, DONE, worker_id=2)
    await rests(app, execution, 2)
    await until(app, execution, {0: "done", 2: "ready"})
    app.world.advance(timedelta(hours=1))
    run = await app.ended(execution)

    assert run.calls[1]["notes"] in {"worker 2 was left alone: it is ready", "worker 2 was left alone: it is calling"}
    assert [call["worker_state"] for call in received_by(app, execution, 2)] == [{"first": 1}] * 2


# Waiting for the other workers


async def test_who_waits_when_all_others_have_ended_is_called_with_their_results(app: Scripted) -> None:
    execution = await app.start({**spawn(4, 5), "delay_next_request_in_secs": 1}, WAIT, DONE)
    app.script.write(execution, {**DONE, "updated_worker_state": {"n": 4}, "output": {"rows": 7}}, worker_id=4)
    await until(app, execution, {0: "ready", 4: "done", 5: "done"})
    app.world.advance(timedelta(seconds=1))
    run = await app.ended(execution)

    assert run.status == "succeeded"
    calls = received_by(app, execution, 0)
    assert ["worker_results" in call for call in calls] == [False, False, True]
    assert calls[2]["worker_results"] == {
        "4": {"status": "done", "state": {"n": 4}, "output": {"rows": 7}},
        "5": {"status": "done", "state": {}, "output": None},
    }


async def test_results_come_again_until_the_step_is_closed_without_an_error(app: Scripted) -> None:
    steps: Any = ({**spawn(1), **WAIT}, Reply(503), {"is_error": True}, {}, DONE)
    run = await app.run(*steps, task_id="app_patient_run")

    calls = [
        call["worker_results"].keys() if "worker_results" in call else None for call in received_by(app, run.id, 0)
    ]
    assert calls == [None, {"1"}, {"1"}, {"1"}, None]


async def test_those_that_wait_are_called_lowest_first_one_at_a_time(app: Scripted) -> None:
    execution = await app.start({**spawn(1, 2), **WAIT}, DONE)
    app.script.write(execution, WAIT, DONE, worker_id=1)
    app.script.write(execution, WAIT, DONE, worker_id=2)
    run = await app.ended(execution)

    assert run.status == "succeeded"
    released = [
        (one.worker["worker_id"], {other: result["status"] for other, result in one.worker["worker_results"].items()})
        for one in run.received
        if "worker_results" in one.worker
    ]
    assert released == [
        (0, {"1": "waiting", "2": "waiting"}),
        (1, {"0": "done", "2": "waiting"}),
        (2, {"0": "done", "1": "done"}),
    ]


async def test_one_that_waits_again_is_passed_over_until_another_closes_a_step(app: Scripted) -> None:
    execution = await app.start({**spawn(1), **WAIT}, WAIT, DONE)
    app.script.write(execution, WAIT, DONE, worker_id=1)
    run = await app.ended(execution)

    assert run.status == "succeeded"
    released = [one.worker["worker_id"] for one in run.received if "worker_results" in one.worker]
    assert released == [0, 1, 0]


async def test_workers_that_only_wait_for_each_other_are_a_deadlock(app: Scripted) -> None:
    execution = await app.start({**spawn(1, 3), **WAIT}, WAIT)
    for worker_id in (1, 3):
        app.script.write(execution, WAIT, worker_id=worker_id)
    run = await app.ended(execution)

    assert run.status == "failed"
    assert run.message == "deadlocked: only workers that wait for the others are left (0, 1, 3)"
    assert await statuses(app, execution) == {0: "aborted", 1: "aborted", 3: "aborted"}
    released = [one.worker["worker_id"] for one in run.received if "worker_results" in one.worker]
    assert released == [0, 1, 3]


async def test_one_alone_that_waits_is_called_at_once_and_deadlocks_if_it_waits_again(app: Scripted) -> None:
    run = await app.run(WAIT)

    assert (run.status, len(run.received)) == ("failed", 2)
    assert run.received[1].worker["worker_results"] == {}
    assert "deadlocked" in str(run.message)


# Failing


async def test_the_failure_of_one_ends_those_at_rest_and_applies_the_answers_in_flight(app: Scripted) -> None:
    in_flight = Gate({"updated_worker_state": {"applied": 1}, "output": {"late": 1}, **spawn(9)})
    failing = Gate(Reply(400, b"broken"))
    execution = await app.start({**spawn(1, 2, 3, 4), **WAIT})
    app.script.write(execution, {"await_callback": {}}, worker_id=1)
    app.script.write(execution, REST, worker_id=2)
    app.script.write(execution, in_flight, worker_id=3)
    app.script.write(execution, failing, worker_id=4)
    await until(app, execution, {0: "waiting", 1: "awaiting", 2: "ready", 3: "calling", 4: "calling"})
    await in_flight.holds()
    failing.open()
    await until(app, execution, {0: "aborted", 1: "aborted", 2: "aborted", 3: "calling", 4: "failed"})

    status, is_failing = await app.world.row("SELECT status, failing FROM executions WHERE id = :id", id=execution)
    assert (status, bool(is_failing)) == ("running", True)
    in_flight.open()
    run = await app.ended(execution)

    assert (run.status, run.message) == ("failed", "worker 4: HTTP 400: broken")
    assert await statuses(app, execution) == {0: "aborted", 1: "aborted", 2: "aborted", 3: "aborted", 4: "failed"}
    assert (run.workers[3]["state"], run.workers[3]["step"]) == ('{"applied":1}', 1)
    [late] = [call for call in run.calls if call["worker_id"] == 3]
    assert (late["outcome"], late["notes"]) == ("applied", "worker 9 was not started: the execution is failing")
    assert len(received_by(app, execution, 2)) == 1


async def test_continue_lets_the_others_run_to_their_end_first(app: Scripted) -> None:
    gate = Gate(DONE)
    execution = await app.start({**spawn(1, 2), **WAIT}, DONE, task_id="app_test_continue")
    app.script.write(execution, {"is_done": True, "is_error": True, "message": "mine"}, worker_id=1)
    app.script.write(execution, gate, worker_id=2)
    await until(app, execution, {0: "waiting", 1: "failed", 2: "calling"})
    gate.open()
    run = await app.ended(execution)

    assert (run.status, run.message) == ("failed", "worker 1: mine")
    assert await statuses(app, execution) == {0: "done", 1: "failed", 2: "done"}
    results = received_by(app, execution, 0)[1]["worker_results"]
    assert {worker_id: result["status"] for worker_id, result in results.items()} == {"1": "failed", "2": "done"}


async def test_a_callback_that_does_not_come_in_time_fails_the_worker(app: Scripted) -> None:
    execution = await app.start({"await_callback": {"timeout_in_secs": 100}})
    await until(app, execution, {0: "awaiting"})
    app.world.advance(timedelta(seconds=101))
    run = await app.ended(execution)

    assert (run.status, run.message) == ("failed", "worker 0: no callback came before the timeout of the wait")


@pytest.mark.parametrize(
    "step", [REST, WAIT | spawn(1), {"await_callback": {}}], ids=["resting", "waiting", "awaiting"]
)
async def test_a_run_that_is_stuck_fails_when_its_time_is_up(app: Scripted, step: dict[str, Any]) -> None:
    execution = await app.start(step, task_id="app_test_short")
    app.script.write(execution, REST, worker_id=1)

    async def is_at_rest() -> bool:
        return not {"calling", "done"} & set((await statuses(app, execution)).values()) and bool(
            (await app.world.workers(execution))[0]["step"]
        )

    await eventually(is_at_rest, "rest")
    app.world.advance(timedelta(seconds=61))
    run = await app.ended(execution)

    assert (run.status, run.message) == ("failed", "still running after max_duration_secs (60 s)")
    assert set((await statuses(app, execution)).values()) == {"aborted"}
