"""200,000 sleeping workers cost nothing, and the one among them that is due is called."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.service import pull_timers, timers
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.dialect import Dialect, numbered
from orchestrator.store.reads import Read, statement_of
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


GENERIC = object()


class RecordingCursor:
    """Notes every statement as the driver gets it, with the parameters of its first time."""

    def __init__(self, cursor: Any, statements: dict[str, Any]) -> None:
        self._cursor = cursor
        self._statements = statements

    def execute(self, sql: str, parameters: Any = (), *, prepare: bool | None = None) -> Any:
        if prepare is False:
            # The text of several reads, which are noted one by one.
            return self._cursor.execute(sql, prepare=False)
        self._statements.setdefault(sql, parameters)
        return self._cursor.execute(sql, parameters)

    def executemany(self, sql: str, many: Any) -> Any:
        self._statements.setdefault(sql, many[0])
        return self._cursor.executemany(sql, many)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def record_statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every statement that is run from now on through the driver."""
    statements: dict[str, Any] = {}
    original = Transaction.__init__

    def recording(tx: Transaction, *arguments: Any) -> None:
        original(tx, *arguments)
        tx._cursor = RecordingCursor(tx._cursor, statements)

    read_all = Transaction.read

    def reading(tx: Transaction, *reads: Read) -> None:
        if tx.dialect is Dialect.POSTGRESQL:
            # They are planned for any parameters.
            statements.update((numbered(statement_of(read))[0], GENERIC) for read in reads)
        read_all(tx, *reads)

    monkeypatch.setattr(Transaction, "__init__", recording)
    monkeypatch.setattr(Transaction, "read", reading)
    return statements


async def plan_of(world: World, sql: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if world.database.dialect is Dialect.SQLITE else "EXPLAIN"

    def use_case(tx: Transaction) -> list[Any]:
        if parameters is GENERIC:
            return tx.rows(f"EXPLAIN (GENERIC_PLAN) {sql}")
        tx._cursor.execute(f"{explain} {sql}", parameters)
        return list(tx._cursor.fetchall())

    return "\n".join(str(row[-1]) for row in await world.database.write(use_case))


async def has_been_called(crowded: Scripted, execution: str, times: int) -> bool:
    return len(crowded.script.received[execution]) >= times


async def test_no_statement_of_a_node_walks_over_the_sleepers(
    crowded: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = crowded.world
    node = world.node
    loops = [count_ticks(monkeypatch, loop) for loop in (node.dispatcher, node.timekeeper, node.lookout)]
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
        due = [plan for sql, plan in plans.items() if "FROM workers" in sql and "ORDER BY due_at" in sql]
        assert any("workers_due" in plan for plan in due), due
        for written in ("UPDATE workers", "UPDATE worker_states", "INSERT INTO calls"):
            assert any(written in sql for sql in plans), f"{written} was not seen"
        await world.database.write(lambda tx: tx.run("ANALYZE"))


async def test_a_boot_does_not_walk_over_the_sleepers(crowded: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk in the order of a key is a SEARCH to SQLite's eye: what finds the few has an index of its own."""
    world = crowded.world
    statements = record_statements(monkeypatch)
    await world.database.write(timers.void_claims, world.node.definitions)
    await world.database.write(pull_timers.begin_anew, world.node.definitions)
    monkeypatch.undo()
    calling = re.compile(r"\s*SELECT execution_pk, worker_id, token FROM workers\s+WHERE status = 'calling'")
    plans = {sql: await plan_of(world, sql, statements[sql]) for sql in statements if calling.match(sql)}
    assert len(plans) >= 2
    for sql, plan in plans.items():
        assert re.search("workers_(pull_)?calling", plan), f"{sql}\n{plan}"


async def test_an_idle_node_looks_once_in_a_poll_interval(crowded: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = asyncio.get_running_loop().time
    ticks = count_ticks(monkeypatch, crowded.world.node.lookout)
    node = crowded.world.node
    idle = node.dispatcher, node.deliverer, node.timekeeper, node.publisher, node.event_deliverer
    others = [count_ticks(monkeypatch, loop) for loop in idle]
    began = clock()

    async def ticked_often() -> bool:
        return ticks.count >= 7

    await eventually(ticked_often, "seven ticks")

    # Seven ticks end six whole intervals; a busy machine only makes them longer.
    assert clock() - began >= 6 * POLL_SECS / 2, "it looks more than twice in an interval"
    assert sum(other.count for other in others) <= len(others), "loops that have nothing to do look by themselves"


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
