"""Retries: how long a worker waits after an unsuccessful call, how often, and what resets the count."""

from datetime import timedelta
from typing import Any

from orchestrator.store.clock import from_micros
from tests.engine.scripted import Scripted, scripted_world
from tests.support.fake_app import Reply
from tests.support.waiting import eventually

DONE = {"is_done": True}
ERROR = {"is_error": True}
SERVER_DEFAULTS = {"max_retries": 2, "initial_delay_secs": 100, "multiplier": 2, "max_delay_secs": 150}


async def wait_of(app: Scripted, execution_id: str, calls: int) -> float:
    """The seconds that the worker must wait after its `calls`-th call."""

    async def probe() -> tuple[int, int] | None:
        rows = await app.world.rows(
            """SELECT w.due_at, c.ended_at FROM workers w JOIN calls c ON c.execution_pk = w.execution_pk
                WHERE w.execution_pk = :pk AND w.status = 'ready' AND w.token = :calls AND c.token = :calls""",
            pk=await app.world.pk(execution_id),
            calls=calls,
        )
        return rows[0] if rows else None

    due_at, ended_at = await eventually(probe, f"call {calls} of {execution_id}")
    return (from_micros(due_at) - from_micros(ended_at)).total_seconds()


async def wait_after(app: Scripted, execution_id: str, calls: int) -> float:
    """As `wait_of`; and then they have passed."""
    secs = await wait_of(app, execution_id, calls)
    app.world.advance(timedelta(seconds=secs))
    return secs


async def waits(app: Scripted, execution_id: str, count: int) -> list[float]:
    return [await wait_after(app, execution_id, calls) for calls in range(1, count + 1)]


def assert_within_jitter(measured: list[float], expected: list[float]) -> None:
    # Between the end of a call and its commit, some time passes.
    for wait, secs in zip(measured, expected, strict=True):
        assert 0.9 * secs <= wait <= 1.1 * secs + 2, (measured, expected)


async def test_the_backoff_grows_to_its_longest_until_the_retries_are_out(database_url: str) -> None:
    retry = {"max_retries": 4, "initial_delay_secs": 100, "multiplier": 3, "max_delay_secs": 500}
    async with scripted_world(database_url, virtual_time=True) as app:
        await app.world.install({"retry": retry, "on_multiple_exec": "allow"})
        unanswered = await app.start(*(Reply(500 + n, f"no {n}".encode()) for n in range(5)))
        assert_within_jitter(await waits(app, unanswered, 4), [100, 300, 500, 500])

        run = await app.ended(unanswered)
        assert (run.status, run.message) == ("failed", "worker 0: out of retries (4): HTTP 504: no 4")
        assert [one.worker["retry_count"] for one in run.received] == [0, 1, 2, 3, 4]
        assert {one.worker["step"] for one in run.received} == {0}

        # An answer that is an error backs off in the same way, though it closes its step.
        erring = await app.start(*({**ERROR, "message": f"no {n}"} for n in range(5)))
        assert_within_jitter(await waits(app, erring, 4), [100, 300, 500, 500])
        run = await app.ended(erring)
        assert (run.status, run.message) == ("failed", "worker 0: out of retries (4): no 4")
        assert [one.worker["step"] for one in run.received] == [0, 1, 2, 3, 4]


async def test_what_a_task_leaves_out_comes_from_the_server(database_url: str) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": "app_test_plain"},
        {"id": "app_test_once", "retry": {"max_retries": 1}},
        {"id": "app_test_quick", "retry": {"initial_delay_secs": 10, "multiplier": 4}},
        {"id": "app_test_never", "retry": {"max_retries": 0}},
    ]
    async with scripted_world(database_url, virtual_time=True, retry=SERVER_DEFAULTS) as app:
        await app.world.install(*tasks)
        for task, expected in (("plain", [100, 150]), ("once", [100]), ("quick", [10, 40]), ("never", [])):
            execution = await app.start(Reply(503), task_id=f"app_test_{task}")
            assert_within_jitter(await waits(app, execution, len(expected)), [float(secs) for secs in expected])
            run = await app.ended(execution)
            assert (run.status, len(run.received)) == ("failed", len(expected) + 1), task
            assert f"out of retries ({len(expected)})" in str(run.message)


async def test_a_step_without_an_error_begins_the_count_anew(database_url: str) -> None:
    async with scripted_world(database_url, virtual_time=True, retry=SERVER_DEFAULTS) as app:
        await app.world.install()
        execution = await app.start(Reply(503), ERROR, {}, Reply(503), Reply(503), DONE)
        measured = [await wait_after(app, execution, calls) for calls in (1, 2, 4, 5)]

        run = await app.ended(execution)
        assert run.status == "succeeded"
        assert_within_jitter(measured, [100, 150, 100, 150])
        counted = [(one.worker["step"], one.worker["retry_count"]) for one in run.received]
        assert counted == [(0, 0), (0, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


async def test_the_jitter_differs_from_worker_to_worker(database_url: str) -> None:
    async with scripted_world(database_url, virtual_time=True, retry={"initial_delay_secs": 1000}) as app:
        await app.world.install({"on_multiple_exec": "allow"})
        executions = [await app.start(Reply(503)) for _ in range(12)]
        measured = [await wait_of(app, execution, 1) for execution in executions]

        assert_within_jitter(measured, [1000.0] * 12)
        assert max(measured) - min(measured) > 10
