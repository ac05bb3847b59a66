"""On PostgreSQL the database's clock counts, however far a node's own is off.

Here it is the database's that is moved: its `clock_timestamp()` is found in front of the real one. What goes by a clock
of the node, in whichever way it was read, is then as far off.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import psycopg
import pytest
import pytest_asyncio

from orchestrator.service import nodes
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.clock import from_micros
from orchestrator.store.nodes import NodeFacts
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.support.fake_app import never
from tests.support.world import World, running_world

SKEWS = [timedelta(seconds=5), timedelta(seconds=-5), timedelta(days=1), timedelta(days=-1)]
SKEWED = """
CREATE SCHEMA skewed;
CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT pg_catalog.clock_timestamp() + interval '{secs} seconds' $$;
CREATE FUNCTION skewed.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.now() + interval '{secs} seconds' $$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = skewed, public, pg_catalog', current_database());
END $$"""
MINUTE = timedelta(minutes=1)


@pytest_asyncio.fixture(params=SKEWS, ids=str)
async def world(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[World]:
    """A node without loops whose clock is that far from its database's."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SKEWED.format(secs=request.param.total_seconds()).encode())
    async with running_world(postgres_url, never, start=False) as world:
        yield world


async def database_time(world: World) -> datetime:
    """What the skewed clock shows, as any other client of the database would read it."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        [found] = connection.execute("SELECT clock_timestamp()").fetchall()
    at = found[0]
    assert isinstance(at, datetime)
    return at


async def test_leases_and_due_times_go_by_the_databases_clock(world: World) -> None:
    await world.install({"max_duration_secs": 3600})
    hand = ByHand(world)
    before = await database_time(world)
    await world.launch()
    claims = await hand.claims()
    beat = await world.database.write(
        nodes.beat, NodeFacts("n:1", "n", "all", "0", "http://n"), NodeStatus.LIVE, MINUTE
    )
    after = await database_time(world)

    (claimed_at, lease_until, deadline_at) = await world.row(
        "SELECT claimed_at, lease_until, deadline_at FROM workers JOIN executions ON pk = execution_pk"
    )
    assert before <= from_micros(claimed_at) <= after
    assert lease_until - claimed_at == hand.lease / timedelta(microseconds=1)
    assert before <= from_micros(deadline_at) - timedelta(hours=1) <= after
    assert before <= beat.at <= after
    # Nor is the lease held to have run out, by a node that looks by another clock.
    await world.node.timekeeper.tick()
    assert len(await world.rows("SELECT 1 FROM workers WHERE status = 'calling'")) == 1

    await hand.turn(claims, delay_next_request_in_secs=60)
    latest = await database_time(world)
    (due_at,) = await world.row("SELECT due_at FROM workers")
    assert after <= from_micros(due_at) - MINUTE <= latest
    assert await hand.claims() == ()


async def test_a_lease_that_ran_out_by_the_databases_clock_is_lost(world: World) -> None:
    await world.install()
    await world.launch()
    assert len(await ByHand(world, lease=timedelta()).claims()) == 1
    await world.node.timekeeper.tick()
    assert await world.rows("SELECT outcome FROM calls") == [("lost",)]


async def test_the_clock_is_read_anew_within_a_transaction(postgres_url: str) -> None:
    """One that has waited for a lock for seconds must not hand out a lease that has begun before."""

    def before_and_after_a_wait(tx: Transaction) -> tuple[datetime, datetime]:
        before = tx.now()
        tx.rows("SELECT pg_sleep(0.05)")
        return before, tx.now()

    async with running_world(postgres_url, never, start=False) as world:
        before, after = await world.database.write(before_and_after_a_wait)
    assert after - before >= timedelta(seconds=0.05)
