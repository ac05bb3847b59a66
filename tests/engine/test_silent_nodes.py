"""What becomes of the claims and import batches of a node that is gone."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.engine.registrar import Registrar
from orchestrator.runtime.node import Node
from orchestrator.service import delivering, nodes
from orchestrator.service.claim import next_claims
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.nodes import NodeFacts
from tests.engine.by_hand import ByHand
from tests.engine.test_nodes import QUICK, TIMEOUT, done, facts_of, listed
from tests.support.waiting import eventually
from tests.support.world import World, running_world
from tests.support.writes import Write, stand_before_writes

pytestmark = pytest.mark.slow

OVERLAPPING = {"on_multiple_exec": "allow"}


async def orphans_of(world: World, name: str, *executions: str) -> None:
    """Let a node that gives one sign of life claim these executions' workers, and fall silent."""
    facts = facts_of(name)
    await world.database.write(nodes.beat, facts, NodeStatus.LIVE, TIMEOUT)
    claims = await ByHand(world, name=facts.id, lease=timedelta(hours=1)).claims()
    assert {claim.execution_id for claim in claims} == set(executions)


async def test_the_claims_of_a_silent_node_are_taken_over_long_before_their_leases_end(postgres_url: str) -> None:
    async with running_world(postgres_url, done, start=False, engine=QUICK) as world:
        await world.install({"retry": {"max_retries": 0}}, {"id": "app_test_pulled", "name": "Pulled"})
        execution, pulled = await world.launch(), await world.launch("app_test_pulled")
        await orphans_of(world, "dead", execution, pulled)
        # A pull claim is its executor's, whatever becomes of the node that answered the poll.
        sql = "UPDATE workers SET pull_task_pk = 1 WHERE execution_pk = :pk"
        pk = await world.pk(pulled)
        await world.database.write(lambda tx: tx.run(sql, pk=pk))
        await world.node.start()

        assert await world.ended(execution) == "succeeded"
        lost, applied = await world.calls(execution)
        assert (lost["outcome"], lost["message"]) == ("lost", "its node gave no sign of life for 0.5 s")
        assert applied["outcome"] == "applied"
        assert (await world.workers(pulled))[0]["status"] == "calling"


async def test_a_claim_is_a_sign_of_life_of_a_node_that_was_held_up(database_url: str) -> None:
    """It claims before it beats again; taken over at once, its call would be made twice."""
    async with running_world(database_url, done, start=False, virtual_time=True) as world:
        await world.install()
        definitions, hand = world.node.definitions, ByHand(world, name=facts_of("slow").id)
        await world.database.write(nodes.beat, facts_of("slow"), NodeStatus.LIVE, TIMEOUT)
        world.advance(2 * TIMEOUT)
        await world.launch(wakes=None)
        await hand.claims()

        assert (await world.database.write(nodes.lose_silent, definitions, TIMEOUT)).claims == 0
        world.advance(TIMEOUT + timedelta(microseconds=1))
        assert (await world.database.write(nodes.lose_silent, definitions, TIMEOUT)).claims == 1


async def test_what_a_silent_node_held_is_told_to_those_who_may_take_it(database_url: str) -> None:
    async with running_world(database_url, done, start=False, virtual_time=True) as world:
        await world.install()
        await orphans_of(world, "dead", await world.launch())
        world.advance(TIMEOUT)
        told: list[str] = []
        # Without patience: silent is who gave no sign of life at this very instant.
        registrar = Registrar(
            world.database,
            world.node.definitions,
            facts_of("alive"),
            timedelta(),
            lambda: told.append("there is work"),
            judges=True,
        )
        # There may be more of it than one look finds.
        assert await registrar.tick() == timedelta()
        assert told == ["there is work"]
        assert await registrar.tick() is None
        assert told == ["there is work"]
        assert [claim.worker_id for claim in await ByHand(world).claims()] == [0]


async def test_the_batches_of_a_silent_node_are_sent_by_another_long_before_their_leases_end(postgres_url: str) -> None:
    async with running_world(postgres_url, done, start=False, engine=QUICK) as world:
        await world.install(OVERLAPPING)
        executions = [await world.launch() for _ in range(2)]
        hand = ByHand(world, lease=timedelta(hours=1))
        await hand.turn(await hand.claims(), is_done=True, items_to_import=[{"kind": "n"}])
        dead, alive = facts_of("dead"), facts_of("alive")
        for facts in (dead, alive):
            await world.database.write(nodes.beat, facts, NodeStatus.LIVE, TIMEOUT)
            taken = await world.database.write(delivering.take, 1, LeaseTerms(facts.id, timedelta(hours=1)))
            assert len(taken.batches) == 1

        async with beating(world, alive):
            await world.node.start()
            # Whose batch of the two the dead node was sending, the table tells.
            await eventually(lambda: one_is_delivered(world), "the batch of the dead node")
            await beats_of(world, world.node, 20)
        left = await world.rows("SELECT node, status, tries FROM import_batches ORDER BY status")
        assert left == [(None, "delivered", 2), (alive.id, "pending", 1)]
        assert sorted([await world.status(execution) for execution in executions]) == ["running", "succeeded"]


async def one_is_delivered(world: World) -> bool:
    return await world.row("SELECT count(*) FROM import_batches WHERE status = 'delivered'") == (1,)


async def test_those_of_a_node_that_lives_are_not(postgres_url: str) -> None:
    async with running_world(postgres_url, done, start=False, engine=QUICK) as world:
        await world.install()
        execution = await world.launch()
        await orphans_of(world, "alive", execution)

        async with beating(world, facts_of("alive")):
            await world.node.start()
            ticks = await beats_of(world, world.node, 20)
        assert ticks >= 20
        assert (await world.workers(execution))[0]["status"] == "calling"


@asynccontextmanager
async def beating(world: World, facts: NodeFacts) -> AsyncIterator[None]:
    """Signs of life of another node, until the block ends."""

    async def keep_alive() -> None:
        while True:
            await world.database.write(nodes.beat, facts, NodeStatus.LIVE, TIMEOUT)

    task = asyncio.create_task(keep_alive())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def beats_of(world: World, node: Node, wanted: int) -> int:
    """Wait for so many signs of life of a node: more than it takes to judge others."""
    seen: set[int] = set()

    async def probe() -> bool:
        seen.update(view.row.heartbeat_at for view in await listed(world) if view.row.id == node.identity)
        return len(seen) >= wanted

    await eventually(probe, f"{wanted} signs of life")
    return len(seen)


async def test_a_node_that_stood_still_after_its_claim_does_not_make_the_call(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may have given it up, and one of them may be making the same call."""
    async with running_world(
        database_url, lambda request: {"is_done": True}, start=False, engine={"node_timeout_secs": 0.5}
    ) as world:
        await world.install()
        execution = await world.launch()
        stood_still = list[int]()

        async def standing_still(write: Write, work: Any, *args: Any) -> Any:
            result = await write(work, *args)
            if work is next_claims and result.claims and not stood_still:
                stood_still.append(len(result.claims))
                # As by SIGSTOP: the loop's clock goes on.
                time.sleep(0.6)  # noqa: ASYNC251
            return result

        stand_before_writes(monkeypatch, world.database, standing_still)
        await world.node.start()
        assert await world.ended(execution) == "succeeded"
        assert stood_still == [1]
        tokens = await world.rows("SELECT token, outcome FROM calls")
    assert tokens == [(2, "applied")]
    assert len(world.app.received) == 1
