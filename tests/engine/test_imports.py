"""Imports: what was applied reaches the collector, whole and in order, and then the execution has succeeded."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from app_sdk.protocol.signing import rmd_signature
from orchestrator.service import workspaces
from tests.engine.desk import Desk, items, numbers_of, take_in, three_batches
from tests.engine.watching import Turnstile, count_ticks
from tests.support.fake_app import Received, Reply
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
REST = {"delay_next_request_in_secs": 3600}


@pytest.fixture
def turnstile(desk: Desk) -> Turnstile:
    """What every batch must pass."""
    desk.collect = turnstile = Turnstile(take_in)
    return turnstile


# Batches


async def test_items_go_in_the_order_given_at_most_250_a_batch(desk: Desk) -> None:
    run = await desk.run(
        {"items_to_import": [json.dumps(item) for item in items(600)]},
        {"items_to_import": items(250, first=600)},
        {"is_done": True, "items_to_import": items(251, first=850)},
    )

    assert run.status == "succeeded"
    assert desk.numbers == list(range(1101))
    assert [len(one.payload["items"]) for one in desk.received] == [250, 250, 100, 250, 250, 1]
    assert {one.path for one in desk.received} == {"/collector/data"}
    assert {tuple(one.payload) for one in desk.received} == {("workspace_id", "items")}
    assert {one.payload["workspace_id"] for one in desk.received} == {WORKSPACE}
    assert {one.headers["content-type"] for one in desk.received} == {"application/json"}
    assert len(set(desk.keys)) == 6
    assert await desk.statuses(run.id) == ["delivered"] * 6


async def test_one_batch_of_a_worker_is_under_way_at_a_time(
    desk: Desk, turnstile: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count_ticks(monkeypatch, desk.world.node.deliverer)
    answer = {"is_done": True, "items_to_import": three_batches()}
    for worker_id in (1, 2):
        desk.scripted.script.write("lanes", answer, worker_id=worker_id)
    desk.scripted.script.write("lanes", {**answer, "new_workers": [{"worker_id": 1}, {"worker_id": 2}]})
    await desk.world.launch(id="lanes")
    await turnstile.holds(3)
    await ticks.enough()
    assert Counter(map(lane_of, turnstile.inside)) == {0: 1, 1: 1, 2: 1}
    turnstile.let(1)
    await turnstile.holds(3)
    turnstile.open()

    assert await desk.world.ended("lanes") == "succeeded"
    assert turnstile.most == 3
    for worker_id in range(3):
        assert numbers_of([one for one in desk.received if lane_of(one) == worker_id]) == list(range(600))


def lane_of(request: Received) -> int:
    """The id of the worker that a batch comes from, as its key tells."""
    return int(request.headers["idempotency-key"].split("_")[2])


async def test_a_worker_with_more_than_four_undelivered_batches_is_not_called(
    desk: Desk, turnstile: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_at_second_call: list[int] = []

    def second(request: Received) -> dict[str, Any]:
        taken_at_second_call.append(turnstile.let_through)
        return DONE

    async def rests_with(undelivered: int) -> bool:
        worker = (await desk.world.workers(execution))[0]
        return (worker["status"], worker["undelivered"]) == ("ready", undelivered)

    ticks = count_ticks(monkeypatch, desk.world.node.dispatcher)
    execution = await desk.start({"items_to_import": items(6 * 250)}, second)
    for undelivered in (6, 5):
        await eventually(partial(rests_with, undelivered), f"{undelivered} undelivered batches")
        await ticks.enough()
        assert await rests_with(undelivered)
        assert taken_at_second_call == []
        await turnstile.passes(1)
    await eventually(lambda: desk.worker_is(execution, "done"), "the second step")
    turnstile.open()

    assert await desk.world.ended(execution) == "succeeded"
    assert taken_at_second_call == [2]


async def test_four_undelivered_batches_do_not_hold_a_worker(desk: Desk, turnstile: Turnstile) -> None:
    execution = await desk.start({"items_to_import": items(4 * 250)}, DONE)
    await eventually(lambda: desk.worker_is(execution, "done"), "the second step")
    assert (await desk.world.workers(execution))[0]["undelivered"] == 4
    turnstile.open()

    assert await desk.world.ended(execution) == "succeeded"


# The end of an execution


async def test_an_execution_succeeds_with_its_last_delivery_and_until_then_is_in_nobodys_way(
    desk: Desk, turnstile: Turnstile
) -> None:
    first = await desk.start({"is_done": True, "items_to_import": three_batches()})
    await turnstile.passes(2)
    await turnstile.holds(1)
    await desk.all_are(first, "delivered", "delivered", "pending")
    assert await desk.worker_is(first, "done")
    assert await desk.world.status(first) == "running"
    # The task's policy is discard_new.
    assert (await desk.run(DONE)).status == "succeeded"
    assert await desk.world.status(first) == "running"
    turnstile.open()

    assert await desk.world.ended(first) == "succeeded"
    assert await desk.statuses(first) == ["delivered"] * 3


async def test_what_was_applied_is_delivered_after_an_abort(desk: Desk, turnstile: Turnstile) -> None:
    execution = await desk.start({"items_to_import": three_batches(), **REST})
    await turnstile.holds(1)
    await desk.world.abort(execution)
    turnstile.open()
    await desk.all_are(execution, "delivered", "delivered", "delivered")

    assert desk.numbers == list(range(600))
    assert await desk.world.status(execution) == "aborted"


async def test_what_was_applied_is_delivered_after_a_failure(desk: Desk, turnstile: Turnstile) -> None:
    run = await desk.run({"items_to_import": three_batches()}, Reply(400, b"no more"))
    assert (run.status, run.message) == ("failed", "worker 0: HTTP 400: no more")
    turnstile.open()
    await desk.all_are(run.id, "delivered", "delivered", "delivered")

    assert desk.numbers == list(range(600))
    assert await desk.world.status(run.id) == "failed"


# The signature


async def test_batches_are_signed_with_the_present_secret_of_the_workspace(desk: Desk) -> None:
    world = desk.world
    old = await world.database.read(workspaces.secret, world.vault, WORKSPACE)
    await desk.run({"is_done": True, "items_to_import": items(300)})
    new = await world.database.write(workspaces.rotate_secret, world.vault, WORKSPACE)
    await desk.run({"is_done": True, "items_to_import": items(1)})

    assert old != new
    expected = [rmd_signature(secret, one.body) for secret, one in zip((old, old, new), desk.received, strict=True)]
    assert [one.headers["x-rmd-signature"] for one in desk.received] == expected
