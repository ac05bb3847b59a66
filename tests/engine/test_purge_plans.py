"""Among 100,000 executions that have ended, no statement of the pruner walks over those that stay."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator.domain.retention import Retention
from orchestrator.domain.states import ExecutionStatus
from orchestrator.store.dialect import Dialect
from tests.engine.history import Past, insert_past
from tests.engine.test_expiring import EVERYTHING
from tests.engine.test_purging import prune, purge, selection
from tests.engine.test_sleepers import plan_of, record_statements
from tests.support.fake_app import never
from tests.support.world import World, running_world

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

KEPT = 100_000
LARGE = "executions|execution_details|workers|worker_states|calls|log_lines|import_batches|e|b|newer"
WALK = {
    Dialect.SQLITE: re.compile(rf"SCAN ({LARGE})(?! USING)"),
    Dialect.POSTGRESQL: re.compile(rf"Seq Scan on ({LARGE})\b"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_database_url: str) -> AsyncIterator[World]:
    async with running_world(shared_database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        await world.database.write(insert_past, Past("young", KEPT, days=10, calls=1, log_lines=1))
        yield world


async def test_no_statement_walks_over_what_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for round_ in ("without statistics", "with statistics"):
        await world.database.write(insert_past, Past(f"old {round_}", 20, status="failed", key="k"))
        await world.database.write(insert_past, Past(f"older {round_}", 20))
        await world.database.write(insert_past, Past(f"last {round_}", 1, days=0))
        statements = record_statements(monkeypatch)
        await prune(world, EVERYTHING)
        [(app_pk, task_pk)] = await world.rows("SELECT app_pk, pk FROM task_definitions")
        wanted = await selection(world, app_pks=[app_pk], task_pks=[task_pk])
        await purge(world, wanted)
        monkeypatch.undo()
        plans = {sql: await plan_of(world, sql, parameters) for sql, parameters in statements.items()}
        walks = [f"{sql}\n{plan}" for sql, plan in plans.items() if WALK[world.database.dialect].search(plan)]
        assert not walks, f"{round_}:\n" + "\n".join(walks)
        [ended] = [plan for sql, plan in plans.items() if "FROM executions newer" in sql][:1]
        assert "executions_ended" in ended
        [unused] = [plan for sql, plan in plans.items() if "FROM task_versions v JOIN" in sql]
        assert "executions_version" in unused, unused
        await world.database.write(lambda tx: tx.run("ANALYZE"))
    [(left,)] = await world.rows("SELECT count(*) FROM executions")
    assert left == KEPT + 2


async def test_a_round_with_nothing_to_do_runs_few_statements(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = record_statements(monkeypatch)
    assert (
        await prune(
            world,
            Retention(dict.fromkeys((ExecutionStatus.SUCCEEDED,), EVERYTHING.executions[ExecutionStatus.SUCCEEDED])),
        )
        == 0
    )
    assert len(statements) < 20
