"""Running a task to its end in a unit test: what comes out, and how a test can look at it."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from app_sdk import App, Context, Continue, Done, Fail, Retry
from app_sdk.testing import EndlessTaskError, Response, TaskRun, VirtualClock, run_task, run_task_async
from tests.sdk.calls import app_with, count_to


def test_a_run_tells_all_that_came_out() -> None:
    def task(ctx: Context) -> Done | Continue:
        page = ctx.state.setdefault("page", 0)
        ctx.items.extend({"kind": "row", "n": page * 300 + n} for n in range(300))
        ctx.app_state.set("last", page)
        ctx.progress(page + 1, 3, "pages")
        ctx.log(f"page {page}")
        ctx.state["page"] += 1
        return Done("three pages", {"rows": 900}) if page == 2 else Continue("more")

    run = run_task(app_with(task), "import", state={"dataset": "x"}, app_state={"before": True})

    assert (run.status, run.message, run.output) == ("succeeded", "three pages", {"rows": 900})
    assert [item["n"] for item in run.items] == list(range(900))
    assert [len(batch.items) for batch in run.batches] == [250, 50] * 3
    assert len({batch.key for batch in run.batches}) == 6
    assert run.app_state == {"before": True, "last": 2}
    assert run.logs == ["page 0", "page 1", "page 2"]
    assert run.elapsed == timedelta()
    worker = run.workers[0]
    assert (worker.status, worker.step, worker.state) == ("done", 3, {"dataset": "x", "page": 3})
    assert worker.progress is not None
    assert (worker.progress.current, worker.progress.total, worker.progress.unit) == (3, 3, "pages")
    first = run.calls[0]
    assert (first.worker_id, first.step, first.retry_count, first.outcome) == (0, 0, 0, "applied")
    assert (first.message, first.http_status, first.at) == ("more", 200, timedelta())
    assert first.payload["task_exec_worker"]["worker_state"] == {"dataset": "x"}
    assert first.answer is not None
    assert len(first.answer["items_to_import"]) == 300


@pytest.mark.parametrize(
    ("result", "status", "message"),
    [
        (Done(), "succeeded", None),
        (Fail("no such file"), "failed", "worker 0: no such file"),
        (
            Continue(state={"big": "x" * 2_000_000}),
            "failed",
            "worker 0: refused: the state of worker 0 would be",
        ),
    ],
)
def test_how_it_ended_can_be_read(result: Any, status: str, message: str | None) -> None:
    run = run_task(app_with(lambda ctx: result), "import")
    assert run.status == status
    assert run.message == message if message is None else str(run.message).startswith(message)


def test_a_mutation_that_the_app_state_refuses_fails_the_worker() -> None:
    def task(ctx: Context) -> Done:
        ctx.app_state.set("name", "x")
        if ctx.worker_id == 1:
            ctx.app_state.delete("name")
            ctx.app_state.increment("name")
        return Done()

    run = run_task(app_with(task), "import", app_state={"count": 1}, workers={1: {}})
    assert (run.status, run.app_state) == ("succeeded", {"count": 1, "name": 1})

    def wrong(ctx: Context) -> Done:
        ctx.app_state.increment("count", 1 if ctx.worker_id else 0)
        ctx.app_state.set("count", "many")
        return Done()

    run = run_task(app_with(wrong), "import", workers={1: {}})
    assert run.status == "failed"
    assert "'count' cannot be incremented: it holds a str" in str(run.message)


def test_a_task_that_never_ends_is_told_apart() -> None:
    run = TaskRun(app_with(lambda ctx: Continue()), "import", max_calls=50)
    with pytest.raises(EndlessTaskError) as idle:
        run.finish()
    assert "app_x_import has not ended after 50 calls" in str(idle.value)
    assert "worker 0: the last 50 answers changed nothing" in str(idle.value)
    assert idle.value.run is run
    assert "slowed to one call in 10 s" in run.calls[-1].notes[0]
    with pytest.raises(EndlessTaskError, match=r"worker 0: its answers change something, and it is at step 50"):
        run_task(app_with(lambda ctx: count_to(ctx, -1)), "import", max_calls=50)


def test_exactly_as_many_calls_as_allowed_are_no_error() -> None:
    run = run_task(app_with(lambda ctx: count_to(ctx, 50)), "import", max_calls=50)
    assert (run.status, len(run.calls)) == ("succeeded", 50)


def test_a_task_goes_by_its_id_its_short_id_or_an_alias() -> None:
    app = App("app_x", "X")
    app.task("import", aliases=["csv_import"])(lambda ctx: Done())
    assert {run_task(app, name).task_id for name in ("import", "app_x_import", "csv_import")} == {"app_x_import"}
    with pytest.raises(ValueError, match="app_x has no task 'other'; its tasks: app_x_import"):
        run_task(app, "other")


@pytest.mark.parametrize("worker_id", [-1, 10])
def test_an_execution_has_ten_workers(worker_id: int) -> None:
    with pytest.raises(ValueError, match="has the workers 0 to 9"):
        run_task(app_with(lambda ctx: Done()), "import", workers={worker_id: {}})


class ImportState(BaseModel):
    page: int = 0


def test_states_may_be_models() -> None:
    app = App("app_x", "X")

    @app.task("import", state=ImportState)
    def task(ctx: Context[ImportState]) -> Done:
        ctx.state.page += 1
        return Done()

    run = run_task(app, "import", ImportState(page=4), app_state=ImportState(page=7))
    assert (run.workers[0].state, run.app_state) == ({"page": 5}, {"page": 7})


def test_what_a_task_does_to_its_context_does_not_leak_into_the_records() -> None:
    def task(ctx: Context) -> Done:
        ctx.state["list"].append(2)
        ctx.payload.app_state["list"].append(2)
        raise Retry("nothing of this counts")

    given = {"list": [1]}
    run = TaskRun(app_with(task), "import", given, {"list": [1]})
    call = run.step()
    assert call is not None
    assert call.payload["task_exec_worker"]["worker_state"] == call.payload["app_state"] == {"list": [1]}
    assert run.workers[0].state == run.app_state == given == {"list": [1]}


def test_a_run_says_what_it_is_where_an_assertion_fails() -> None:
    run = run_task(app_with(lambda ctx: Fail("no such file")), "import")
    assert repr(run) == "<TaskRun app_x_import failed after 1 calls: worker 0: no such file>"


def test_asynchronous_tasks_run_in_one_loop() -> None:
    loops = []

    async def task(ctx: Context) -> Done | Continue:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return count_to(ctx, 3)

    run = run_task(app_with(task), "import")
    assert (run.status, len(loops), len(set(loops))) == ("succeeded", 3, 1)
    del run
    gc.collect()
    assert loops[0].is_closed()


async def test_inside_a_loop_there_is_an_asynchronous_way() -> None:
    loops = []

    async def task(ctx: Context) -> Done | Continue:
        loops.append(asyncio.get_running_loop())
        ctx.delay(60)
        return count_to(ctx, 3)

    with pytest.raises(RuntimeError, match="use run_task_async"):
        run_task(app_with(task), "import")
    run = await run_task_async(app_with(task), "import")
    assert run.status == "succeeded"
    assert set(loops) == {asyncio.get_running_loop()}
    run = TaskRun(app_with(task), "import")
    await run.advance_async(timedelta(seconds=90))
    assert (len(run.calls), run.elapsed) == (2, timedelta(seconds=90))
    assert await run.step_async() is not None
    assert await run.step_async() is None


def test_the_answer_is_read_as_a_server_reads_it() -> None:
    bodies = [b"", b"[]", b'{"is_done": "yes"}', b'{"is_done": true}']
    run = run_task(app_with(lambda ctx: Done()), "import", respond=lambda call: Response(200, bodies[call.retry_count]))
    assert [call.outcome for call in run.calls] == ["failed", "failed", "failed", "applied"]
    assert run.calls[2].message == 'invalid answer: $.is_done: expected true or false, got "yes"'
    assert [call.failure for call in run.calls] == ["invalid_body"] * 3 + [None]
    assert [call.answer for call in run.calls] == [None, None, {"is_done": "yes"}, {"is_done": True}]


def test_a_clock_can_be_shared_with_what_the_task_calls() -> None:
    clock = VirtualClock()
    left = []

    def task(ctx: Context) -> Done:
        left.append(ctx.time_left())
        clock.advance(8)
        left.append(ctx.time_left())
        return Done()

    run = run_task(app_with(task), "import", clock=clock)
    assert (left, run.status, run.elapsed) == ([20.0, 12.0], "succeeded", timedelta(seconds=8))
