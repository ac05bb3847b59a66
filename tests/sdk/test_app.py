"""From a call to the answer, through every way in which a task can end."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from app_sdk import App, Context, Continue, Done, Fail, Retry
from app_sdk.protocol.answer import read_answer
from tests.sdk.calls import SECRET, answer_of, app_with, call_body, read_reply, signed


class ImportState(BaseModel):
    page: int
    seen: list[str] = []


async def test_an_app_of_ten_lines() -> None:
    app = App("app_hello", "Hello", secret=SECRET)

    @app.task("greet")
    def greet(ctx: Context) -> Done:
        return Done(f"Hello, {ctx.state.get('name', 'world')}!")

    answer = await answer_of(app, call_body("app_hello_greet", worker_state={"name": "Ada"}))
    assert answer == {
        "worker_id": 0,
        "is_done": True,
        "is_error": False,
        "message": "Hello, Ada!",
        "updated_worker_state": {"name": "Ada"},
    }


@pytest.mark.parametrize(
    ("result", "fields"),
    [
        (Done(), {"is_done": True, "is_error": False}),
        (
            Done("ok", {"rows": 5}),
            {"is_done": True, "is_error": False, "message": "ok", "output": {"rows": 5}},
        ),
        (
            Done(output=ImportState(page=1)),
            {"is_done": True, "is_error": False, "output": {"page": 1, "seen": []}},
        ),
        (Continue(), {"is_done": False, "is_error": False}),
        (Continue("more"), {"is_done": False, "is_error": False, "message": "more"}),
        (Retry("busy"), {"is_done": False, "is_error": True, "message": "busy"}),
        (
            Retry("busy", after=timedelta(seconds=30)),
            {"is_done": False, "is_error": True, "message": "busy", "delay_next_request_in_secs": 30.0},
        ),
        (Fail("never"), {"is_done": True, "is_error": True, "message": "never"}),
    ],
)
async def test_a_returned_result_keeps_what_the_turn_recorded(result: Any, fields: dict[str, Any]) -> None:
    def task(ctx: Context) -> Any:
        ctx.state["page"] = 2
        ctx.items.append({"kind": "a"})
        return result

    answer = await answer_of(app_with(task), call_body(worker_id=4, worker_state={"page": 1}))
    recorded = {"updated_worker_state": {"page": 2}, "items_to_import": [{"kind": "a"}]}
    assert answer == fields | recorded | {"worker_id": 4}


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (Retry("busy", 5), {"is_done": False, "message": "busy", "delay_next_request_in_secs": 5.0}),
        (Fail("never"), {"is_done": True, "message": "never"}),
        (KeyError("page"), {"is_done": False, "message": "KeyError: 'page'"}),
        (OSError(2, "No such file", "caf\udce9"), {"is_done": False}),
        (ValueError("a\0b"), {"is_done": False, "message": "ValueError: a\\0b"}),
        (ValueError("x" * 5000), {"is_done": False, "message": "ValueError: " + "x" * 1988 + "..."}),
    ],
)
async def test_a_raised_error_drops_what_the_turn_recorded(error: Exception, fields: dict[str, Any]) -> None:
    def task(ctx: Context) -> Any:
        ctx.state["page"] = 2
        ctx.items.append({"kind": "a"})
        raise error

    answer = await answer_of(app_with(task), call_body(worker_id=4, worker_state={"page": 1}))
    assert answer == {"message": answer["message"]} | fields | {"is_error": True, "worker_id": 4}


async def test_the_traceback_stays_at_home(caplog: pytest.LogCaptureFixture) -> None:
    def task(ctx: Context) -> Done:
        raise RuntimeError("boom")

    answer = await answer_of(app_with(task), call_body(worker_id=2))
    assert "Traceback" not in json.dumps(answer)
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.getMessage() == "app_x_import, execution exec-1, worker 2: the task raised"


async def test_retry_and_fail_are_no_accidents_to_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    def task(ctx: Context) -> Done:
        raise Retry("busy")

    await answer_of(app_with(task), call_body())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "TypeError: the task returned NoneType, not Done, Continue, Await, Retry or Fail"),
        ("done", "TypeError: the task returned str, not Done, Continue, Await, Retry or Fail"),
        (Continue(state=[1]), "TypeError: the worker's state is a list, not a model or an object"),  # type: ignore[arg-type]
        (Done(output={"n": float("nan")}), "JsonError: $.output.n: a number that is not finite"),
        (
            Continue(state={"when": datetime(2026, 1, 1, tzinfo=UTC)}),
            "JsonError: $.updated_worker_state.when: a datetime, which JSON does not have",
        ),
    ],
)
async def test_a_result_that_cannot_be_sent_is_an_error_that_names_it(result: Any, message: str) -> None:
    answer = await answer_of(app_with(lambda ctx: result), call_body())
    assert answer == {"is_done": False, "is_error": True, "message": message, "worker_id": 0}


async def test_done_and_waiting_contradict_each_other() -> None:
    def task(ctx: Context) -> Done:
        ctx.wait_for_workers()
        return Done()

    answer = await answer_of(app_with(task), call_body())
    assert answer["is_error"]
    assert answer["message"] == (
        "ValueError: the task called wait_for_workers and ended; return Continue() to be called again"
    )


async def test_a_failure_needs_no_waiting() -> None:
    def task(ctx: Context) -> Fail:
        ctx.await_callback()
        return Fail("never")

    body = call_body()
    reply = await app_with(task).handle(body, signed(body))
    answer = read_answer(reply.body)
    assert (answer.is_done, answer.is_error, answer.await_callback) == (True, True, None)


async def test_a_typed_state_comes_and_goes_as_the_model() -> None:
    app = App("app_x", "X", secret=SECRET)

    @app.task("import", state=ImportState)
    async def import_(ctx: Context[ImportState]) -> Continue:
        ctx.state.seen.append(f"page {ctx.state.page}")
        ctx.state.page += 1
        return Continue()

    answer = await answer_of(app, call_body(worker_state={"page": 1}))
    assert answer["updated_worker_state"] == {"page": 2, "seen": ["page 1"]}


async def test_a_state_that_does_not_fit_the_model_fails_with_the_field() -> None:
    app = App("app_x", "X", secret=SECRET)

    @app.task("import", state=ImportState)
    def import_(ctx: Context[ImportState]) -> Done:
        raise AssertionError("not to be called")

    answer = await answer_of(app, call_body(worker_state={"page": "one"}))
    assert (answer["is_done"], answer["is_error"]) == (True, True)
    assert answer["message"].startswith("the worker's state does not fit ImportState: $.page: Input should be")


@pytest.mark.parametrize("state", [{"page": 9}, ImportState(page=9)])
async def test_continue_may_replace_the_state(state: Any) -> None:
    answer = await answer_of(app_with(lambda ctx: Continue(state=state)), call_body(worker_state={"old": 1}))
    assert answer["updated_worker_state"]["page"] == 9
    assert "old" not in answer["updated_worker_state"]


async def test_an_unknown_task_fails_and_tells_what_there_is() -> None:
    answer = await answer_of(app_with(lambda ctx: Done()), call_body("app_x_other"))
    assert answer == {
        "is_done": True,
        "is_error": True,
        "message": "app_x has no task app_x_other; its tasks: app_x_import",
        "worker_id": 0,
    }


async def test_plain_functions_do_not_block_the_loop() -> None:
    threads: list[threading.Thread] = []

    def task(ctx: Context) -> Done:
        threads.append(threading.current_thread())
        return Done()

    await answer_of(app_with(task), call_body())
    assert threads[0] is not threading.main_thread()


async def test_what_a_plain_function_returns_may_be_awaited() -> None:
    async def later() -> Done:
        return Done("later")

    answer = await answer_of(app_with(lambda ctx: later()), call_body())
    assert answer["message"] == "later"


def test_without_a_loop_both_kinds_of_functions_run() -> None:
    app = App("app_x", "X", secret=SECRET)

    @app.task("plain")
    def plain(ctx: Context) -> Done:
        return Done(threading.current_thread().name)

    @app.task("async")
    async def async_(ctx: Context) -> Done:
        return Done("async")

    @app.task("broken")
    async def broken(ctx: Context) -> Done:
        raise KeyError("x")

    def message(task_id: str) -> object:
        body = call_body(task_id)
        return read_reply(app.handle_sync(body, signed(body)))["message"]

    assert message("app_x_plain") == threading.current_thread().name
    assert message("app_x_async") == "async"
    assert message("app_x_broken") == "KeyError: 'x'"
    assert str(message("app_x_other")).startswith("app_x has no task")
    assert app.handle_sync(b"{}", {}).status == 401


async def test_a_full_answer_is_one_that_the_engine_reads() -> None:
    def task(ctx: Context) -> Continue:
        ctx.items.add("user", {"external_id": "u1"})
        ctx.app_state.increment("users")
        ctx.spawn(1, {"cursor": 0})
        ctx.delay(1.5)
        ctx.progress(1, 2)
        ctx.subtext("half")
        ctx.log("line")
        ctx.wait_for_workers()
        return Continue("more", state={"page": 2})

    body = call_body()
    reply = await app_with(task).handle(body, signed(body))
    answer = read_answer(reply.body)
    assert answer.unknown == {}
    assert (answer.updated_worker_state, answer.message, answer.worker_id) == ({"page": 2}, "more", 0)
    assert (len(answer.items_to_import), len(answer.app_state_mutations), len(answer.new_workers)) == (
        1,
        1,
        1,
    )
    assert (answer.delay_next_request_in_secs, answer.wait_for_workers, answer.logs) == (1.5, True, ("line",))
