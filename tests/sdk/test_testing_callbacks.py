"""Workers of a run that await a third party, and tests that play it."""

from datetime import timedelta
from typing import Any

import pytest

from app_sdk import App, Await, Context, Continue, Done, Retry
from app_sdk.testing import TaskRun, run_task
from tests.sdk.calls import app_with


def asking(*, resume: bool = False) -> App:
    """An app whose task asks a third party for something, and waits an hour for it."""

    def task(ctx: Context) -> Done | Continue:
        if ctx.callback is not None:
            return Done(f"rows: {ctx.callback.output['rows']}")
        ctx.state["asked"] = ctx.callback_url
        ctx.await_callback(timedelta(hours=1), resume=resume)
        return Continue("asked")

    return app_with(task)


def test_a_run_stands_still_where_only_a_callback_could_go_on() -> None:
    run = run_task(asking(), "import")
    assert (run.status, run.workers[0].status, run.elapsed) == ("running", "awaiting", timedelta())
    assert run.workers[0].due_at == timedelta(hours=1)
    assert run.workers[0].state["asked"].startswith("http://")
    assert run.step() is None


def test_a_callback_ends_the_worker() -> None:
    run = run_task(asking(), "import")
    run.callback(0, "SUCCESS", {"rows": 5}, logs="it took\na while")
    assert (run.status, run.output, run.workers[0].output) == ("succeeded", {"rows": 5}, {"rows": 5})
    assert run.logs == ["it took\na while"]
    assert len(run.calls) == 1


def test_a_callback_may_resume_the_worker() -> None:
    run = run_task(asking(resume=True), "import")
    run.clock.advance(600)
    run.callback(0, "SUCCESS", {"rows": 5}, logs=["one", "two"])
    assert (run.status, run.workers[0].status) == ("running", "ready")
    run.finish()
    assert (run.status, run.message, run.elapsed) == ("succeeded", "rows: 5", timedelta(minutes=10))
    assert [call.step for call in run.calls] == [0, 1]


def test_what_was_called_back_is_told_until_its_step_is_closed_without_an_error() -> None:
    told = []

    def task(ctx: Context) -> Any:
        told.append(None if ctx.callback is None else ctx.callback.status)
        if ctx.step == 0:
            ctx.await_callback(resume=True)
            return Continue()
        if len(told) < 5:
            return Retry("not yet") if ctx.step == 1 else Continue(state={"n": len(told)})
        return Done()

    run = run_task(app_with(task), "import", lose=[(0, 1)])
    run.callback()
    assert run.finish().status == "succeeded"
    assert told == [None, "SUCCESS", "SUCCESS", "SUCCESS", None]


def test_a_callback_may_tell_a_failure() -> None:
    run = run_task(asking(resume=True), "import", workers={1: {}})
    run.callback(1, "FAILURE")
    assert (run.status, run.message) == ("failed", "worker 1: the callback reported a failure")
    assert [worker.status for worker in run.workers.values()] == ["aborted", "failed"]


def test_without_a_callback_the_worker_has_failed_in_the_end() -> None:
    run = run_task(asking(), "import")
    run.advance(3599)
    assert run.status == "running"
    run.advance(1)
    assert (run.status, run.elapsed) == ("failed", timedelta(hours=1))
    assert run.message == "worker 0: no callback came before the timeout of the wait"
    with pytest.raises(ValueError, match="worker 0 awaits no callback: it is failed"):
        run.callback()


def test_a_wait_runs_out_while_other_workers_go_on() -> None:
    def task(ctx: Context) -> Continue:
        if ctx.worker_id:
            ctx.await_callback(timedelta(minutes=3))
        else:
            ctx.delay(timedelta(minutes=2))
        return Continue()

    run = run_task(app_with(task), "import", workers={1: {}})
    assert (run.status, run.elapsed, len(run.calls)) == ("failed", timedelta(minutes=3), 3)


def test_a_task_that_is_async_awaits_whatever_it_answers() -> None:
    app = App("app_x", "X")
    app.task("import", is_async=True)(lambda ctx: Done("handed over"))
    run = run_task(app, "import")
    assert run.workers[0].status == "awaiting"
    run.callback(output={"rows": 1})
    assert (run.status, run.output, run.message) == ("succeeded", {"rows": 1}, "handed over")


@pytest.mark.parametrize(("worker_id", "found"), [(0, "it is ready"), (7, "there is none")])
def test_only_who_waits_is_called_back(worker_id: int, found: str) -> None:
    run = TaskRun(asking(), "import")
    with pytest.raises(ValueError, match=f"worker {worker_id} awaits no callback: {found}"):
        run.callback(worker_id)


def test_a_retry_does_not_call_a_worker_that_was_called_back() -> None:
    def task(ctx: Context) -> Any:
        if ctx.worker_id:
            raise RuntimeError("broken")
        ctx.await_callback()
        return Continue()

    app = App("app_x", "X")
    app.task("import", on_worker_failure="continue", retry={"max_retries": 0})(task)
    run = run_task(app, "import", workers={1: {}})
    run.callback(0)
    assert run.status == "failed"
    run.retry()
    run.finish()
    assert [call.worker_id for call in run.calls] == [0, 1, 1]


def test_a_task_may_return_that_it_awaits() -> None:
    def task(ctx: Context) -> Done | Await:
        if ctx.callback is None:
            ctx.state["asked"] = True
            return Await("asked", timedelta(minutes=1), resume=True, output={"n": 1, "own": True})
        return Done(f"{ctx.callback.subtext}: {ctx.callback.output['n']}")

    run = run_task(app_with(task), "import")
    assert (run.workers[0].status, run.workers[0].due_at) == ("awaiting", timedelta(minutes=1))
    assert (run.workers[0].state, run.message) == ({"asked": True}, "asked")
    run.callback(output={"n": 2}, subtext="ready")
    assert run.subtext == "ready"
    assert (run.finish().status, run.message) == ("succeeded", "ready: 2")
    assert run.output == {"n": 2, "own": True}


def test_a_failure_says_why() -> None:
    run = run_task(app_with(lambda ctx: Await(state={"n": 1})), "import")
    assert run.workers[0].due_at == timedelta(hours=24)
    run.callback(status="FAILURE", subtext="no disk left")
    assert (run.status, run.message) == ("failed", "worker 0: the callback reported a failure: no disk left")
    assert run.workers[0].state == {"n": 1}


@pytest.mark.parametrize("rest", ["await_callback", "wait_for_workers"])
def test_a_turn_rests_for_one_thing(rest: str) -> None:
    def task(ctx: Context) -> Await:
        getattr(ctx, rest)()
        return Await()

    app = App("app_x", "X")
    app.task("import", retry={"max_retries": 0})(task)
    run = run_task(app, "import")
    assert run.status == "failed"
    assert f"the task called {rest} and returned Await" in (run.message or "")
