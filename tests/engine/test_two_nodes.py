"""Two nodes on one database: they share the work, lose no mutation, and call no step twice."""

from collections import Counter
from typing import Any

import pytest

from tests.support.fake_app import Received
from tests.support.world import running_world

pytestmark = pytest.mark.slow

STEPS = 30


def count_up(request: Received) -> Any:
    worker = request.worker
    step = worker["step"] + 1
    spawn = [{"worker_id": worker_id} for worker_id in range(1, 10)]
    return {
        "is_done": step == STEPS,
        "updated_worker_state": {"step": step},
        "app_state_mutations": [
            {"operation": "increment", "key": "total", "value": 1},
            {"operation": "increment", "key": f"worker {worker['worker_id']}", "value": 1},
        ],
        "items_to_import": [{"kind": "step", "step": step}] if step % 10 == 0 else [],
        "new_workers": spawn if worker["worker_id"] == 0 and step == 1 else [],
    }


async def test_ten_workers_on_two_nodes_lose_no_mutation_and_repeat_no_step(postgres_url: str) -> None:
    few = {"concurrency": 6}
    async with running_world(postgres_url, count_up, engine=few) as world, world.another_node() as other:
        await world.install({"on_multiple_exec": "allow"})
        executions = [await world.launch() for _ in range(2)]
        other.wake()
        for execution in executions:
            assert await world.ended(execution) == "succeeded"

        expected = {"total": 20 * STEPS, **{f"worker {worker_id}": 2 * STEPS for worker_id in range(10)}}
        for name, value in expected.items():
            assert f'"{name}":{value}' in await world.app_state()
        keys = Counter(request.headers["webhook-id"] for request in world.app.received)
        assert len(keys) == 20 * STEPS
        assert set(keys.values()) == {1}
        outcomes = await world.rows("SELECT outcome, count(*), count(DISTINCT node) FROM calls GROUP BY outcome")
        assert outcomes == [("applied", 20 * STEPS, 2)]
        delivered = Counter(request.headers["idempotency-key"] for request in world.collector.received)
        assert (len(delivered), set(delivered.values())) == (20 * STEPS // 10, {1})


async def test_an_execution_ends_once_though_its_last_workers_end_at_the_same_instant(postgres_url: str) -> None:
    def answer(request: Received) -> Any:
        return {"is_done": True}

    async with running_world(postgres_url, answer) as world, world.another_node() as other:
        await world.install({"on_multiple_exec": "allow"})
        helpers = dict.fromkeys(range(1, 10), "{}")
        executions = [await world.launch(workers=helpers) for _ in range(20)]
        other.wake()
        for execution in executions:
            assert await world.ended(execution) == "succeeded"

        left = await world.rows("SELECT 1 FROM workers WHERE status <> 'done'")
        open_workers = await world.rows("SELECT DISTINCT open_workers, attempt FROM executions")
        assert (left, open_workers) == ([], [(0, 1)])
        assert len(world.app.received) == 200
