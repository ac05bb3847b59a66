"""200,000 sleeping workers cost nothing, and the one among them that is due is called."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction
from tests.engine.crowd import insert_crowd
from tests.engine.scripted import Scripted, scripted_world
from tests.engine.watching import count_ticks
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SLEEPERS = 200_000
POLL_SECS = 0.1
# What is measured is printed, and is a few milliseconds; this only tells a call in time from one by chance.
GENEROUS_LAG = timedelta(seconds=3)

WALK = {
    # "SCAN workers", but not "SCAN workers USING INDEX workers_calling", an index of those in flight only.
    Dialect.SQLITE: re.compile(r"SCAN (workers|executions|worker_states|waiting|running)(?! USING)"),
    Dialect.POSTGRESQL: re.compile(r"Seq Scan on (workers|executions|worker_states)"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowded(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url, engine={"poll_interval_secs": POLL_SECS}) as scripted:
        await scripted.world.install({"on_multiple_exec": "allow"})
        tomorrow = to_micros(datetime.now(UTC) + timedelta(days=1))
        await scripted.world.database.write(insert_crowd, "app_test_run", SLEEPERS, tomorrow)
        yield scripted


def record_statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Every statement that is run from now on, with the parameters of its first time."""
    statements: dict[str, dict[str, Any]] = {}
    rows, run, run_many = Transaction.rows, Transaction.run, Transaction.run_many

    def recording_rows(tx: Transaction, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        statements.setdefault(sql, parameters)
        return rows(tx, sql, **parameters)

    def recording_run(tx: Transaction, sql: str, **parameters: Any) -> int:
        statements.setdefault(sql, parameters)
        return run(tx, sql, **parameters)

    def recording_run_many(tx: Transaction, sql: str, many: list[dict[str, Any]]) -> int:
        if many:
            statements.setdefault(sql, many[0])
        return run_many(tx, sql, many)

    monkeypatch.setattr(Transaction, "rows", recording_rows)
    monkeypatch.setattr(Transaction, "run", recording_run)
    monkeypatch.setattr(Transaction, "run_many", recording_run_many)
    return statements


async def plan_of(world: World, sql: str, parameters: dict[str, Any]) -> str:
    explain = "EXPLAIN QUERY PLAN" if world.database.dialect is Dialect.SQLITE else "EXPLAIN"
    found = await world.database.write(lambda tx: tx.rows(f"{explain} {sql}", **parameters))
    return "\n".join(str(row[-1]) for row in found)


async def has_been_called(crowded: Scripted, execution: str, times: int) -> bool:
    return len(crowded.script.received[execution]) >= times


async def test_no_statement_of_a_node_walks_over_the_sleepers(
    crowded: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = crowded.world
    loops = [count_ticks(monkeypatch, loop) for loop in (world.node.dispatcher, world.node.timekeeper)]
    statements = record_statements(monkeypatch)
    execution = await crowded.start({"updated_worker_state": {"n": 1}}, {"is_done": True})
    await eventually(lambda: has_been_called(crowded, execution, times=2), "the second call")
    for ticks in loops:
        await ticks.enough()
    monkeypatch.undo()

    assert (await crowded.ended(execution)).status == "succeeded"
    for _ in ("without statistics", "with statistics"):
        plans = {sql: await plan_of(world, sql, parameters) for sql, parameters in statements.items()}
        walk = WALK[world.database.dialect]
        walks = [f"{sql}\n{plan}" for sql, plan in plans.items() if walk.search(plan)]
        assert not walks, "\n".join(walks)
        due = [plan for sql, plan in plans.items() if "FROM workers" in sql and "due_at <= :now" in sql]
        assert any("workers_due" in plan for plan in due), due
        await world.database.write(lambda tx: tx.run("ANALYZE"))


async def test_an_idle_node_looks_once_in_a_poll_interval(crowded: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = asyncio.get_running_loop().time
    ticks = count_ticks(monkeypatch, crowded.world.node.dispatcher)
    began = clock()

    async def ticked_often() -> bool:
        return ticks.count >= 7

    await eventually(ticked_often, "seven ticks")

    # Seven ticks end six whole intervals; a busy machine only makes them longer.
    assert clock() - began >= 6 * POLL_SECS / 2, "it looks more than twice in an interval"


async def test_the_one_that_is_due_is_called(crowded: Scripted) -> None:
    came: list[datetime] = []

    def second(request: Received) -> dict[str, Any]:
        came.append(datetime.now(UTC))
        return {"is_done": True}

    execution = await crowded.start({"delay_next_request_in_secs": 0.45}, second)

    async def due() -> int | None:
        worker = (await crowded.world.workers(execution))[0]
        return worker["due_at"] if worker["step"] == 1 else None

    due_at = from_micros(await eventually(due, "the time of the second call"))
    await crowded.ended(execution)
    lag = came[0] - due_at
    print(f"called {lag.total_seconds() * 1000:.1f} ms after its time")
    assert timedelta() <= lag < GENEROUS_LAG
