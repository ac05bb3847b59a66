"""A node that goes down in good order: nothing is claimed anew, what is under way is recorded, and others go on."""

import asyncio
import json
from typing import Any

import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.service.apply import apply
from tests.engine.by_hand import ByHand
from tests.engine.gate import Gate
from tests.support.fake_app import Received, Reply
from tests.support.waiting import PATIENCE_SECS, eventually
from tests.support.world import World, running_world
from tests.support.writes import Write, stand_before_writes

AT_MOST_ONCE = {"delivery": "at_most_once", "on_multiple_exec": "allow"}
OVERLAPPING = {"on_multiple_exec": "allow"}
AT_ONCE = {"drain_secs": 0}


async def draining(world: World) -> None:
    """Wait until the node claims nothing any more: what falls due stays due."""
    world.node.dispatcher.stop_claiming()
    await world.node.dispatcher.tick()


async def test_calls_in_flight_are_applied_and_not_continued(database_url: str) -> None:
    gate = Gate({"updated_worker_state": {"answered": 1}})
    async with running_world(database_url, gate) as world:
        await world.install(OVERLAPPING)
        execution = await world.launch()
        await gate.holds()
        await draining(world)
        late = await world.launch()
        gate.open()
        assert await world.node.drain()

        worker = (await world.workers(execution))[0]
        assert (worker["status"], worker["step"], json.loads(worker["state"])) == ("ready", 1, {"answered": 1})
        assert len(world.app.received) == 1
        assert (await world.workers(late))[0]["token"] == 0
        # Its claims are given back, and the next node takes both up at once.
        assert len(await ByHand(world).claims()) == 2


async def test_a_call_that_does_not_end_in_time_is_lost_and_made_again_at_once(database_url: str) -> None:
    gate = Gate({"is_done": True})
    async with running_world(database_url, gate, engine=AT_ONCE) as world:
        await world.install(OVERLAPPING, {"id": "app_test_once", **AT_MOST_ONCE})
        again, once = await world.launch(), await world.launch("app_test_once")
        await gate.holds(2)
        assert not await world.node.drain()

        [call] = await world.calls(again)
        assert (call["outcome"], call["failure"], call["message"]) == ("failed", "lost", "the node is shutting down")
        worker = (await world.workers(again))[0]
        assert (worker["status"], worker["step"], worker["retry_count"]) == ("ready", 0, 1)
        assert await world.status(once) == "failed"
        assert str(await world.message(once)).startswith("worker 0: the node is shutting down; at_most_once")
        (unanswered,) = await world.row("SELECT unanswered_calls FROM apps")
        assert unanswered == 0, "the app is not to blame"

        gate.open()
        async with world.another_node():
            assert await world.ended(again) == "succeeded"
        keys = [one.headers["webhook-id"] for one in world.app.received if one.worker["task_exec_id"] == again]
        assert len(keys) == 2
        assert len(set(keys)) == 1


async def test_batches_under_way_are_delivered_and_no_other_is_taken(database_url: str) -> None:
    gate = Gate(Reply(200))
    items: dict[str, Any] = {"is_done": True, "items_to_import": [{"kind": "n", "n": n} for n in range(600)]}
    async with running_world(database_url, lambda request: items, gate) as world:
        await world.install()
        execution = await world.launch()
        await gate.holds()
        await world.node.deliverer.stop()
        gate.open()
        assert await world.node.drain()

        statuses = [status for (status,) in await world.rows("SELECT status FROM import_batches ORDER BY pk")]
        assert statuses == ["delivered", "pending", "pending"]
        async with world.another_node():
            assert await world.ended(execution) == "succeeded"
        numbers = [item["n"] for request in world.collector.received for item in request.payload["items"]]
        assert numbers == list(range(600))


async def test_what_a_node_claims_while_its_drain_begins_is_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(request: Received) -> object:
        raise AssertionError("no call is made of it")

    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch()

        async def drain_meanwhile(write: Write, *args: Any, **kwargs: Any) -> Any:
            world.node.dispatcher.stop_claiming()
            return await write(*args, **kwargs)

        stand_before_writes(monkeypatch, world.database, drain_meanwhile)
        await world.node.dispatcher.tick()

        async def is_due() -> bool:
            worker = (await world.workers(execution))[0]
            return (worker["status"], worker["token"], worker["retry_count"]) == ("ready", 1, 0)

        await eventually(is_due, "the claim's return")
        assert await world.calls(execution) == []


async def test_a_claim_renewed_while_the_drain_begins_is_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate({"updated_worker_state": {"answered": 1}})
    async with running_world(database_url, gate) as world:
        await world.install()
        execution = await world.launch()
        await gate.holds()
        renewed = []

        async def drain_meanwhile(write: Write, work: Any, *args: Any, **kwargs: Any) -> Any:
            result = await write(work, *args, **kwargs)
            if work is apply:
                # The commit was held up, and SIGTERM has come before the node hears of it.
                renewed.append(len(result.renewed))
                world.node.dispatcher.stop_claiming()
            return result

        stand_before_writes(monkeypatch, world.database, drain_meanwhile)
        gate.open()
        await eventually(lambda: is_idle(world), "the end of the conversation")

        assert renewed == [1]
        assert len(world.app.received) == 1, "no call begins after the signal"
        worker = (await world.workers(execution))[0]
        seen = (worker["status"], worker["step"], worker["token"], worker["retry_count"])
        assert seen == ("ready", 1, 2, 0)
        assert [call["outcome"] for call in await world.calls(execution)] == ["applied"]


@pytest.mark.slow
async def test_a_database_that_hangs_does_not_hold_up_the_way_down(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate({"is_done": True})
    async with running_world(database_url, gate, engine={"drain_secs": 1}) as world:
        await world.install()
        execution = await world.launch()
        await gate.holds()
        hanging, is_back = asyncio.Event(), asyncio.Event()

        async def hang(*_args: Any, **_kwargs: Any) -> Any:
            hanging.set()
            await is_back.wait()
            raise DatabaseUnavailable("it was away, says the test")

        for name in ("write", "write_here", "read"):
            monkeypatch.setattr(world.database, name, hang)
        gate.open()
        await asyncio.wait_for(hanging.wait(), PATIENCE_SECS)
        assert not await asyncio.wait_for(world.node.drain(), PATIENCE_SECS)
        monkeypatch.undo()
        is_back.set()
        assert await world.status(execution) == "running"


async def is_idle(world: World) -> bool:
    return world.node.dispatcher.in_flight == 0
