"""Nodes: who takes part, and what becomes of the claims of one that is gone."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.registrar import Registrar
from orchestrator.engine.wakeups import Listener, Notifier
from orchestrator.runtime.node import Node
from orchestrator.service import nodes
from orchestrator.service.nodes import NodeStatus, NodeView
from orchestrator.store import listening
from orchestrator.store.nodes import NodeFacts
from tests.engine.by_hand import ByHand
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import World, running_world

pytestmark = pytest.mark.slow

TIMEOUT = timedelta(seconds=10)
QUICK = {"node_timeout_secs": 0.5}
# Whoever waits for a poll of this length waits longer than any test does.
ONLY_WOKEN = {"poll_interval_secs": 60}
CUT_LISTENER = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND query LIKE '%pg_listening_channels%' AND pid <> pg_backend_pid()"""


def done(request: Received) -> Any:
    return {"is_done": True}


async def listed(world: World) -> Sequence[NodeView]:
    return await world.database.read(nodes.listed, TIMEOUT)


async def statuses(world: World) -> dict[str, NodeStatus]:
    return {view.row.id: view.status for view in await listed(world)}


async def lives(world: World, node: Node) -> None:
    async def probe() -> bool:
        return (await statuses(world)).get(node.identity) is NodeStatus.LIVE

    await eventually(probe, "the node's first sign of life")


def facts_of(name: str) -> NodeFacts:
    return NodeFacts(f"{name}:1", name, "all", "0.0.1", "http://127.0.0.1:1")


# Taking part.


async def test_a_node_comes_lives_and_goes_under_an_identity_of_its_boot(database_url: str) -> None:
    async with running_world(database_url, done, server={"name": "north"}) as world:
        await lives(world, world.node)
        [view] = await listed(world)
        assert view.row.id.startswith("north:")
        assert (view.row.name, view.row.role, view.row.calls) == ("north", "all", 0)
        await world.node.drain()
        assert await statuses(world) == {view.row.id: NodeStatus.STOPPED}
        async with world.another_node() as again:
            assert again.identity.startswith("north:")
            assert again.identity != view.row.id


async def test_one_that_falls_silent_is_lost_and_a_day_later_forgotten(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        gone = facts_of("gone")
        assert (await world.database.write(nodes.beat, gone, NodeStatus.LIVE, TIMEOUT)).others in (0, 1)
        assert (await statuses(world))[gone.id] is NodeStatus.LIVE
        world.advance(TIMEOUT + timedelta(seconds=1))
        assert (await statuses(world))[gone.id] is NodeStatus.LOST
        await world.database.write(nodes.forget)
        assert gone.id in await statuses(world)
        world.advance(timedelta(days=1))
        await world.database.write(nodes.forget)
        assert gone.id not in await statuses(world)
        # Only its row was gone: the next sign of life of one that was held up for a day brings it back.
        await world.database.write(nodes.beat, gone, NodeStatus.LIVE, TIMEOUT)
        assert (await statuses(world))[gone.id] is NodeStatus.LIVE


class Told(Registrar):
    """A registrar whose warnings are kept."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.warnings: list[str] = []
        self._log = self

    def warning(self, message: str, **_facts: object) -> None:
        self.warnings.append(message)


async def test_a_clock_that_is_far_off_is_told_once(database_url: str) -> None:
    async with running_world(database_url, done, start=False, virtual_time=True) as world:
        definitions = world.node.definitions
        told = Told(world.database, definitions, facts_of("off"), TIMEOUT, lambda: None, judges=False)
        await told.tick()
        assert told.warnings == []
        world.advance(timedelta(seconds=70))
        for _ in range(3):
            await told.tick()
        assert told.warnings == ["this machine's clock differs from the database's: apps may refuse calls"]


# Its claims.


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
        sql, pk = "UPDATE workers SET pull_task_pk = 1 WHERE execution_pk = :pk", await world.pk(pulled)
        await world.database.write(lambda tx: tx.run(sql, pk=pk))
        await world.node.start()

        assert await world.ended(execution) == "succeeded"
        lost, applied = await world.calls(execution)
        assert (lost["outcome"], lost["message"]) == ("lost", "its node gave no sign of life for 0.5 s")
        assert applied["outcome"] == "applied"
        assert (await world.workers(pulled))[0]["status"] == "calling"


async def test_those_of_a_node_that_lives_are_not(postgres_url: str) -> None:
    async with running_world(postgres_url, done, start=False, engine=QUICK) as world:
        await world.install()
        execution = await world.launch()
        await orphans_of(world, "alive", execution)

        async def keep_alive() -> None:
            while True:
                await world.database.write(nodes.beat, facts_of("alive"), NodeStatus.LIVE, TIMEOUT)

        beating = asyncio.create_task(keep_alive())
        await world.node.start()
        ticks = await beats_of(world, world.node, 20)
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        assert ticks >= 20
        assert (await world.workers(execution))[0]["status"] == "calling"


async def beats_of(world: World, node: Node, wanted: int) -> int:
    """Wait for so many signs of life of a node: more than it takes to judge others."""
    seen: set[int] = set()

    async def probe() -> bool:
        seen.update(view.row.heartbeat_at for view in await listed(world) if view.row.id == node.identity)
        return len(seen) >= wanted

    await eventually(probe, f"{wanted} signs of life")
    return len(seen)


# Wake-ups.


def api_node(world: World) -> dict[str, Any]:
    return {"server": {"role": "api"}, "database": {"url": world.url}}


async def hears(node: Node) -> None:
    assert node.listener is not None
    async with asyncio.timeout(20):
        await node.listener.hears.wait()


async def test_what_one_node_launches_wakes_another(postgres_url: str) -> None:
    async with running_world(postgres_url, done, engine={**ONLY_WOKEN, **QUICK}) as world:
        await world.install()
        await hears(world.node)
        async with world.another_node(**api_node(world), engine={**ONLY_WOKEN, **QUICK}) as front:
            await lives(world, front)
            await eventually(lambda: has_company(front), "the front node to see the other one")
            execution = await world.launch(wakes=front)
            assert await world.ended(execution) == "succeeded"
            [call] = await world.rows("SELECT node FROM calls")
            assert call == (world.node.identity,)


async def has_company(node: Node) -> bool:
    return node.registrar.others > 0


async def test_a_connection_that_was_cut_is_made_again(postgres_url: str) -> None:
    async with running_world(postgres_url, done, engine=ONLY_WOKEN) as world:
        await world.install()
        await hears(world.node)
        listener = world.node.listener
        assert listener is not None
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as operator:
            assert (await (await operator.execute(CUT_LISTENER)).fetchall()) == [(True,)]
            await eventually(lambda: is_clear(listener.hears), "the listener to notice")
            await hears(world.node)
            # Launched by nobody who wakes this node, but for the ring.
            execution = await world.launch(wakes=None)
            await operator.execute(f"NOTIFY {listening.CHANNEL}")
        assert await world.ended(execution) == "succeeded"


async def is_clear(event: asyncio.Event) -> bool:
    return not event.is_set()


@pytest.mark.parametrize("how", ["off", "unreachable", "pooler"])
async def test_without_listen_the_work_is_found_by_polling(
    postgres_url: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = {"off": "off", "unreachable": "postgresql://nobody@127.0.0.1:1/none", "pooler": ""}[how]
    if how == "pooler":
        # What a transaction pooler does: the next statement is another session's.
        monkeypatch.setattr(listening, "_LISTENING", "SELECT 'another' WHERE false")
    async with running_world(postgres_url, done, database={"listen_url": address}) as world:
        await world.install()
        execution = await world.launch(wakes=None)
        assert await world.ended(execution) == "succeeded"
        assert world.node.listener is None or not world.node.listener.hears.is_set()


class Rings:
    """A database that only counts what is written."""

    def __init__(self) -> None:
        self.count = 0
        self.is_away = False

    async def write(self, work: Any) -> None:
        assert work is listening.notify
        self.count += 1
        if self.is_away:
            raise DatabaseUnavailable("away")


async def rings(database: Rings, *, has_others: bool = True) -> Notifier:
    return Notifier(database, lambda: has_others)  # type: ignore[arg-type]


async def test_many_rings_are_two() -> None:
    database = Rings()
    notifier = await rings(database)
    for _ in range(1000):
        notifier.ring()
    await eventually(lambda: has_counted(database, 1), "the first ring")
    for _ in range(1000):
        notifier.ring()
    await notifier.close()
    assert database.count == 2


async def has_counted(database: Rings, count: int) -> bool:
    return database.count == count


async def test_nobody_is_rung_for_where_there_is_nobody() -> None:
    database = Rings()
    notifier = await rings(database, has_others=False)
    notifier.ring()
    await notifier.close()
    assert database.count == 0


async def test_a_ring_that_fails_harms_nobody() -> None:
    database = Rings()
    database.is_away = True
    notifier = await rings(database)
    notifier.ring()
    await notifier.close()
    assert database.count == 1


async def test_a_listener_that_never_started_can_be_stopped(postgres_url: str) -> None:
    await Listener(postgres_url, lambda: None).stop()


async def test_an_unreachable_database_is_told_as_such() -> None:
    with pytest.raises(DatabaseUnavailable):
        async with listening.listening("postgresql://nobody@127.0.0.1:1/none"):
            raise AssertionError("nobody answers there")
