"""Delivery: a call that was cut off is made again with the same key, or, where it must not be, fails the worker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.service import delivering
from orchestrator.service.claimed import Claim
from orchestrator.store.dialect import Dialect
from tests.engine.by_hand import ByHand, answered
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.support.fake_app import HangUp, Received, Reply
from tests.support.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
TASKS: list[dict[str, Any]] = [
    {"id": f"app_test_{delivery}", "delivery": delivery, "retry": ONE_RETRY, "on_multiple_exec": "allow"}
    for delivery in ("at_least_once", "at_most_once")
]
NOT_REPEATED = "at_most_once: it may have reached the app, so it is not repeated"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    limits = {"answer_bytes": 2048}
    async with scripted_world(shared_database_url, webhook={"timeout_secs": 1}, limits=limits) as scripted:
        await scripted.world.install(*TASKS)
        yield scripted


def done(request: Received) -> object:
    return DONE


async def hang(request: Received) -> Any:
    await asyncio.Event().wait()


# What the app does


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        pytest.param(hang, "no complete answer within 1 s", marks=pytest.mark.slow),
        (HangUp, "the server closed the connection"),
        (Reply(200, b"x" * 2049), "over the limit"),
    ],
    ids=["timeout", "reset", "incomplete"],
)
async def test_a_call_without_a_complete_answer(app: Scripted, step: Any, reason: str) -> None:
    again = await app.run(step, DONE, task_id="app_test_at_least_once")
    once = await app.run(step, DONE, task_id="app_test_at_most_once")

    assert again.status == "succeeded"
    assert [one.worker["retry_count"] for one in again.received] == [0, 1]
    assert len({one.headers["webhook-id"] for one in again.received}) == 1
    assert (once.status, len(once.received)) == ("failed", 1)
    assert reason in str(once.message)
    assert str(once.message).endswith(NOT_REPEATED)


@pytest.mark.parametrize("step", [Reply(503), Reply(429), Reply(404), Reply(302), b"not JSON", {"is_error": True}])
async def test_an_explicit_answer_is_retried_either_way(app: Scripted, step: Any) -> None:
    reply = Reply(200, step) if isinstance(step, bytes) else step
    for task in TASKS:
        run = await app.run(reply, DONE, task_id=task["id"])
        assert (run.status, len(run.received)) == ("succeeded", 2), task["id"]


async def test_a_failure_before_the_first_byte_is_retried_either_way(app: Scripted) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        tasks = [{**task, "id": task["id"].replace("test", "absent")} for task in TASKS]
        await app.world.install(*tasks, app_id="app_absent", url=url)
        for task in tasks:
            run = await app.run(task_id=task["id"])
            assert [call["failure"] for call in run.calls] == ["connection_refused"] * 2, task["id"]
            assert run.message == f"worker 0: out of retries (1): {run.calls[1]['message']}"


# What becomes of the server


async def crash_of(hand: ByHand) -> tuple[str, str, dict[str, Claim]]:
    """A node claims one step of each kind, and is never heard of again."""
    await hand.world.install(*TASKS)
    again, once = [await hand.world.launch(task["id"]) for task in TASKS]
    return again, once, {claim.execution_id: claim for claim in await hand.claims()}


async def another_run_ends(world: World) -> None:
    assert await world.ended(await world.launch("app_test_at_least_once")) == "succeeded"


async def test_after_a_crash_the_call_is_made_again_or_the_worker_fails(database_url: str) -> None:
    async with running_world(database_url, done, start=False, virtual_time=True) as world:
        hand = ByHand(world)
        again, once, claims = await crash_of(hand)
        await world.node.start()
        if world.database.dialect is Dialect.POSTGRESQL:
            # Another node may be making the calls, for as long as their leases last.
            await another_run_ends(world)
            assert [await world.status(execution) for execution in claims] == ["running", "running"]
            world.advance(hand.lease)

        assert (await world.ended(again), await world.ended(once)) == ("succeeded", "failed")
        words = {Dialect.SQLITE: "the server stopped during the call", Dialect.POSTGRESQL: "the lease ran out"}
        reason = words[world.database.dialect]
        first, second = await world.calls(again)
        assert (first["outcome"], first["failure"], second["outcome"]) == ("lost", "lost", "applied")
        assert reason in first["message"]
        [request] = [one for one in world.app.received if one.worker["task_exec_id"] == again]
        assert request.headers["webhook-id"] == claims[again].key
        assert (request.worker["step"], request.worker["retry_count"]) == (0, 1)

        message = str(await world.message(once))
        assert reason in message
        assert message.endswith(NOT_REPEATED)
        assert not [one for one in world.app.received if one.worker["task_exec_id"] == once]

        # What the node sends in after all is on record, and changes nothing.
        await hand.apply(*(answered(claim, is_error=True, is_done=True) for claim in claims.values()))
        assert (await world.calls(again))[0]["outcome"] == "fenced"
        assert [await world.status(execution) for execution in (again, once)] == ["succeeded", "failed"]


async def test_the_lease_of_a_node_that_lives_is_not_taken_over(postgres_url: str) -> None:
    async with running_world(postgres_url, done, virtual_time=True, start=False) as world:
        hand = ByHand(world)
        again, _, _ = await crash_of(hand)
        async with world.another_node():
            world.advance(hand.lease - timedelta(seconds=5))
            await world.node.start()
            await another_run_ends(world)
            assert await world.status(again) == "running"
            world.advance(timedelta(seconds=6))
            assert await world.ended(again) == "succeeded"


async def test_a_batch_on_its_way_at_a_crash_is_sent_again_with_its_key(database_url: str) -> None:
    async with running_world(database_url, done, start=False, virtual_time=True) as world:
        await world.install()
        execution = await world.launch()
        hand = ByHand(world)
        await hand.turn(await hand.claims(), is_done=True, items_to_import=[{"kind": "a"}])
        taken = await world.database.write(delivering.take, 8, hand.terms)
        await world.node.start()
        if world.database.dialect is Dialect.POSTGRESQL:
            world.advance(hand.lease)

        assert await world.ended(execution) == "succeeded"
        [request] = world.collector.received
        assert [request.headers["idempotency-key"]] == [batch.key for batch in taken.batches]
        [(tries,)] = await world.rows("SELECT tries FROM import_batches")
        assert tries == 2
