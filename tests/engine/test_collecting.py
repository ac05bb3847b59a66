"""Imports into the built-in collector, which need no HTTP: whole, in order, and once."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from orchestrator.engine.collecting import PASSED_OVER_LOOK, PATIENT_LOOKS
from orchestrator.service import collector
from orchestrator.service.collector import Batch
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.engine.desk import SOON, items
from tests.support.fake_app import Received, never
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world


async def kept(world: World) -> list[dict[str, Any]]:
    """Every item in the collector, oldest first."""
    found = await world.database.read(collector.exported, WORKSPACE, None, 0, 10_000)
    return [json.loads(view.item) for view in found]


async def batches(world: World) -> list[tuple[str, int, str | None]]:
    """(status, tries, message) of every batch, in their order."""
    return [(*row,) for row in await world.rows("SELECT status, tries, message FROM import_batches ORDER BY pk")]


def in_three_steps(request: Received) -> object:
    step = request.worker["step"]
    return {"is_done": step == 2, "items_to_import": items(600, first=600 * step)}


async def test_items_are_kept_in_their_order_and_the_execution_ends_after_that(database_url: str) -> None:
    async with running_world(database_url, in_three_steps, own_collector=True) as world:
        await world.install()
        assert await world.ended(await world.launch()) == "succeeded"

        assert [item["n"] for item in await kept(world)] == list(range(1800))
        assert await batches(world) == [("delivered", 1, None)] * 9
        assert world.collector.received == [], "nothing was sent"


async def test_a_worker_with_many_batches_goes_on_when_they_are_taken_in(database_url: str) -> None:
    """More than four of them hold it back; then nothing but their delivery makes it due."""

    def answer(request: Received) -> object:
        step = request.worker["step"]
        return {"is_done": step == 1, "items_to_import": items(250 * 12)} if step == 0 else {"is_done": True}

    # No poll comes to its help.
    async with running_world(
        database_url, answer, own_collector=True, engine={"poll_interval_secs": 30, "import_concurrency": 2}
    ) as world:
        await world.install()
        assert await world.ended(await world.launch()) == "succeeded"
        assert len(await kept(world)) == 3000


async def test_two_nodes_keep_each_item_once(postgres_url: str) -> None:
    async with running_world(postgres_url, in_three_steps, own_collector=True) as world, world.another_node():
        await world.install({"on_multiple_exec": "allow"})
        executions = [await world.launch() for _ in range(5)]
        assert {await world.ended(one) for one in executions} == {"succeeded"}

        numbers = sorted(item["n"] for item in await kept(world))
        assert numbers == sorted([*range(1800)] * 5)
        assert {status for status, _, _ in await batches(world)} == {"delivered"}


async def test_a_batch_that_had_come_before_is_dropped(database_url: str) -> None:
    """As where it was delivered over HTTP by a node whose word of that was lost."""
    async with running_world(database_url, in_three_steps, own_collector=True, start=False) as world:
        await world.install()
        execution = await world.launch()
        uid = (await world.row("SELECT uid FROM executions"))[0]
        again = Batch(WORKSPACE, [("n", '{"n":-1}')])
        await world.database.write(collector.take_in, [(again, f"imp_{uid}_0_0_0")])
        await world.node.start()

        assert await world.ended(execution) == "succeeded"
        assert [item["n"] for item in await kept(world)] == [-1, *range(250, 1800)]


async def test_a_batch_that_the_database_refuses_waits_and_keeps_no_other_from_going(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in, refusals = collector.take_in, 3

    def refusing(tx: Transaction, arrived: Sequence[tuple[Batch, str]]) -> list[bool]:
        nonlocal refusals
        if refusals and any('"poison"' in text for batch, _ in arrived for _, text in batch.items):
            refusals -= 1
            raise psycopg.DataError("no room for it, says the test")
        return take_in(tx, arrived)

    def answer(request: Received) -> object:
        return {"is_done": True, "items_to_import": [{"kind": request.worker["worker_state"]["kind"]}]}

    monkeypatch.setattr(collector, "take_in", refusing)
    async with running_world(database_url, answer, own_collector=True, start=False, retry=SOON) as world:
        await world.install({"on_multiple_exec": "allow"})
        executions = [await world.launch(state={"kind": kind}) for kind in ("good", "poison", "better")]
        await world.node.start()

        assert {await world.ended(one) for one in executions} == {"succeeded"}
        assert sorted(item["kind"] for item in await kept(world)) == ["better", "good", "poison"]
        assert refusals == 0
        [(tries,)] = await world.rows("SELECT max(tries) FROM import_batches")
        assert tries >= 2, "the one that was refused by itself was put off"


async def test_a_batch_whose_execution_is_locked_is_waited_for_in_the_end(postgres_url: str) -> None:
    async with running_world(postgres_url, never, own_collector=True, start=False) as world:
        await world.install()
        await world.launch(wakes=None)
        hand = ByHand(world)
        await hand.turn(await hand.claims(), is_done=True, items_to_import=items(3))
        collecting = world.node.deliverer
        async with await psycopg.AsyncConnection.connect(postgres_url) as somebody:
            await somebody.execute("SELECT 1 FROM executions FOR UPDATE")
            for _ in range(PATIENT_LOOKS):
                assert await collecting.tick() == PASSED_OVER_LOOK
            waiting = asyncio.create_task(collecting.tick())

            async def waits() -> bool:
                found = await somebody.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                return bool(await found.fetchall())

            await eventually(waits, "somebody who waits for the lock")
        assert await waiting == timedelta()
        assert await batches(world) == [("delivered", 1, None)]
        assert len(await kept(world)) == 3
