"""Abort and retry: an abort wins over whatever is in flight, a retry takes up what was last applied."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import Conflict, NotFound
from tests.engine.by_hand import ByHand, answered
from tests.engine.gate import Gate
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.support.fake_app import Reply, never
from tests.support.waiting import eventually
from tests.support.world import running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
REST = {"delay_next_request_in_secs": 3600}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url) as scripted:
        await scripted.world.install({"retry": ONE_RETRY, "on_multiple_exec": "allow"})
        yield scripted


async def fenced(app: Scripted, execution_id: str) -> dict[str, Any]:
    """The call of the execution that is fenced, once there is one."""

    async def probe() -> dict[str, Any] | None:
        return next((call for call in await app.world.calls(execution_id) if call["outcome"] == "fenced"), None)

    return await eventually(probe, "a fenced call")


# Abort


async def test_an_abort_wins_over_an_answer_in_flight(app: Scripted) -> None:
    late = Gate(
        {
            "is_done": True,
            "message": "too late",
            "updated_worker_state": {"late": 1},
            "app_state_mutations": [{"operation": "set", "key": "late", "value": 1}],
            "items_to_import": [{"kind": "late"}],
            "new_workers": [{"worker_id": 1}],
            "output": {"late": 1},
        }
    )
    execution = await app.start(late, state={"before": 1})
    await late.holds()
    await app.world.abort(execution)
    late.open()
    call = await fenced(app, execution)

    assert (call["token"], call["step"], call["http_status"], call["message"]) == (1, 0, 200, "too late")
    assert await app.world.status(execution) == "aborted"
    workers = await app.world.workers(execution)
    assert list(workers) == [0]
    assert (workers[0]["status"], workers[0]["step"], workers[0]["state"]) == ("aborted", 0, '{"before":1}')
    assert "late" not in json.loads(await app.world.app_state())
    pk = await app.world.pk(execution)
    assert await app.world.rows("SELECT 1 FROM import_batches WHERE execution_pk = :pk", pk=pk) == []
    assert await app.world.row("SELECT output FROM execution_details WHERE execution_pk = :pk", pk=pk) == (None,)


async def test_an_abort_ends_workers_of_every_kind(app: Scripted) -> None:
    gate = Gate(DONE)
    execution = await app.start({"wait_for_workers": True}, workers={1: "{}", 2: "{}", 3: "{}", 4: "{}"})
    app.script.write(execution, {"await_callback": {}}, worker_id=1)
    app.script.write(execution, REST, worker_id=2)
    app.script.write(execution, gate, worker_id=3)

    async def has_settled() -> bool:
        found = {worker_id: worker["status"] for worker_id, worker in (await app.world.workers(execution)).items()}
        rested = (await app.world.workers(execution))[2]["step"]
        return found == {0: "waiting", 1: "awaiting", 2: "ready", 3: "calling", 4: "done"} and bool(rested)

    await eventually(has_settled, "one worker of each kind")
    await app.world.abort(execution)
    gate.open()
    run = await app.ended(execution)

    statuses = {worker_id: worker["status"] for worker_id, worker in run.workers.items()}
    assert statuses == {0: "aborted", 1: "aborted", 2: "aborted", 3: "aborted", 4: "done"}
    assert (run.status, run.message) == ("aborted", "aborted")


async def test_only_what_lives_can_be_aborted(app: Scripted) -> None:
    run = await app.run(DONE)

    with pytest.raises(Conflict, match="already succeeded"):
        await app.world.abort(run.id)
    with pytest.raises(NotFound, match="no execution nobody"):
        await app.world.abort("nobody")


async def test_no_claim_commits_after_an_abort(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        hand = ByHand(world)
        for _ in range(10):
            execution = await world.launch(workers=dict.fromkeys(range(1, 10), "{}"))
            await asyncio.gather(world.abort(execution), *(hand.claims(2) for _ in range(3)))
            assert {worker["status"] for worker in (await world.workers(execution)).values()} == {"aborted"}
            assert await hand.claims() == ()


async def test_an_answer_of_an_earlier_claim_is_not_applied_after_a_later_retry(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch()
        hand = ByHand(world)
        early = (await hand.claim())[0]
        await world.abort(execution)
        await world.retry(execution)

        await hand.apply(answered(early, is_done=True, updated_worker_state={"early": 1}))
        assert (await world.workers(execution))[0]["status"] == "ready"
        again = (await hand.claim())[0]
        assert (again.key, again.step, again.attempt) == (early.key, 0, 2)
        await hand.apply(answered(early, is_done=True, updated_worker_state={"early": 1}))
        assert (await world.workers(execution))[0]["status"] == "calling"
        await hand.apply(answered(again, is_done=True, updated_worker_state={"again": 1}))

        assert await world.status(execution) == "succeeded"
        assert (await world.workers(execution))[0]["state"] == '{"again":1}'
        assert [(call["token"], call["outcome"]) for call in await world.calls(execution)] == [
            (1, "fenced"),
            (2, "applied"),
        ]


# Retry


async def test_a_retry_resumes_the_unfinished_workers_from_their_last_applied_state(app: Scripted) -> None:
    broken = Reply(400, b"broken")
    steps = ({"updated_worker_state": {"page": 2}}, broken, {"updated_worker_state": {"page": 3}}, DONE)
    execution = await app.start(*steps, state={"page": 1}, workers={1: '{"mine":1}'})
    app.script.write(execution, DONE, worker_id=1)
    first = await app.ended(execution)
    assert (first.status, first.message) == ("failed", "worker 0: HTTP 400: broken")

    await app.world.retry(execution)
    run = await app.ended(execution)

    assert run.status == "succeeded"
    attempt, message = await app.world.row("SELECT attempt, message FROM executions WHERE id = :id", id=execution)
    assert (attempt, message) == (2, None)
    assert run.worker["message"] is None, "what it failed with belongs to the attempt before"
    mine = [one for one in run.received if one.worker["worker_id"] == 0]
    assert [(one.worker["step"], one.worker["retry_count"], one.worker["worker_state"]) for one in mine] == [
        (0, 0, {"page": 1}),
        (1, 0, {"page": 2}),
        (1, 0, {"page": 2}),
        (2, 0, {"page": 3}),
    ]
    # The unapplied step keeps its number and its key.
    keys = [one.headers["webhook-id"] for one in mine]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3
    # One that was done is not called again.
    assert len(run.received) - len(mine) == 1


async def test_a_retry_after_the_last_retry_begins_the_count_anew(app: Scripted) -> None:
    execution = await app.start(Reply(503), Reply(503), Reply(503), DONE)
    assert (await app.ended(execution)).status == "failed"

    await app.world.retry(execution)
    run = await app.ended(execution)

    assert run.status == "succeeded"
    assert [one.worker["retry_count"] for one in run.received] == [0, 1, 0, 1]
    assert len({one.headers["webhook-id"] for one in run.received}) == 1


async def test_an_aborted_execution_can_be_retried_as_often_as_it_takes(app: Scripted) -> None:
    execution = await app.start({"updated_worker_state": {"n": 1}, **REST})
    for attempt in (1, 2, 3):

        async def has_stepped(step: int = attempt) -> bool:
            return bool((await app.world.workers(execution))[0]["step"] == step)

        await eventually(has_stepped, f"step {attempt}")
        await app.world.abort(execution)
        await app.world.retry(execution)
    app.script.write(execution, DONE)
    run = await app.ended(execution)

    assert (run.status, run.worker["step"], run.state) == ("succeeded", 4, {"n": 1})
    assert [one.worker["step"] for one in run.received] == [0, 1, 2, 3]


async def test_an_error_that_was_done_is_called_again_as_the_next_step(app: Scripted) -> None:
    given_up = {"is_done": True, "is_error": True, "message": "given up", "updated_worker_state": {"seen": 1}}
    execution = await app.start(given_up, DONE)
    assert (await app.ended(execution)).status == "failed"

    await app.world.retry(execution)
    run = await app.ended(execution)

    assert run.status == "succeeded"
    assert [(one.worker["step"], one.worker["worker_state"]) for one in run.received] == [(0, {}), (1, {"seen": 1})]


async def test_only_a_failed_or_aborted_execution_can_be_retried(app: Scripted) -> None:
    done = await app.run(DONE)
    running = await app.start(REST)

    for execution_id, status in ((done.id, "succeeded"), (running, "running")):
        with pytest.raises(Conflict, match=f"only a failed or aborted execution can be retried; this one is {status}"):
            await app.world.retry(execution_id)
    with pytest.raises(NotFound):
        await app.world.retry("nobody")
