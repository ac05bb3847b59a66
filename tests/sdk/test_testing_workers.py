"""Runs of several workers: together, one after the other, joined, deadlocked, and one of them failed."""

from datetime import timedelta
from typing import Any

from app_sdk import App, Context, Continue, Done, Fail
from app_sdk.testing import run_task
from tests.sdk.calls import app_with, count_to


def test_ten_workers_lose_no_increment() -> None:
    def task(ctx: Context) -> Done | Continue:
        if (ctx.worker_id, ctx.step) == (0, 0):
            for helper in range(1, 10):
                ctx.spawn(helper)
        return count_to(ctx, 100)

    run = run_task(app_with(task), "import")

    assert run.status == "succeeded"
    assert run.app_state == {"total": 1000}
    assert len(run.calls) == len({call.key for call in run.calls}) == 1000


def test_workers_of_the_same_instant_do_not_see_each_others_changes() -> None:
    """As on a server: what was read is old when it is written, so `set` loses what `increment` keeps."""

    def task(ctx: Context) -> Done:
        ctx.app_state.set("lossy", ctx.app_state.get("lossy", 0) + 1)
        ctx.app_state.increment("safe")
        return Done()

    run = run_task(app_with(task), "import", workers={worker_id: {} for worker_id in range(1, 10)})

    assert run.app_state == {"lossy": 1, "safe": 10}
    assert {status for call in run.calls for status in call.payload["task_exec_worker"]["workers"].values()} == {
        "calling"
    }


def test_max_concurrent_calls_is_kept() -> None:
    app = App("app_x", "X", max_concurrent_calls=1)
    app.task("import")(lambda ctx: count_to(ctx, 3))

    run = run_task(app, "import", workers={1: {}})

    statuses = [list(call.payload["task_exec_worker"]["workers"].values()) for call in run.calls]
    assert all(status.count("calling") == 1 for status in statuses)
    assert run.app_state == {"total": 6}


def test_the_rate_limit_takes_its_time() -> None:
    app = App("app_x", "X", rate_limit={"calls": 2, "per_secs": 10})
    app.task("import")(lambda ctx: count_to(ctx, 6))

    run = run_task(app, "import")

    starts = [call.at for call in run.calls]
    assert all(later - earlier >= timedelta(seconds=10) for earlier, later in zip(starts, starts[2:], strict=False))
    assert timedelta(seconds=20) <= run.elapsed < timedelta(seconds=21)


def test_helpers_are_joined() -> None:
    def task(ctx: Context) -> Done | Continue:
        if ctx.worker_id:
            ctx.delay(timedelta(minutes=ctx.worker_id))
            ctx.state["steps"] = ctx.step + 1
            return Done(output={f"helper {ctx.worker_id}": ctx.step}) if ctx.step == 2 else Continue()
        if ctx.worker_results is None:
            ctx.spawn(1, {"slice": 1})
            ctx.spawn(2, {"slice": 2})
            ctx.wait_for_workers()
            return Continue()
        return Done(str({worker_id: one.state for worker_id, one in ctx.worker_results.items()}))

    run = run_task(app_with(task), "import")

    assert run.status == "succeeded"
    assert run.message == "{1: {'slice': 1, 'steps': 3}, 2: {'slice': 2, 'steps': 3}}"
    assert run.output == {"helper 1": 2, "helper 2": 2}
    assert run.workers[2].output == {"helper 2": 2}
    assert run.elapsed == timedelta(minutes=4)


def test_workers_that_wait_for_each_other_are_deadlocked() -> None:
    def task(ctx: Context) -> Continue:
        ctx.wait_for_workers()
        return Continue()

    run = run_task(app_with(task), "import", workers={1: {}})

    assert run.status == "failed"
    assert run.message == "deadlocked: only workers that wait for the others are left (0, 1)"


def test_a_failed_worker_lets_calls_in_flight_finish_and_ends_the_rest() -> None:
    def task(ctx: Context) -> Any:
        if ctx.worker_id == 1:
            return Fail("broken")
        ctx.app_state.increment("applied")
        if ctx.worker_id == 3:
            ctx.delay(60)
            return Continue()
        return Continue() if ctx.step == 0 else Done()

    run = run_task(app_with(task), "import", workers={1: {}, 2: {}, 3: {}})

    assert (run.status, run.message) == ("failed", "worker 1: broken")
    assert [worker.status for worker in run.workers.values()] == ["aborted", "failed", "aborted", "aborted"]
    assert (len(run.calls), run.app_state) == (4, {"applied": 3})
